"""Third-party feature datasets: only our own columns are read, and every fault ends in one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_features import (
    edit_index,
    edit_json,
    edit_rows,
    first_row,
    png,
    put_on,
    refusal,
    shard_of,
    write_shard,
)
from small_features import build_small_features

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL
from hf_audio.data.index.table import CorpusCard
from hf_audio.data.loading import features_dataset
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError

ELSEWHERE = "http://127.0.0.1:9/image.png"


@pytest.fixture
def folder(tiny_folders, tmp_path) -> Path:
    """A copy of single-label fbank features that a test may damage."""
    return Path(shutil.copytree(tiny_folders[SINGLE_LABEL], tmp_path / "received"))


@pytest.fixture
def several(tiny_folders, tmp_path) -> Path:
    """The same with several labels per clip."""
    return Path(shutil.copytree(tiny_folders[MULTI_LABEL], tmp_path / "several"))


# Other columns are ignored


def test_an_image_address_in_another_column_is_never_fetched(hub, folder, tmp_path):
    address = f"{hub.endpoint}/internal/secret.png"
    table = pq.read_table(shard_of(folder))
    address_column = pa.array(
        [{"bytes": None, "path": address}] * len(table), pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    described = json.loads(table.schema.metadata[b"huggingface"])
    described["info"]["features"]["cover"] = {"_type": "Image"}
    table = table.append_column("cover", address_column)
    table = table.replace_schema_metadata({b"huggingface": json.dumps(described).encode()})
    write_shard(folder, table)
    repo = put_on(hub, "evil/cover", folder)
    for source, streaming in ((folder, False), (folder, True), (repo, False), (repo, True)):
        assert "does not have the columns of its manifest: 'cover'" in refusal(source, streaming=streaming)
    assert not hub.log.matching(path="/internal/")


@pytest.mark.parametrize("streaming", [False, True])
def test_an_address_in_our_own_column_is_never_fetched(hub, folder, streaming):
    secret = folder / "secret.png"
    secret.write_bytes(png(38, 32))
    for path in (f"{hub.endpoint}/internal/secret.png", str(secret)):
        edit_rows(folder, first_row("features", {"bytes": None, "path": path}))
        assert "row 0 (clip" in (said := refusal(folder, streaming=streaming)) and "an empty value in features" in said
    assert not hub.log.matching(path="/internal/")


@pytest.mark.parametrize("streaming", [False, True])
def test_card_and_scripts_of_a_repository_have_no_effect(hub, folder, tmp_path, streaming):
    plain = put_on(hub, "alice/plain", folder)
    card = f"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: "{ELSEWHERE}"
dataset_info:
  features:
  - name: features
    dtype: string
  - name: cover
    dtype: image
---
"""
    script = f"import os; open({str(tmp_path / 'ran')!r}, 'w')"
    more = {"README.md": card.encode(), "card.py": script.encode(), "evil.py": script.encode()}
    more["dataset_infos.json"] = b'{"default": {"features": {"features": {"dtype": "string", "_type": "Value"}}}}'
    evil = put_on(hub, "evil/evil", folder, **more)
    one, two = (load_features(repo, streaming=streaming) for repo in (plain, evil))
    assert list(one.splits["train"]) == list(two.splits["train"])
    assert not (tmp_path / "ran").exists()


def test_a_column_of_another_type_is_not_converted(folder):
    table = pq.read_table(shard_of(folder))
    texts = pa.array([ELSEWHERE] * len(table))  # datasets would read them as images
    place = table.schema.get_field_index("features")
    write_shard(folder, table.set_column(place, "features", texts))
    assert "'features' is string, expected struct<bytes: binary, path: string>" in refusal(folder)
    assert "'features' is string, expected struct<bytes: binary, path: string>" in refusal(folder, streaming=True)


# manifest.json, index.parquet, preprocessor_config.json

