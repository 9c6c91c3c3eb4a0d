"""The order of a streamed epoch: reckoned, not read, so that any place in it is found without what lies before.

    sequence   shards one behind the other, in an order of the seed and the epoch
    lane       a stretch of the sequence for each process, and in it one for each of its workers, read side by side
    block      a few thousand windows in a row of a lane, in a random order of their own: all that is held in memory

    shards        | 7      | 2       | 5      | 0       | 3      | ...
    lanes         | process 0, worker 0 | process 0, worker 1 | process 1, worker 0 | ...
    blocks        |......|......|.....  |......|......|.....  | ...

Lanes are equal to a batch, whatever the shards are: two of them may read different rows of one shard. Batches of a
process come from its workers by turns, as a DataLoader asks for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np


class Stretch(NamedTuple):
    """Rows of one shard, by its number: the first of them, and how many."""

    shard: int
    first: int
    count: int  # type: ignore[assignment]  # the name of a tuple's method


class Block(NamedTuple):
    """Windows that are shuffled among themselves, by their place in the sequence: the first, and how many."""

    first: int
    count: int  # type: ignore[assignment]  # the name of a tuple's method


@dataclass(frozen=True)
class StreamOrder:
    """Which windows each batch of each process has.

    Attributes:
        shard_windows: windows of each shard.
        batch_size: of one process.
        block_windows: of a block, at most.
        world_size: processes.
        num_lanes: of one process, one for each of its workers.
        seed: of the order.
    """

    shard_windows: tuple[int, ...]
    batch_size: int
    block_windows: int
    world_size: int = 1
    num_lanes: int = 1
    seed: int = 0

    @property
    def division(self) -> dict[str, int]:
        """What decides the order beside the dataset and the seed."""
        return {"processes": self.world_size, "workers": self.num_lanes, "batch_size": self.batch_size}

    @property
    def num_windows(self) -> int:
        """Of an epoch, over all processes."""
        return sum(self.shard_windows)

    @property
    def num_batches(self) -> int:
        """Of one process in an epoch, the same for each."""
        return math.ceil(self.num_windows / (self.world_size * self.batch_size))

    def counted(self, rank: int, batch: int) -> int:
        """How many windows of a batch, the first ones, belong to the epoch; only last batches have others too."""
        before = (batch * self.world_size + rank) * self.batch_size
        return min(max(self.num_windows - before, 0), self.batch_size)

    def blocks(self, rank: int, lane: int, batch: int = 0) -> Iterator[tuple[Block, int]]:
        """The blocks of a lane from one of its batches on, each with how many of its windows come before that batch.

        They fill all batches of the lane: windows of other lanes, a block of their own at the end, fill up the last.
        """
        first, own = self._lanes[rank * self.num_lanes + lane]
        edges = [*range(0, own, self.block_windows), own, self.batches_of(lane) * self.batch_size]
        for begin, end in pairwise(edges):
            if end > max(begin, batch * self.batch_size):
                yield Block(first + begin, end - begin), max(0, batch * self.batch_size - begin)

    def batches_of(self, lane: int) -> int:
        """Of each process's epoch."""
        return len(range(lane, self.num_batches, self.num_lanes))

    def stretches(self, epoch: int, first: int, count: int) -> Iterator[Stretch]:
        """Where windows in a row of an epoch's sequence lie; behind its end it begins again."""
        shards = np.random.default_rng((self.seed, epoch)).permutation(len(self.shard_windows))
        ends = np.cumsum(np.array(self.shard_windows)[shards])
        while count:
            first %= self.num_windows
            place = int(np.searchsorted(ends, first, side="right"))
            shard = int(shards[place])
            start = first - (int(ends[place]) - self.shard_windows[shard])
            taken = min(count, self.shard_windows[shard] - start)
            yield Stretch(shard, start, taken)
            first, count = first + taken, count - taken

    def shuffled(self, epoch: int, block: Block) -> np.ndarray:
        """The order of a block: int64 `[count]`, places in it."""
        return np.random.default_rng((self.seed, epoch, 1 + block.first)).permutation(block.count)

    @cached_property
    def _lanes(self) -> list[tuple[int, int]]:
        """Of each lane the first window in the sequence and how many are its own, process after process."""
        last = self.num_batches - 1
        sizes = [
            self.batches_of(lane) * self.batch_size
            - (self.batch_size - self.counted(rank, last) if last % self.num_lanes == lane else 0)
            for rank in range(self.world_size)
            for lane in range(self.num_lanes)
        ]
        return list(zip(accumulate(sizes, initial=0), sizes, strict=False))
