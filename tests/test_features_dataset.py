"""Reading features: the same rows from a folder, the cache and a stream, access, damaged datasets, and batches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tone_corpus
import torch
from datasets import Dataset, IterableDataset
from hostile_features import edit_index
from torch.utils.data import DataLoader
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor

from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.data.loading.feature_collator import FeatureCollator, clip_key
from hf_audio.data.loading.features_dataset import check_same_extractor, load_features
from hf_audio.data.recordings.audio import read_audio
from hf_audio.errors import InputError
from hf_audio.kinds._kaldi_fbank import KaldiFbank


@pytest.fixture
def copy(tone_features, tmp_path) -> Path:
    """A copy of a dataset that a test may damage."""
    return Path(shutil.copytree(tone_features, tmp_path / "copy"))


def put_on(hub, repo_id: str, folder: Path, **options) -> str:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub.create("datasets", repo_id, files, **options)
    return repo_id


def assert_same_rows(rows, others) -> None:
    rows, others = list(rows), list(others)
    assert len(rows) == len(others) > 0
    assert rows == others


# Sources


def test_features_are_loaded_from_a_folder(tone_features):
    features = load_features(tone_features)
    assert {split: len(rows) for split, rows in features.splits.items()} == {
        "train": 616,
        "validation": 88,
        "test": 176,
    }
    assert features.labels == tone_corpus.LABELS
    assert [features.num_windows(split) for split in ("train", "test")] == [616, 176]
    assert features.extractor.max_length == 28 and features.extractor.mean == pytest.approx(-8, abs=4)
    assert set(features.splits["test"][0]["features"]) == {"bytes", "path"}  # `datasets` does not decode images


def test_a_relative_folder_name_is_not_taken_for_a_repository(tone_features, monkeypatch):
    monkeypatch.chdir(tone_features.parent)
    assert len(load_features(tone_features.name).splits["test"]) == 176


def test_only_the_train_split_is_streamed(tone_features):
    features = load_features(tone_features, streaming=True)
    kinds = {split: type(rows) for split, rows in features.splits.items()}
    assert kinds == {"train": IterableDataset, "validation": Dataset, "test": Dataset}
    assert features.splits["train"].num_shards == 8 and features.num_windows("train") == 616
    assert_same_rows(features.splits["train"], load_features(tone_features).splits["train"])


@pytest.mark.parametrize("streaming", [False, True])
def test_the_hub_gives_the_rows_of_the_folder(hub, tone_features, streaming):
    repo = put_on(hub, f"alice/same-{streaming}", tone_features)
    here, there = load_features(tone_features), load_features(repo, streaming=streaming)
    for split in here.splits:
        assert_same_rows(there.splits[split], here.splits[split])
    assert there.extractor.to_dict() == here.extractor.to_dict() and there.labels == here.labels


def test_streaming_does_not_download_the_train_split(hub, tone_features):
    repo = put_on(hub, "alice/streamed", tone_features)
    features = load_features(repo, streaming=True)
    assert hub.log.matching(path="/data/test-") and hub.log.matching(path="/data/validation-")
    shards = {request.path.rsplit("/")[-1] for request in hub.log.matching("GET", "/data/train-")}
    assert len(shards) <= 1  # for the schema
    rows = iter(features.splits["train"])
    next(rows)
    shards = {request.path.rsplit("/")[-1] for request in hub.log.matching("GET", "/data/train-")}
    assert len(shards) <= 2  # of eight: only as far as it was read


def test_data_loader_workers_read_each_row_of_a_stream_once(hub, tone_features):
    repo = put_on(hub, "alice/loader", tone_features)
    features = load_features(repo, streaming=True)
    collate = FeatureCollator(features.extractor, features.labels)
    stream = features.splits["train"].shuffle(seed=1, buffer_size=100, max_buffer_input_shards=1)
    keys = torch.cat([batch["clip_keys"] for batch in DataLoader(stream, 32, collate_fn=collate, num_workers=2)])
    wanted = [clip_key(row["clip_id"]) for row in load_features(tone_features).splits["train"]]
    assert sorted(keys.tolist()) == sorted(wanted)


def test_everything_comes_from_the_requested_commit(hub, tone_features):
    repo = put_on(hub, "alice/revisions", tone_features)
    first = hub.repo("datasets", repo).commit({"note.txt": b"one"}).oid
    changed = json.loads((tone_features / "manifest.json").read_text()) | {"hop_s": 0.7}
    hub.repo("datasets", repo).commit({"manifest.json": json.dumps(changed).encode()})
    assert load_features(repo).manifest["hop_s"] == 0.7
    assert load_features(repo, revision=first).manifest["hop_s"] == 0.1
    with pytest.raises(InputError, match="has no revision nowhere"):
        load_features(repo, revision="nowhere")


def test_a_cached_dataset_is_read_in_offline_mode(hub, tone_features):
    repo = put_on(hub, "alice/offline", tone_features)
    load_features(repo)
    code = (
        "import sys; from hf_audio.data.loading.features_dataset import load_features; load_features(sys.argv[1]); "
        "load_features('alice/new')"
    )
    hub.log.clear()
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.run(
        [sys.executable, "-c", code, repo], env=environment, capture_output=True, text=True, timeout=120
    )
    assert "InputError: alice/new is neither a local folder" in process.stderr and "the Hub cannot" in process.stderr
    assert not hub.log.requests


def test_a_broken_connection_is_retried(hub, tone_features, monkeypatch):
    repo = put_on(hub, "alice/broken", tone_features)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    hub.faults.add("GET", "train-00002", "reset", after_bytes=100, times=2)
    hub.faults.add("HEAD", "index.parquet", "reset", times=2)
    hub.faults.add("GET", "/api/datasets/alice/broken", "503", times=2)
    assert len(load_features(repo).splits["train"]) == 616
    hub.faults.add(".*", ".*", "reset", times=1000)
    with pytest.raises(InputError, match=r"connection to the Hub was lost while reading alice/other .*: run the same"):
        load_features("alice/other")


# Access


def test_a_private_dataset_needs_a_token_that_may_read_it(hub, tone_features, monkeypatch):
    repo = put_on(hub, "alice/private", tone_features, private=True)
    for token in (False, hub.token("bob")):
        with pytest.raises(InputError, match="Dataset alice/private does not exist on the Hub, or this token cannot"):
            load_features(repo, token=token)
    with pytest.raises(InputError, match="rejected the token for alice/private: check HF_TOKEN"):
        load_features(repo, token="hf_wrong")
    monkeypatch.setenv("HF_TOKEN", hub.token("bob"))
    assert len(load_features(repo, token=hub.token("alice")).splits["test"]) == 176
    streamed = load_features(repo, token=hub.token("alice"), streaming=True).splits["train"]
    assert len(list(streamed)) == 616
    with pytest.raises(InputError, match="or this token cannot read it"):  # although it is cached
        load_features(repo)


def test_an_unknown_dataset_is_refused(hub):
    with pytest.raises(InputError, match=r"Dataset alice/nothing does not exist on the Hub.*: check the name"):
        load_features("alice/nothing")


def test_a_dataset_without_features_is_refused(hub):
    hub.create("datasets", "alice/texts", {"train.txt": b"words"})
    with pytest.raises(InputError, match=r"alice/texts on the Hub has no finished features \(no manifest.json\)"):
        load_features("alice/texts")


@pytest.mark.parametrize("source", ["no such folder", "a/b/c", "./user/name", Path("user/name"), "naïve/name"])
def test_a_name_that_is_neither_folder_nor_repository_is_refused(source):
    with pytest.raises(InputError, match="is neither a local folder nor a Hub repository of the form user/name"):
        load_features(source)


# Damaged datasets


def test_an_unfinished_build_is_refused(copy):
    (copy / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"The build in .*copy is not finished; run the same command again"):
        load_features(copy)
    (copy / "plan.json").unlink()
    with pytest.raises(InputError, match="copy is not a feature dataset"):
        load_features(copy)


def test_a_group_in_two_splits_is_refused(copy):
    edit_index(copy, lambda rows: [row.update(group="g6") for row in rows if row["clip_id"] == "low_007.wav"])
    with pytest.raises(InputError, match=r"copy cannot be trained on. Group 'g6' is in two splits"):
        load_features(copy)


def test_missing_and_damaged_shards_are_refused(copy):
    (copy / "data/train-00003-of-00008.parquet").unlink()
    with pytest.raises(InputError, match=r"copy is incomplete: data/train-00003-of-00008.parquet is missing"):
        load_features(copy)
    shutil.copy(copy / "data/train-00004-of-00008.parquet", copy / "data/train-00003-of-00008.parquet")
    with pytest.raises(InputError, match=r"copy is damaged: its train split has \d+ (windows|clips) but .* says \d+"):
        load_features(copy)


def test_another_feature_format_is_refused(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}))
    with pytest.raises(InputError, match="has feature format 99; this hf_audio reads 4"):
        load_features(copy)


# Batches


def test_a_batch_equals_the_stock_extractors_output(tones, tone_features):
    features = load_features(tone_features)
    rows = [features.splits["test"][number] for number in (0, 50, 100)]
    batch = FeatureCollator(features.extractor, features.labels)(rows)
    assert batch["input_values"].shape == (3, 28, 128) and batch["input_values"].dtype == torch.float32
    for row, values, target in zip(rows, batch["input_values"], batch["labels"], strict=True):
        start = round(row["start_s"] * 16_000)
        waveform = read_audio(tones / row["clip_id"], 16_000)[start : start + 4800]
        exact = features.extractor(waveform, sampling_rate=16_000)["input_values"][0]
        step = row["scale"] / (2 * features.extractor.std)
        np.testing.assert_allclose(values, exact, atol=0.51 * step)
        assert target.tolist() == [float(name in row["clip_id"]) for name in features.labels.names]
    assert batch["clip_keys"].tolist() == [clip_key(row["clip_id"]) for row in rows]


def test_short_windows_are_padded_like_the_stock_extractor_pads(tones, tone_features):
    features = load_features(tone_features)
    row = features.splits["test"][0]
    extractor = KaldiFbank().to_feature_extractor(40, features.extractor.mean, features.extractor.std)
    (values,) = FeatureCollator(extractor, features.labels)([row])["input_values"]
    exact = extractor(read_audio(tones / row["clip_id"], 16_000)[:4800], sampling_rate=16_000)["input_values"][0]
    np.testing.assert_array_equal(values[28:], exact[28:])
    shorter = KaldiFbank().to_feature_extractor(20, features.extractor.mean, features.extractor.std)
    (cut,) = FeatureCollator(shorter, features.labels)([row])["input_values"]
    np.testing.assert_array_equal(cut, values[:20])


def test_rows_with_decoded_images_and_several_labels(tone_features):
    from datasets import Image

    labels = LabelSpace(tone_corpus.LABELS.names, MULTI_LABEL)
    features = load_features(tone_features)
    collate = FeatureCollator(features.extractor, labels)
    row = features.splits["test"][0]
    decoded = row | {"features": Image().decode_example(row["features"])}
    several = collate([row, decoded | {"labels": [0, 2]}, row | {"labels": []}])
    assert torch.equal(several["input_values"][0], several["input_values"][1])
    assert several["labels"].tolist()[1:] == [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]


def test_facts_and_metadata_of_a_dataset(tone_features):
    features = load_features(tone_features)
    assert (features.kind.name, features.window_s, features.window_frames) == ("fbank", 0.3, 28)
    clips = features.clips()
    assert len(clips) == 80 and clips.schema.field("take").type == pa.int64()
    batch = FeatureCollator(features.extractor, features.labels, {"take": ["8"]})(
        [features.splits["test"][number] for number in (0, 20)]
    )
    assert batch["metadata"].tolist() == [[1], [0]]


def test_clip_keys_are_stable_and_unique():
    assert clip_key("cello/001.wav") == 6189493646588795641
    assert len({clip_key(f"clip {number}") for number in range(10_000)}) == 10_000
    assert torch.tensor([clip_key("a"), clip_key("é")]).dtype == torch.int64


def test_extractors_are_compared_by_parameters_that_cannot_be_adapted():
    stored = KaldiFbank().to_feature_extractor(298, -5.0, 4.0)
    check_same_extractor(stored, ASTFeatureExtractor())
    with pytest.raises(InputError, match="num_mel_bins is 128, expected 64"):
        check_same_extractor(stored, ASTFeatureExtractor(num_mel_bins=64))
    with pytest.raises(InputError, match=r"sampling_rate is 16000, expected 8000; num_mel_bins is 128, expected 64"):
        check_same_extractor(stored, ASTFeatureExtractor(sampling_rate=8000, num_mel_bins=64))
    with pytest.raises(InputError, match=r"features are fbank .* the model reads waveforms.* give --features waveform"):
        check_same_extractor(stored, Wav2Vec2FeatureExtractor())
