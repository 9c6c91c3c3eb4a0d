"""The order of a streamed epoch: computed in advance, to find any position without reading what precedes it.

    sequence   shards one after the other, in an order that depends on the seed and the epoch
    lane       a stretch of the sequence for each worker of each process; lanes are read in parallel
    block      a few thousand consecutive windows of a lane, shuffled: all that is held in memory

    shards        | 7      | 2       | 5      | 0       | 3      | ...
    lanes         | process 0, worker 0 | process 0, worker 1 | process 1, worker 0 | ...
    blocks        |......|......|.....  |......|......|.....  | ...

Lanes have equal lengths up to one batch, independent of shards: two lanes may read different rows of one shard. Batches
of a process come from its workers in turn, as a DataLoader requests them.
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
    """Consecutive rows of one shard: its number, the first row, and the number of rows."""

    shard: int
    first: int
    count: int  # type: ignore[assignment]  # the name of a tuple's method


class Block(NamedTuple):
    """Windows that are shuffled together: position of the first one in the sequence, and their number."""

    first: int
    count: int  # type: ignore[assignment]  # the name of a tuple's method


@dataclass(frozen=True)
class StreamOrder:
    """Decides which windows each batch of each process has.

    Attributes:
        shard_windows: number of windows of each shard.
        batch_size: batch size of one process.
        block_windows: maximum number of windows in a block.
        world_size: number of processes.
        num_lanes: number of lanes of one process, one per worker.
        seed: the seed of the order.
    """

    shard_windows: tuple[int, ...]
    batch_size: int
    block_windows: int
    world_size: int = 1
    num_lanes: int = 1
    seed: int = 0

    @property
    def division(self) -> dict[str, int]:
        """The settings that determine the order, besides the dataset and the seed."""
        return {"processes": self.world_size, "workers": self.num_lanes, "batch_size": self.batch_size}

    @property
    def num_windows(self) -> int:
        """Windows of an epoch, over all processes."""
        return sum(self.shard_windows)

    @property
    def num_batches(self) -> int:
        """Batches of one process in an epoch, the same for each process."""
        return math.ceil(self.num_windows / (self.world_size * self.batch_size))

    def counted(self, rank: int, batch: int) -> int:
        """The number of windows of a batch that belong to the epoch; the rest, only in last batches, is filler."""
        before = (batch * self.world_size + rank) * self.batch_size
        return min(max(self.num_windows - before, 0), self.batch_size)

    def blocks(self, rank: int, lane: int, batch: int = 0) -> Iterator[tuple[Block, int]]:
        """The blocks of a lane starting at one of its batches, each with its number of windows before that batch.

        They fill all batches of the lane: a last block of windows from other lanes fills up the last batch.
        """
        first, own = self._lanes[rank * self.num_lanes + lane]
        edges = [*range(0, own, self.block_windows), own, self.batches_of(lane) * self.batch_size]
        for begin, end in pairwise(edges):
            if end > max(begin, batch * self.batch_size):
                yield Block(first + begin, end - begin), max(0, batch * self.batch_size - begin)

    def batches_of(self, lane: int) -> int:
        """Batches of a lane in an epoch."""
        return len(range(lane, self.num_batches, self.num_lanes))

    def stretches(self, epoch: int, first: int, count: int) -> Iterator[Stretch]:
        """Where consecutive windows of an epoch's sequence are stored; after its end it starts again."""
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
        """The order of a block: positions within it, int64 `[count]`."""
        return np.random.default_rng((self.seed, epoch, 1 + block.first)).permutation(block.count)

    @cached_property
    def _lanes(self) -> list[tuple[int, int]]:
        """For each lane the position of its first window and its number of windows, process after process."""
        last = self.num_batches - 1
        sizes = [
            self.batches_of(lane) * self.batch_size
            - (self.batch_size - self.counted(rank, last) if last % self.num_lanes == lane else 0)
            for rank in range(self.world_size)
            for lane in range(self.num_lanes)
        ]
        return list(zip(accumulate(sizes, initial=0), sizes, strict=False))
