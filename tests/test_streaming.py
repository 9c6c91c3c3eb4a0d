"""Streamed epochs in a DataLoader: from a folder or a Hub, with workers, from the start or the middle."""

from __future__ import annotations

import json
import pickle
from collections import Counter

import pytest
from accelerate.data_loader import DataLoaderShard, skip_first_batches
from hostile_features import put_on
from torch.utils.data import DataLoader
from training_run import in_shards

from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.data.loading.features_dataset import check_features, load_features
from hf_audio.data.loading.streaming import StreamedBatch, StreamedBatches, StreamedWindows, max_workers
from hf_audio.errors import InputError

COUNTS = (12, 5, 14, 7)  # 38 windows
BATCH = 4


@pytest.fixture(scope="module")
def folder(tiny_folders, tmp_path_factory):
    return in_shards(tiny_folders[SINGLE_LABEL], tmp_path_factory.mktemp("shards") / "tiny", COUNTS)


@pytest.fixture(scope="module")
def shards(folder):
    return load_features(folder, streaming=True).streamed


def names(rows):
    return [(row["clip_id"], row["start_s"]) for row in rows]


def loader_of(windows, persistent=False):
    workers = {"num_workers": windows.num_workers, "persistent_workers": persistent}
    return DataLoaderShard(windows, batch_sampler=StreamedBatches(windows), collate_fn=names, **workers)


def test_rows_are_those_of_the_folder(folder, shards):
    local = {(row["clip_id"], row["start_s"]): row for row in load_features(folder).splits["train"]}
    windows = StreamedWindows(shards, BATCH)
    loader = DataLoader(windows, batch_sampler=StreamedBatches(windows), collate_fn=list)
    rows = [row for batch in loader for row in batch]
    assert len(windows) == 38 and len(rows) == 40
    assert [local[name] for name in names(rows)] == rows
    assert len(set(names(rows[:38]))) == 38
    assert pickle.loads(pickle.dumps(windows)).__getitems__(StreamedBatch(0, 0)) == rows[:4], "for spawned workers"


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_workers_share_epochs_and_resume_within_one(shards, workers, persistent):
    """As in Trainer, which sets the epoch; to resume within an epoch, accelerate makes another loader."""
    windows, epochs = StreamedWindows(shards, BATCH, num_workers=workers, block_windows=10), []
    loader = loader_of(windows, persistent)
    for epoch in (0, 1, 0):
        loader.set_epoch(epoch)
        epochs.append(list(loader))
        read = Counter(name for batch in epochs[-1] for name in batch)
        assert [len(batch) for batch in epochs[-1]] == [BATCH] * 10 == [BATCH] * len(loader)
        assert len(read) == 38 and sum(read.values()) == 40
    assert epochs[0] == epochs[2] != epochs[1]
    whole = loader_of(windows, persistent)
    whole.set_epoch(1)
    for skipped in (1, 6) if workers else range(1, 10):
        assert list(skip_first_batches(whole, skipped)) == epochs[1][skipped:]


def test_resuming_an_epoch_on_the_hub_reads_no_earlier_windows(hub, folder):
    features = load_features(put_on(hub, "alice/shards", folder), streaming=True)
    hub.log.clear()
    windows = StreamedWindows(features.streamed, BATCH, block_windows=8)
    stretches = list(windows.order.stretches(0, 32, 6))
    assert len(windows.__getitems__(StreamedBatch(0, 8))) == BATCH
    asked = {request.path.rpartition("/")[2] for request in hub.log.matching("GET", "/data/train-")}
    assert asked == {f"train-{part.shard:05d}-of-00004.parquet" for part in stretches} and len(asked) < 3


def test_every_worker_has_a_shard(shards):
    assert [max_workers(shards, world_size) for world_size in (1, 2, 3, 4, 8)] == [4, 2, 1, 1, 1]


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((13, 4, 14, 7), "train-00000-of-00004.parquet is damaged: it has 12 windows, expected 13"),
        ((12, 5, 14, 8), "shard_windows.train is 39 windows in 4 shards, expected 38 windows in 4 shards"),
        ((12, 5, 21), "shard_windows.train is 38 windows in 3 shards, expected 38 windows in 4 shards"),
        ((12, 5, -1, 22), "shard_windows.train is list, expected a list of up to 99,999 whole numbers from 0"),
        ((12, 5, 14.0, 7), "shard_windows.train is list, expected a list"),
    ],
)
def test_false_counts_of_shards_are_refused(tiny_folders, tmp_path, counts, said):
    spoilt = in_shards(tiny_folders[SINGLE_LABEL], tmp_path / "spoilt", COUNTS)
    manifest = json.loads((spoilt / "manifest.json").read_text())
    manifest["shard_windows"]["train"] = counts
    (spoilt / "manifest.json").write_text(json.dumps(manifest))
    for read in (
        lambda: list(loader_of(StreamedWindows(load_features(spoilt, streaming=True).streamed, BATCH))),
        lambda: list(load_features(spoilt, streaming=True).splits["train"]),
        lambda: load_features(spoilt),
        lambda: check_features(spoilt),
    ):
        with pytest.raises(InputError) as caught:
            read()
        assert said in str(caught.value)
