"""The order of streamed epochs: each window once, divided among processes and workers, starting anywhere."""

from __future__ import annotations

from collections import Counter

import datasets
import numpy as np
import pyarrow as pa
import pytest

from hf_audio.data.loading.stream_order import StreamOrder
from hf_audio.data.loading.streaming import BLOCK_WINDOWS, StreamedBatch, StreamedWindows
from hf_audio.training.epoch_batches import BatchLayout

SHARD_WINDOWS = (30, 10, 0, 20, 5, 15)  # 80 windows
BATCH, BLOCK = 4, 20
DIVISIONS = [(1, 1), (1, 3), (2, 1), (2, 2), (3, 1), (5, 2), (8, 1), (30, 1)]  # processes, workers


class NumberedShards:
    """Replaces the shard reader by one with numbers as windows; records the requested row groups."""

    def __init__(self, counts=SHARD_WINDOWS, group=7):
        self.shard_windows = {f"shard {number}": count for number, count in enumerate(counts)}
        self.shards, self.num_bytes, self.group = list(self.shard_windows), 1000, group
        self.rows = dict(zip(self.shards, np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1]), strict=True))
        self.read = []

    def rows_from(self, shard, start):
        for first in range(start // self.group * self.group, self.shard_windows[shard], self.group):
            self.read.append((shard, first))
            rows = self.rows[shard][max(first, start) : first + self.group]
            yield pa.RecordBatch.from_pydict({"window": rows})


def share(rank=0, world_size=1, workers=1, seed=0, shards=None, block=BLOCK):
    options = {"rank": rank, "world_size": world_size, "num_workers": workers, "seed": seed, "block_windows": block}
    return StreamedWindows(shards or NumberedShards(), BATCH, **options)


def batches(windows, epoch=0, first=0):
    numbers = range(first, windows.order.num_batches)
    return [[row["window"] for row in windows.__getitems__(StreamedBatch(epoch, number))] for number in numbers]


@pytest.mark.parametrize(("world_size", "workers"), DIVISIONS)
@pytest.mark.parametrize("epoch", [0, 3])
def test_each_window_counts_once_per_epoch_over_all_processes_and_workers(world_size, workers, epoch):
    """Also with uneven and empty shards, and more processes than shards or batches; counted as for the loss."""
    read, layouts = [], [BatchLayout(80, BATCH, 1, rank, world_size) for rank in range(world_size)]
    for rank, layout in enumerate(layouts):
        found = batches(share(rank, world_size, workers), epoch)
        assert [len(batch) for batch in found] == [BATCH] * layout.num_micro_batches
        counted = [layout.share(epoch * layout.steps_per_epoch + step, 0).num_counted for step in range(len(found))]
        read += [window for batch, count in zip(found, counted, strict=True) for window in batch[:count]]
    assert Counter(read) == Counter(range(80))


@pytest.mark.parametrize(("world_size", "workers"), DIVISIONS)
def test_an_epoch_can_start_at_any_batch(world_size, workers):
    for rank in range(min(world_size, 2)):
        whole = batches(share(rank, world_size, workers), epoch=2)
        for first in range(len(whole)):
            assert batches(share(rank, world_size, workers), 2, first) == whole[first:]


def test_the_order_depends_on_seed_and_epoch():
    first, again, later, other = (
        np.concatenate(batches(share(seed=seed), epoch)).tolist() for epoch, seed in [(0, 0), (0, 0), (1, 0), (0, 1)]
    )
    assert first == again and first != later and first != other and first != sorted(first)


def test_windows_before_the_start_are_not_read():
    shards = NumberedShards((100,) * 20, group=10)
    windows = share(shards=shards)
    windows.__getitems__(StreamedBatch(0, 263))  # windows 1052 to 1055 in the block from 1040 to 1059
    sequence = [part.shard for part in windows.order.stretches(0, 0, 2000)]
    assert shards.read == [(f"shard {sequence[10]}", first) for first in (40, 50)]
    shards.read.clear()
    assert len(batches(windows, 0, 264)) == 500 - 264
    assert len(shards.read) == len(set(shards.read)) == 94, "each row group is read once, including the started one"


def test_batches_can_be_requested_in_any_order():
    windows, whole = share(workers=2), batches(share(workers=2))
    for number in (7, 8, 3, 19, 0, 2):
        assert [row["window"] for row in windows.__getitems__(StreamedBatch(0, number))] == whole[number]


def test_after_an_error_no_window_is_skipped():
    shards = NumberedShards()
    windows, whole, read = share(shards=shards), batches(share()), shards.rows_from
    windows.__getitems__(StreamedBatch(0, 0))

    def broken(*place):
        raise OSError("gone")

    shards.rows_from = broken
    with pytest.raises(OSError, match="gone"):
        batches(windows, 0, 1)
    shards.rows_from = read
    assert batches(windows, 0, 1) == whole[1:]


def test_large_windows_make_smaller_blocks():
    shards = NumberedShards((1000,) * 8)
    assert share(shards=shards, block=BLOCK_WINDOWS).order.block_windows == 3000
    shards.num_bytes = 8000 << 20
    assert share(shards=shards, block=BLOCK_WINDOWS).order.block_windows == 384


def distances(order):
    """Mean distance that windows move, and mean distance of windows that are stored next to each other."""
    places = np.empty(len(order), dtype=int)
    places[order] = np.arange(len(order))
    moved = places - np.arange(len(order))
    return np.abs(moved - np.median(moved)).mean(), np.abs(np.diff(places)).mean()


def test_blocks_mix_better_than_a_buffer_of_1000():
    """The shuffle buffer of `datasets`, which holds 1,500 windows for row groups of 1,024, and copies them."""
    order = StreamOrder((20_000,), BATCH, BLOCK_WINDOWS)
    blocks = np.concatenate([block.first + order.shuffled(0, block) for block, _ in order.blocks(0, 0)])
    table = datasets.Dataset.from_dict({"window": range(20_000)})
    groups = [datasets.Dataset(table.data.slice(first, 1024)) for first in range(0, 20_000, 1024)]
    stored = datasets.concatenate_datasets(groups).to_iterable_dataset().shuffle(seed=0, buffer_size=1000)
    buffered = np.array([row["window"] for row in stored])
    assert sorted(blocks) == sorted(buffered) == list(range(20_000))
    assert all(ours > theirs for ours, theirs in zip(distances(blocks), distances(buffered), strict=True))
