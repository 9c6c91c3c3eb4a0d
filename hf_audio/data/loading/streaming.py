"""A streamed train split, read in batches by number: each window once per epoch, starting at any batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from pyarrow import RecordBatch
from torch.utils.data import Dataset, Sampler

from hf_audio.data.loading.shard_reader import ShardReader
from hf_audio.data.loading.stream_order import StreamOrder, Stretch

# Windows in the shuffle buffer, about three shards. More shuffle better, but delay the first batch.
BLOCK_WINDOWS = 3000
BLOCK_BYTES = 384 << 20  # limits blocks of large windows


class StreamedBatch(NamedTuple):
    """A batch of one process: its epoch, and its number in the epoch."""

    epoch: int
    number: int


class StreamedWindows(Dataset):
    """One process's share of a streamed split. A DataLoader requests batches by number, see `StreamedBatches`.

    Batches can be read in any order, and fast in the order of their numbers with `num_workers` workers. If a batch does
    not follow its worker's last one, the worker reads the block of the batch (`StreamOrder`) and nothing before it. So
    a run resumes in the middle of an epoch without delay.

    Args:
        shards: the shards of the split.
        batch_size: batch size of one process.
        rank, world_size: number of this process, and of all processes.
        num_workers: workers of this process's DataLoader; more than `max_workers(shards, world_size)` have no benefit.
        seed: the seed of the order, which also depends on the epoch and the numbers of processes and workers.
        block_windows: size of the shuffle buffer, if windows are small.
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
            InputError: a damaged shard or row.
        """
        turn, lane = divmod(batch.number, self.order.num_lanes)
        wanted = (batch.epoch, lane, turn)
        if wanted != self._next:
            self._rows = self._read(*wanted)
        self._next = None  # in case of an error
        rows = list(islice(self._rows, self.order.batch_size))
        self._next = (batch.epoch, lane, turn + 1)
        return rows

    def __getstate__(self) -> dict[str, Any]:
        """The state without open readers: each worker opens its own."""
        return {**self.__dict__, "_rows": iter(()), "_next": None}

    def _read(self, epoch: int, lane: int, batch: int) -> Iterator[dict[str, Any]]:
        """The rows of a lane from one of its batches on."""
        blocks = list(self.order.blocks(self.rank, lane, batch))
        first, count = blocks[0][0].first, sum(block.count for block, _ in blocks)
        stored = _cut(self._stored(self.order.stretches(epoch, first, count)), (block.count for block, _ in blocks))
        for block, num_before in blocks:
            yield from _rows_at(next(stored), self.order.shuffled(epoch, block)[num_before:])

    def _stored(self, stretches: Iterable[Stretch]) -> Iterator[RecordBatch]:
        """Rows in stored order, one stretch after the other."""
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
        """Chooses the order of the next epoch; Trainer calls it before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[StreamedBatch]:
        return (StreamedBatch(self.epoch, number) for number in range(self.num_batches))


def max_workers(shards: ShardReader, world_size: int) -> int:
    """The maximum number of useful DataLoader workers per process: more would read the same shards."""
    return max(1, len(shards.shards) // world_size)


def _cut(stored: Iterator[RecordBatch], counts: Iterable[int]) -> Iterator[list[RecordBatch]]:
    """Rows in blocks of `counts` rows; a block is released before the next one is read."""
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
    """The rows of a block at these positions, in this order."""
    starts = np.cumsum([0, *(len(rows) for rows in block)])
    parts = np.searchsorted(starts, places, side="right") - 1
    for part, place in zip(parts.tolist(), (places - starts[parts]).tolist(), strict=True):
        yield block[part].slice(place, 1).to_pylist()[0]