MANIFESTS = {
    "format_version": ["2", None, True, 1, ...],
    "problem_type": ["regression", None, ["single_label_classification"], ...],
    "label_names": [
        *([], "bell", ["bell", "hiss"], ["bell", "hiss", "hiss"], ["bell", "hiss", 3], ["bell", "hiss", ""]),
        *({"bell": 0}, ["bell", "hiss", "x" * 2000], ...),
    ],
    "window_s": [0, -1, "0.4", None, 1e-9, 1e9, 3600, True, ...],
    "hop_s": [0, None, [], ...],
    "num_excluded": [-1, 0.5, "many", ...],
    "extractor": [None, [], "fbank", ...],
    "extractor.kind": ["raw", None, [], "waveform", ...],
    "extractor.sampling_rate": [0, 1e9, 10**12, "16000", 16000.5, ...],
    "extractor.num_mel_bins": [0, -1, 10**9, None, 64, ...],
    "extractor.hop_s": [0, 1e-9, "x", 0.02, ...],
    "extractor.normalization": ["clip", None, ...],
    "corpus": [None, [], ...],
    "corpus.name": [None, 3, "x" * 100_000, ...],
    "corpus.may_redistribute": ["no", 1, None, ...],
    "corpus.license": [[], ...],
    "corpus.others": [None, {}, [3], [{"name": "x"}], ...],
    "splits": [None, {}, [], {"dev": {}}, {"train": 3}, ...],
    "splits.train": [None, {}],
    "splits.train.num_shards": [0, -1, 10**8, 2, "1", 1.0, ...],
    "splits.train.num_windows": [0, -1, 10**15, 37, "38", ...],
    "splits.train.num_clips": [20, None, 10**30, ...],
    "splits.train.num_groups": [20, ...],
    "splits.train.label_counts": [{}, [], {"bell": 7, "hiss": 7}, ...],
    "splits.train.label_counts.bell": [6, -7, 7.5, None],
    "splits.train.known_counts": [{"bell": 21, "hiss": 21, "hum": 20}, [], None],
    "splits.test": [...],
    "shard_windows": [None, [], {}, {"train": [38]}, ...],
    "shard_windows.train": [None, {}, [37], [38, 0], [38.0], [-1, 39], ["38"], [True], ...],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in MANIFESTS.items() for value in values]
)
def test_a_manipulated_manifest(folder, field, value):
    edit_json(folder / "manifest.json", field, value)
    message = refusal(folder)
    assert "manifest" in message or "incomplete" in message


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"window_s": NaN}', b'{"window_s": 1e999}']
)
@pytest.mark.parametrize("name", ["manifest.json", "preprocessor_config.json"])
def test_invalid_json(folder, name, content):
    (folder / name).write_bytes(content)
    assert name in refusal(folder)


EXTRACTORS = {
    "sampling_rate": [8000, 0, "16000", 10**9],
    "num_mel_bins": [64, 0, None, 10**9],
    "max_length": [1024, 0, -1, 10**12, "38"],
    "std": [0, 0.0, -1.0, "1", [4.0] * 3, None],
    "mean": ["0", [0.0] * 3, {}],
    "do_normalize": ["yes"],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in EXTRACTORS.items() for value in values]
)
def test_a_manipulated_extractor(folder, field, value):
    edit_json(folder / "preprocessor_config.json", field, value)
    assert "preprocessor_config.json" in refusal(folder)


def test_every_field_that_a_build_writes_is_read(folder, tmp_path):
    other = CorpusCard("Noises", "CC BY-NC 4.0", may_redistribute=False)
    card = CorpusCard("Tones", "CC0", may_redistribute=True, others=(other,))
    for source in (folder, build_small_features(tmp_path / "f", card)):
        assert load_features(source).manifest == json.loads((source / "manifest.json").read_text())
    assert load_features(source).manifest["corpus"]["others"][0]["license"] == "CC BY-NC 4.0"


INDICES = {
    "empty": lambda rows: rows.clear(),
    "without a clip": lambda rows: rows.pop(0),
    "a clip twice": lambda rows: rows.append(dict(rows[0])),
    "an additional clip": lambda rows: rows.append({**rows[0], "clip_id": "new", "group": "new"}),
    "another split": lambda rows: rows[0].update(split="dev"),
    "a clip moved": lambda rows: rows[0].update(split="test"),
    "another class": lambda rows: rows[0].update(labels=["trumpet"]),
    "the wrong class": lambda rows: rows[0].update(labels=["hum"]),
    "no class": lambda rows: rows[0].update(labels=[]),
    "two classes": lambda rows: rows[0].update(labels=["bell", "hum"]),
    "unknown classes": lambda rows: rows[0].update(unknown=["hum"]),
    "no name": lambda rows: rows[0].update(clip_id=""),
    "a long name": lambda rows: rows[0].update(clip_id="x" * 10_000),
    "a start of nan": lambda rows: rows[0].update(start_s=float("nan")),
    "a start before the file": lambda rows: rows[0].update(start_s=-1.0),
    "an end before its start": lambda rows: rows[0].update(start_s=2.0, end_s=1.0),
    "an end at infinity": lambda rows: rows[0].update(end_s=float("inf")),
    "another group": lambda rows: rows[0].update(group="other"),
    "two in one group": lambda rows: rows[1].update(group=rows[0]["group"]),
}


@pytest.mark.parametrize("kind", INDICES)
def test_a_manipulated_index(folder, kind):
    edit_index(folder, INDICES[kind])
    assert "index.parquet" in refusal(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"clip_id,group\na,b\n", b"\xff\xff", b'clip_id,group,split,labels,unknown,start_s,end_s\n"a', b"\0" * 100],
)
def test_an_index_that_is_not_parquet(folder, content):
    (folder / "index.parquet").write_bytes(content)
    assert "index.parquet" in refusal(folder)


