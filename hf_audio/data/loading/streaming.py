"""A streamed train split as equal shares: every process gets the same number of whole batches an epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator

import datasets
import torch
from datasets.distributed import split_dataset_by_node
from torch.utils.data import IterableDataset, get_worker_info


class StreamedWindows(IterableDataset):
    """One process's share of a streamed split, with a length, so that a trainer counts epochs as with a local one.

    Processes read different shards, and shards are rarely of equal size. Each share is therefore cut or repeated to
    `ceil(num_windows / (world_size * batch_size))` whole batches: no process runs dry while the others wait for it.
    The order depends on the seed and the epoch alone, so that an interrupted epoch can be taken up again; what lies
    before that place is read once more and dropped, which takes as long as reading it did.

    Args:
        stream: the whole split, unshuffled.
        num_windows: of the whole split, from the manifest, since a stream cannot tell.
        batch_size: of one process.
        rank, world_size: which process of how many.
        num_workers: of this process's DataLoader; at most `max_workers(stream, world_size)`.
        seed: of the order.
        buffer_size: number of windows from which the next one is drawn; shards are shuffled as well.
    """

    def __init__(
        self,
        stream: datasets.IterableDataset,
        num_windows: int,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        buffer_size: int = 1000,
    ) -> None:
        super().__init__()
        self.stream, self.batch_size = stream, batch_size
        self.rank, self.world_size, self.num_workers = rank, world_size, num_workers
        self.seed, self.buffer_size = seed, buffer_size
        self.num_batches = math.ceil(num_windows / (world_size * batch_size))
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # persistent workers must see it change

    def __len__(self) -> int:
        return self.num_batches * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next pass; the trainer calls it before each epoch."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[dict]:
        worker = get_worker_info()
        index, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        remaining = self.batch_size * len(range(index, self.num_batches, workers))
        share = self._share()
        while remaining > 0:
            before = remaining
            for row in share:  # inside a worker, datasets itself reads only this worker's shards
                yield row
                remaining -= 1
                if remaining == 0:
                    return
            if remaining == before:
                raise RuntimeError("A streamed shard holds no windows; fewer than its manifest says. Build it again.")

    def _share(self) -> datasets.IterableDataset:
        # One shard at a time is enough, since training clips are stored in a mixed order; reading several at once
        # makes datasets wait 5 s for their threads at the end of each pass.
        shuffled = self.stream.shuffle(
            seed=self.seed + 1_000_003 * int(self._epoch), buffer_size=self.buffer_size, max_buffer_input_shards=1
        )
        strategy = "shards" if shuffled.num_shards >= self.world_size else "examples"
        return split_dataset_by_node(shuffled, self.rank, self.world_size, strategy=strategy)


def max_workers(stream: datasets.IterableDataset, world_size: int) -> int:
    """The most DataLoader workers a process that still have a shard of their own."""
    if stream.num_shards < world_size:
        return stream.num_shards  # every process reads all shards and keeps its part of the rows
    return stream.num_shards // world_size
