"""Local feature folders are read in place: any row directly, without a copy."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import tone_corpus
from torch.utils.data import DataLoader

from hf_audio.data.loading import values_in_place
from hf_audio.data.loading.feature_collator import FeatureCollator, clip_key
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.data.loading.values_in_place import file_version
from hf_audio.errors import InputError
from hf_audio.kinds.waveform import Waveform
from hf_audio.parsing import parse_recipe
from hf_audio.recipe_features import stored_features


@pytest.fixture
def folder(tones, tmp_path) -> Path:
    return tone_corpus.build(tones, tmp_path / "features", Waveform())


def stored_rows(folder: Path, split: str) -> list[dict]:
    return [row for path in sorted(folder.glob(f"data/{split}-*")) for row in pq.read_table(path).to_pylist()]


def num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_every_row_is_read_as_stored(folder):
    rows, wanted = load_features(folder).splits["train"], stored_rows(folder, "train")
    assert isinstance(rows, datasets.Dataset)
    for places in ([615, 0, 77], [300], list(range(616))):
        assert rows.__getitems__(places) == [wanted[place] for place in places]
    assert rows.select(range(5, 9))[2] == wanted[7] and rows[3:5]["clip_id"] == [wanted[3]["clip_id"]] * 2


def test_values_that_span_several_pages_are_found(folder):
    path = next(folder.glob("data/test-*"))
    table = pq.read_table(path)
    pq.write_table(
        table, path, compression="none", use_dictionary=["clip_id", "group"], data_page_size=5_000, write_batch_size=10
    )
    assert list(load_features(folder).splits["test"]) == table.to_pylist()


def test_ten_rebuilds_do_not_take_ten_times_the_disk(tones, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(cache))
    for number in range(3):
        folder = tone_corpus.build(tones, tmp_path / f"features{number}", Waveform(), window_s=1.2, hop_s=0.1)
        load_features(folder)
    arrow = sum(path.stat().st_size for path in cache.rglob("*.arrow"))
    assert 0 < arrow < 0.05 * 3 * num_bytes(folder / "data")


def test_rows_are_checked_once_and_again_after_a_shard_changed(folder, monkeypatch):
    load_features(folder)
    checked = []
    monkeypatch.setattr("hf_audio.data.loading.shard_reader.placed", lambda rows, *_: checked.append(rows) or rows)
    load_features(folder)
    assert not checked


def test_a_shard_replaced_while_in_use_is_an_error(folder):
    rows = load_features(folder).splits["test"]
    again = pickle.loads(pickle.dumps(rows))  # as in a loader process
    assert again[5] == rows[5]
    values_in_place._opened.cache_clear()
    path = next(folder.glob("data/test-*"))
    shutil.copyfile(path, folder / "other")
    (folder / "other").replace(path)
    with pytest.raises(InputError, match="has changed since it was loaded: load its dataset again"):
        rows[5]


def test_shards_are_read_without_keeping_them_open(folder, monkeypatch):
    monkeypatch.setattr(values_in_place, "_opened", values_in_place._opened.__wrapped__)
    rows = load_features(folder).splits["train"]
    assert list(rows) == stored_rows(folder, "train")
    assert file_version(str(next(folder.glob("data/test-*"))))


def test_loader_processes_read_in_place_too(folder):
    features = load_features(folder)
    collate = FeatureCollator(features.extractor, features.labels)
    loader = DataLoader(features.splits["train"], 32, shuffle=True, num_workers=2, collate_fn=collate)
    keys = [key for batch in loader for key in batch["clip_keys"].tolist()]
    assert sorted(keys) == sorted(clip_key(row["clip_id"]) for row in stored_rows(folder, "train"))


def test_a_recipe_shuffles_a_whole_local_folder_and_streams_from_the_hub(hub, folder, tmp_path):
    argv = ["--features", "waveform", "--output_dir", str(tmp_path / "run"), "--dataset"]
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub.create("datasets", "alice/in-place", files)
    found = [stored_features(parse_recipe({}, argv=[*argv, name])) for name in (str(folder), "alice/in-place")]
    assert [type(features.splits["train"]) for features in found] == [datasets.Dataset, datasets.IterableDataset]