def test_partial_labels_that_contradict_themselves(several):
    edit_index(several, lambda rows: rows[2].update(unknown=rows[2]["labels"][:1]))
    assert "a class is both in labels and unknown" in refusal(several)


def test_unknown_classes_that_the_manifest_does_not_count(several):
    edit_index(several, lambda rows: rows[0].update(unknown=["hum"]))
    assert "known_counts is missing, and index.parquet lists unknown classes" in refusal(several)


def test_excluded_clips_must_be_listed(tmp_path):
    folder = build_small_features(tmp_path / "f", broken_clips=2)
    assert load_features(folder).num_windows("train") == 24
    (folder / "excluded.csv").write_text("clip_id,reason\nbroken0,broken\n")
    assert "splits.train.num_clips is 12, and index.parquet lists 13" in refusal(folder)


# On the Hub


def test_a_manifest_of_gigabytes_is_not_downloaded(hub, folder):
    content = (folder / "manifest.json").read_bytes()
    repo = put_on(hub, "evil/large", folder, **{"manifest.json": content + b" " * (17 << 20)})
    assert "manifest.json has" in (said := refusal(repo)) and "expected at most 16,777,216" in said
    assert sum(request.sent for request in hub.log.matching("GET", "manifest.json")) < 1 << 20


def test_a_download_larger_than_its_limit_is_refused(hub, folder, monkeypatch):
    monkeypatch.setitem(features_dataset.FILES, "index.parquet", 100)
    assert "index.parquet has" in refusal(put_on(hub, "evil/more", folder))


def test_shards_far_larger_than_their_windows_are_not_downloaded(hub, folder):
    shard = shard_of(folder)
    shard.write_bytes(shard.read_bytes() + b"\0" * (9 << 20))
    repo = put_on(hub, "evil/padded", folder)
    for streaming in (False, True):
        assert "bytes, expected 608 to" in refusal(repo, streaming=streaming)
    assert not hub.log.matching("GET", "/data/train-")


def test_shards_missing_on_the_hub_are_noticed_before_any_download(hub, folder):
    edit_json(folder / "manifest.json", "splits.train.num_shards", 99_999)
    edit_json(folder / "manifest.json", "shard_windows.train", [38] + [0] * 99_998)
    assert "data/train-00000-of-99999.parquet is missing" in refusal(put_on(hub, "evil/many", folder))
    assert not hub.log.matching("GET", "/data/train-")


def test_a_dataset_on_the_hub_is_checked_like_a_folder(hub, folder):
    edit_rows(folder, first_row("labels", [-1]))
    for name, options in (("evil/local", {}), ("evil/streamed", {"streaming": True})):
        assert "other facts about its clip than index.parquet" in refusal(put_on(hub, name, folder), **options)


# A build that someone else started


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shard_bounds", {"train": [0, 10**9]}),
        ("shard_bounds", {"train": [0, 12], "validation": [0, 3], "test": [0, -3]}),
        ("shard_bounds", {"train": [0, 12], "validation": [0, 3], "test": [0, "3"]}),
        ("shard_bounds", [0, 1]),
        ("audio_s", "long"),
        ("audio_s", ...),
    ],
)
def test_a_plan_that_does_not_fit_its_clips(tmp_path, field, value):
    folder = build_small_features(tmp_path / "f")
    (folder / "manifest.json").unlink()
    edit_json(folder / "plan.json", field, value)
    with pytest.raises(InputError, match=r"plan.json is not a plan for these clips"):
        build_small_features(folder)


@pytest.mark.parametrize("content", [b"[]", b"{", b"NaN"])
def test_a_plan_that_is_not_json(tmp_path, content):
    folder = build_small_features(tmp_path / "f")
    (folder / "plan.json").write_bytes(content)
    with pytest.raises(InputError, match=r"plan\.json"):
        build_small_features(folder)


@pytest.mark.parametrize(
    "note",
    [
        {},
        {"num_windows": -1, "excluded": [], "count": 1, "sum": 0.0, "sum_of_squares": 0.0},
        {"num_windows": 24, "excluded": [["a"]], "count": 1, "sum": 0.0, "sum_of_squares": 0.0},
        {"num_windows": 24, "excluded": [], "count": 1, "sum": "0", "sum_of_squares": 0.0},
        {"num_windows": 24, "excluded": [], "count": 1, "sum": [0.0, 1.0], "sum_of_squares": 0.0},
    ],
)
def test_a_manipulated_note_of_a_shard(tmp_path, note):
    folder = build_small_features(tmp_path / "f")
    (folder / "manifest.json").unlink()
    (folder / ".build").mkdir()
    for name in ("train-00000-of-00001", "validation-00000-of-00001", "test-00000-of-00001"):
        (folder / ".build" / f"{name}.json").write_text(json.dumps(note))
    with pytest.raises(InputError, match=r"damaged: remove it|contradict each other"):
        build_small_features(folder)
