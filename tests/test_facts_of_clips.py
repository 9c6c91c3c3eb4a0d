"""Facts about a clip are stored exactly in its rows and in the index of a feature set, and both are compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hostile_features import edit_index, edit_json, edit_rows, first_row, put_on, refusal, shard_of, write_index
from hypothesis import given
from hypothesis import strategies as st

from hf_audio import Clip, InputError, LabelSpace, load_features, read_clip_labels
from hf_audio.data.building.build import build_features
from hf_audio.data.foreign.clip_facts import clip_facts
from hf_audio.data.index.labels import MULTI_LABEL
from hf_audio.data.index.table import CorpusCard, index_of, metadata_columns, rows_of
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.tables import csv_text, names_cell, names_in_cell
from hf_audio.kinds._kaldi_fbank import KaldiFbank

LABELS = LabelSpace(("low; deep", "high|[up]"), MULTI_LABEL)
CARD = CorpusCard("Tones", license="CC0 1.0", may_redistribute=True)
FACTS = {"pitch": 60, "tempo": 92.5, "mood": "sad; slow", "label": "x", "features": "y", "metadata_pitch": "z"}
STORED = {
    **{"pitch": "int64", "tempo": "float64", "mood": "string", "is_take": "bool"},
    **{"metadata_label": "string", "metadata_features": "string", "metadata_metadata_pitch": "string"},
}


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> pa.Table:
    """Six clips. The last has only a class."""
    root, random, clips = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0), []
    for number, split in enumerate(["train"] * 4 + ["validation", "test"]):
        soundfile.write(root / f"{number}.wav", 0.1 * random.standard_normal(9600), 16_000)
        facts = {} if number == 5 else FACTS | {"pitch": 60 + number}
        names = LABELS.names if number == 3 else (LABELS.names[number % 2],)
        clips.append(Clip(root / f"{number}.wav", names, f"g{number}", f"c{number}", split=split, metadata=facts))
    table = index_of(clips)
    return table.append_column("is_take", pa.array([True, False, None, True, False, None]))


@pytest.fixture(scope="module")
def built(index, tmp_path_factory) -> Path:
    return build(index, tmp_path_factory.mktemp("features") / "f")


@pytest.fixture
def folder(built, tmp_path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "received"))


def build(index: pa.Table, folder: Path) -> Path:
    options = {"window_s": 0.3, "hop_s": 0.3, "card": CARD, "num_workers": 1}
    return build_features(index, LABELS, folder, KaldiFbank(num_mel_bins=16), **options)


def test_metadata_are_typed_columns_of_rows_and_index(built, index, tmp_path):
    features = load_features(built)
    assert features.manifest["metadata"] == dict(sorted(STORED.items()))
    clips = features.clips()
    assert metadata_columns(clips).keys() == STORED.keys()
    facts = {clip.clip_id: clip.metadata for clip in rows_of(index)}
    alone = datasets.load_dataset("parquet", data_dir=str(built / "data"), cache_dir=str(tmp_path))
    for rows in (clips.to_pylist(), *alone.values(), *features.splits.values()):
        for row in rows:
            found = {fact: row[column] for column, fact in metadata_columns(clips).items() if row[column] is not None}
            assert found == facts[row["clip_id"]]
            assert {type(row[column]) for column in ("pitch", "is_take")} <= {int, bool, type(None)}
    assert clips["labels"].to_pylist()[3] == list(LABELS.names)


def test_a_stream_has_metadata_too(hub, built):
    stream = load_features(put_on(hub, "alice/facts", built), streaming=True)
    collate = FeatureCollator(stream.extractor, stream.labels, {"pitch": ["62", "63"], "label": ["x"], "mood": ["x"]})
    rows = sorted(stream.splits["train"], key=lambda row: (row["clip_id"], row["start_s"]))
    assert collate(rows[::2])["metadata"].tolist() == [[0, 1, 0], [0, 1, 0], [1, 1, 0], [2, 1, 0]]


def test_a_fact_is_found_by_its_name_not_by_its_column(built):
    collate = FeatureCollator(load_features(built).extractor, LABELS, {"metadata_pitch": ["z"], "features": ["y"]})
    assert collate(list(load_features(built).splits["train"]))["metadata"].unique().tolist() == [1]


@pytest.mark.parametrize(
    "change", [first_row("pitch", 7), first_row("mood", None), first_row("is_take", None), first_row("tempo", 92.25)]
)
def test_rows_that_contradict_the_index_are_refused(folder, change):
    edit_rows(folder, change)
    assert "row 0 (clip" in (said := refusal(folder)) and "other facts about its clip than index.parquet" in said


def packed(**options):
    return lambda folder: write_index(folder, pq.read_table(folder / "index.parquet"), **options)


def with_column(name: str, values, kind: pa.DataType, nullable: bool = True):
    def change(folder: Path) -> None:
        table = pq.read_table(folder / "index.parquet")
        place = table.schema.get_field_index(name)
        column = pa.array(values(table[name].to_pylist()), kind)
        write_index(folder, table.set_column(place, pa.field(name, kind, nullable), column))

    return change


def not_utf8(folder: Path) -> None:
    content = (folder / "index.parquet").read_bytes()
    (folder / "index.parquet").write_bytes(content.replace(b"sad; slow", b"sad;\xff\xfelow"))


def endless(folder: Path) -> None:
    """A million rows of only clip ids, a few bytes each."""
    schema = pq.read_schema(folder / "index.parquet")
    columns = [
        pa.array([f"{n:07d}" for n in range(1 << 20)] if name == "clip_id" else [None] * (1 << 20), pa.string())
        for name in schema.names
    ]
    write_index(folder, pa.table(dict(zip(schema.names, columns, strict=True))))


INDICES = {
    "compressed": (packed(compression="zstd"), "clip_id with compression ZSTD"),
    "dictionary encoding": (packed(use_dictionary=["group"]), "group with compression UNCOMPRESSED and"),
    "labels as text": (with_column("labels", lambda v: ["x"] * len(v), pa.string()), "'labels' is string, expected"),
    "labels that may be empty": (
        with_column("labels", lambda v: v, pa.list_(pa.string()), False),
        "'labels' is list<element: string> not null, expected list<element: string not null> not null",
    ),
    "numbers as text": (with_column("pitch", lambda v: list(map(str, v)), pa.string()), "'pitch' is string, expected"),
    "an additional column": (
        lambda folder: write_index(folder, pq.read_table(folder / "index.parquet").append_column("x", [[1] * 6])),
        "'x' is int64, expected missing",
    ),
    "a missing column": (
        lambda folder: write_index(folder, pq.read_table(folder / "index.parquet").drop_columns("tempo")),
        "'tempo' is missing, expected double",
    ),
    "not UTF-8": (not_utf8, "Invalid UTF8 sequence"),
    "other columns": (endless, "does not have the columns of its manifest"),
    "long text": (
        lambda folder: edit_index(folder, first_row("mood", "x" * 70_000)),
        "mood has more than 65,536 bytes",
    ),
}


@pytest.mark.parametrize("what", INDICES)
def test_a_damaged_or_hostile_index_is_refused(folder, what):
    change, sentence = INDICES[what]
    change(folder)
    assert sentence in refusal(folder)


def test_a_small_file_cannot_use_much_memory(folder, monkeypatch):
    monkeypatch.setattr("hf_audio.data.foreign.index.MAX_TABLE_BYTES", 8 * 14 * 5)
    assert "has 6 rows, too many" in refusal(folder)
    monkeypatch.undo()
    monkeypatch.setattr("hf_audio.data.foreign.parquet.MAX_GROUP_BYTES", 100)
    assert "has a row group of" in refusal(folder)


@pytest.mark.parametrize(
    "value", [None, [], {"a": "object"}, {"a": 1}, {"": "string"}, {"clip_id": "string"}, {"num_frames": "int64"}, ...]
)
def test_invalid_metadata_in_a_manifest_is_refused(folder, value):
    edit_json(folder / "manifest.json", "metadata", value)
    assert "manifest.json is damaged: metadata" in refusal(folder)


def test_missing_columns_of_mixtures_are_refused(folder):
    edit_json(folder / "manifest.json", "has_mixtures", True)
    assert "'part_groups' is missing, expected list<element: string not null>" in refusal(folder)


def test_too_long_texts_are_refused_before_building(index, tmp_path):
    long = index.set_column(index.column_names.index("mood"), "mood", [["a", "x" * 70_000, None, "", "a", "b"]])
    with pytest.raises(InputError, match="Clip c1 has 70,000 bytes in 'mood', expected at most 65,536"):
        build(long, tmp_path / "f")
    assert not (tmp_path / "f").exists()
    assert shard_of(build(index, tmp_path / "f")).exists()


def test_unsupported_types_are_stored_as_text(index, tmp_path):
    times = pa.array([1, 2, None, 4, 5, 6], pa.timestamp("s"))
    features = load_features(build(index.append_column("recorded", times), tmp_path / "f"))
    assert features.manifest["metadata"]["recorded"] == "string"
    assert features.clips()["recorded"].to_pylist()[:3] == ["1970-01-01 00:00:01", "1970-01-01 00:00:02", None]


# Cells with several names

NAMES = st.lists(st.text("a;|[]\",' =-é", min_size=1, max_size=5), max_size=4, unique=True)


@given(NAMES)
def test_names_survive_a_round_trip_through_a_cell(names):
    assert names_in_cell(names_cell(names)) == tuple(names)


def test_corrections_of_classes_with_any_name(tmp_path):
    names = ("one; two", "=three", "four|five", "plain")
    text = csv_text([("clip_id", "labels"), ("a", names_cell(names)), ("b", names_cell(names[-1:])), ("c", "x;y")])
    (tmp_path / "o.csv").write_text(text)
    found = read_clip_labels(tmp_path / "o.csv")
    assert [found[clip].labels for clip in "abc"] == [names, ("plain",), ("x", "y")]
    (tmp_path / "o.csv").write_text('clip_id,labels\na,"[one; two"\n')
    with pytest.raises(InputError, match=r"o.csv line 2: '\[one; two' is not a JSON list of names"):
        read_clip_labels(tmp_path / "o.csv")


# Comparing rows with the index

VALUES = st.tuples(
    st.text(max_size=3),
    st.lists(st.integers(0, 3), max_size=3),
    st.none() | st.integers(-2, 2),
    st.none() | st.booleans(),
)


@given(st.lists(VALUES, min_size=1, max_size=20))
def test_clips_are_equal_if_all_their_facts_are(rows):
    kinds = (pa.string(), pa.list_(pa.int64()), pa.int64(), pa.bool_())
    columns = [pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    facts = clip_facts(columns)
    keys = [repr(row) for row in rows]
    assert [facts.tolist().index(fact) for fact in facts] == [keys.index(key) for key in keys]
    sliced = clip_facts([column.slice(len(rows) // 2) for column in columns])
    assert sliced.tolist() == facts[len(rows) // 2 :].tolist()
