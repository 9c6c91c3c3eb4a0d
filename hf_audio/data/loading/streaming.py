"""A streamed train split in batches that are asked for by number: each window once an epoch, from any place on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from pyarrow import RecordBatch
from torch.utils.data import Dataset, Sampler

from hf_audio.data.loading.shard_reader import ShardReader
from hf_audio.data.loading.stream_order import StreamOrder, Stretch

# Of these the next one is drawn. More mix better and take longer until the first one comes: three shards are read.
BLOCK_WINDOWS = 3000
BLOCK_BYTES = 384 << 20  # of large windows fewer make a block


class StreamedBatch(NamedTuple):
    """A batch of one process: of which epoch, and its number in it."""

    epoch: int
    number: int


class StreamedWindows(Dataset):
    """One process's share of a streamed split. A DataLoader asks for batches by number, see `StreamedBatches`.

    Batches are read fast in the order of their numbers, by as many workers as `num_workers` says, and right in any:
    one that does not follow the last one of its worker is sought, with its block (`StreamOrder`), and what lies before
    is not read. So a run is taken up in the middle of an epoch as soon as it begins.

    Args:
        shards: of the split.
        batch_size: of one process.
        rank, world_size: which process of how many.
        num_workers: of this process's DataLoader; at most `max_workers(shards, world_size)` are of use.
        seed: of the order, which depends on the epoch, the number of processes and of their workers too.
        block_windows: of how many windows the next one is drawn, where they are small.
    """

    def __init__(
        self,
        shards: ShardReader,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        block_windows: int = BLOCK_WINDOWS,
    ) -> None:
        self.shards, self.rank, self.num_workers = shards, rank, num_workers
        counts = tuple(shards.shard_windows.values())
        fitting = max(1, BLOCK_BYTES * sum(counts) // shards.num_bytes)
        block = min(block_windows, fitting)
        self.order = StreamOrder(counts, batch_size, block, world_size, max(1, num_workers), seed)
        self._rows: Iterator[dict[str, Any]] = iter(())
        self._next: tuple[int, int, int] | None = None

    def __len__(self) -> int:
        """Windows of an epoch, over all processes."""
        return self.order.num_windows

    def __getitems__(self, batch: StreamedBatch) -> list[dict[str, Any]]:
        """The rows of a batch.

        Raises:
            InputError: a shard or a row that is not as it should be.
        """
        turn, lane = divmod(batch.number, self.order.num_lanes)
        wanted = (batch.epoch, lane, turn)
        if wanted != self._next:
            self._rows = self._read(*wanted)
        self._next = None  # unless all goes well
        rows = list(islice(self._rows, self.order.batch_size))
        self._next = (batch.epoch, lane, turn + 1)
        return rows

    def __getstate__(self) -> dict[str, Any]:
        """Without what is being read: a worker reads for itself."""
        return {**self.__dict__, "_rows": iter(()), "_next": None}

    def _read(self, epoch: int, lane: int, batch: int) -> Iterator[dict[str, Any]]:
        """The rows of a lane from one of its batches on."""
        blocks = list(self.order.blocks(self.rank, lane, batch))
        first, count = blocks[0][0].first, sum(block.count for block, _ in blocks)
        stored = _cut(self._stored(self.order.stretches(epoch, first, count)), (block.count for block, _ in blocks))
        for block, num_before in blocks:
            yield from _rows_at(next(stored), self.order.shuffled(epoch, block)[num_before:])

    def _stored(self, stretches: Iterable[Stretch]) -> Iterator[RecordBatch]:
        """Rows as they are stored, one stretch after the other."""
        names = list(self.shards.shards)
        for shard, first, count in stretches:
            for rows in self.shards.rows_from(names[shard], first):
                yield rows.slice(0, count)
                count -= min(count, len(rows))
                if not count:
                    break


class StreamedBatches(Sampler[StreamedBatch]):
    """The batches of `StreamedWindows`, epoch by epoch; a DataLoader's `batch_sampler`."""

    def __init__(self, windows: StreamedWindows) -> None:
        self.num_batches, self.epoch = windows.order.num_batches, 0

    def __len__(self) -> int:
        return self.num_batches

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next epoch; Trainer calls it before each."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[StreamedBatch]:
        return (StreamedBatch(self.epoch, number) for number in range(self.num_batches))


def max_workers(shards: ShardReader, world_size: int) -> int:
    """The most DataLoader workers a process that have about a shard each: more would read the same ones."""
    return max(1, len(shards.shards) // world_size)


def _cut(stored: Iterator[RecordBatch], counts: Iterable[int]) -> Iterator[list[RecordBatch]]:
    """Rows in blocks of so many each; nothing of a block is kept when the next one is read."""
    rest = None
    for count in counts:
        block = []
        while count:
            rows = next(stored) if rest is None else rest
            block.append(rows.slice(0, count))
            rest = rows.slice(count) if len(rows) > count else None
            count -= len(block[-1])
        yield block
        del block, rows


def _rows_at(block: list[RecordBatch], places: np.ndarray) -> Iterator[dict[str, Any]]:
    """The rows of a block at these places, in this order."""
    starts = np.cumsum([0, *(len(rows) for rows in block)])
    parts = np.searchsorted(starts, places, side="right") - 1
    for part, place in zip(parts.tolist(), (places - starts[parts]).tolist(), strict=True):
        yield block[part].slice(place, 1).to_pylist()[0]
