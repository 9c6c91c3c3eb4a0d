from __future__ import annotations

from collections import Counter

import datasets
import pytest
import torch
from torch.utils.data import DataLoader

from hf_audio.data.loading.streaming import StreamedWindows, max_workers

SHARD_SIZES = (30, 10, 20, 5, 15)  # 80 windows
BATCH = 4


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    first = 0
    for index, size in enumerate(SHARD_SIZES):
        rows = datasets.Dataset.from_dict({"window": range(first, first + size)})
        rows.to_parquet(folder / f"train-{index:05d}.parquet")
        first += size
    return datasets.load_dataset("parquet", data_files=str(folder / "*.parquet"), split="train", streaming=True)


def windows(dataset):
    return [row["window"] for row in dataset]


def shares(stream, world_size, epoch=0, **options):
    for rank in range(world_size):
        share = StreamedWindows(stream, 80, BATCH, rank=rank, world_size=world_size, buffer_size=20, **options)
        share.set_epoch(epoch)
        yield share


def test_one_process_reads_everything_once_an_epoch(stream):
    (share,) = shares(stream, 1)
    order = windows(share)
    assert len(share) == 80 and sorted(order) == list(range(80)) and order != list(range(80))


@pytest.mark.parametrize("world_size", [2, 3, 5, 8], ids=lambda n: f"{n} processes")
def test_every_process_gets_the_same_number_of_whole_batches(stream, world_size):
    """Also with uneven shards (30 and 10 windows), and with more processes than shards."""
    read = [windows(share) for share in shares(stream, world_size)]
    per_process = -(-80 // (world_size * BATCH)) * BATCH
    assert [len(order) for order in read] == [per_process] * world_size
    assert all(not set(read[0]) & set(other) for other in read[1:])
    if world_size == 8:  # each takes every eighth row of every shard
        assert len(set().union(*read)) == 80


def test_the_order_depends_on_seed_and_epoch_alone(stream):
    (first,), (again,), (later,), (other,) = (
        [windows(share) for share in shares(stream, 1, epoch, seed=seed)]
        for epoch, seed in [(0, 0), (0, 0), (1, 0), (0, 1)]
    )
    assert first == again and first != later and first != other


def test_epochs_reach_windows_that_an_uneven_share_left_out(stream):
    seen = Counter()
    for epoch in range(12):
        for share in shares(stream, 2, epoch):
            seen.update(windows(share))
    assert len(seen) == 80


@pytest.mark.parametrize("persistent", [False, True], ids=["new workers", "persistent workers"])
def test_workers_share_the_batches_and_follow_the_epoch(stream, persistent):
    assert max_workers(stream, 1) == 5 and max_workers(stream, 2) == 2 and max_workers(stream, 8) == 5
    (share,) = shares(stream, 1, num_workers=2)
    loader = DataLoader(share, batch_size=BATCH, num_workers=2, persistent_workers=persistent)
    epochs = []
    for epoch in range(2):
        share.set_epoch(epoch)
        batches = [batch["window"] for batch in loader]
        assert [len(batch) for batch in batches] == [BATCH] * 20
        epochs.append(torch.cat(batches).tolist())
    assert epochs[0] != epochs[1]
    share.set_epoch(0)
    assert torch.cat([batch["window"] for batch in loader]).tolist() == epochs[0]


def test_a_stream_without_windows_ends(stream):
    empty = stream.filter(lambda row: False)
    with pytest.raises(RuntimeError, match="holds no windows"):
        windows(StreamedWindows(empty, 80, BATCH))
