"""Layouts of third-party datasets: tables above splits, nested folders, and rows and splits without content."""

from __future__ import annotations

import pyarrow as pa
import pytest
from datasets import List, Value
from small_datasets import dataset, parquet, sound, tone, write
from test_datasets_as_corpora import read, refused

from hf_audio.corpora.folder import index as folder_index
from hf_audio.data.index.table import rows_of


def test_a_table_above_split_folders_gives_each_split_its_own_rows(tmp_path):
    table = "file_name,label\ntrain/a.wav,x\ntrain/ann/b.wav,y\ntest/c.wav,x\n"
    files = {"train/a.wav": tone(1), "train/ann/b.wav": tone(2), "test/c.wav": tone(3), "metadata.csv": table}
    clips, found = read(write(tmp_path / "a", files))
    assert [(clip.clip_id, clip.split, *clip.labels) for clip in clips] == [
        ("train/a.wav", "train", "x"),
        ("train/ann/b.wav", "train", "y"),
        ("test/c.wav", "test", "x"),
    ]
    assert "other file" not in found.understanding.paragraph()
    clips, _ = read(write(tmp_path / "a", {"test/metadata.csv": "file_name,label\nc.wav,y\n"}))
    assert [clip.labels for clip in clips] == [("x",), ("y",), ("y",)], "the split's own table takes precedence"
    (tmp_path / "a" / "train" / "a.wav").unlink()
    refused(tmp_path / "a", "metadata.csv of a: 1 of 3 files do not exist, first 'train/a.wav' in row 0")


def test_folders_of_splits_and_folds_are_no_classes(hub):
    hub.create("datasets", "alice/splits", {"train/a.wav": tone(1), "test/b.wav": tone(2)})
    refused("alice/splits", "has audio files without labels .such as train/a.wav and test/b.wav.")
    hub.create("datasets", "alice/bare", {"fold1/a.wav": tone(1), "fold2/b.wav": tone(2)})
    refused("alice/bare", "has audio files without labels")
    files = {f"fold{fold}/{label}/{fold}{label}.wav": tone(fold) for fold in (1, 2) for label in "xy"}
    hub.create("datasets", "alice/folds", files)
    clips, _ = read("alice/folds")
    assert [(clip.split, *clip.labels) for clip in clips] == [(f"fold{fold}", name) for fold in (1, 2) for name in "xy"]


DEPTHS = ["piano/ann/d.wav", "violin/ann/a.wav", "violin/bob/c.wav", "violin/e.wav"]


@pytest.mark.parametrize("around", ["{place}", "data/{place}", "train/{place}", "my_set/train/{place}"])
def test_the_folder_below_the_class_is_the_group_as_on_disk(hub, tmp_path, around):
    """The reader of datasets on the Hub agrees with the reader of folders on disk."""
    places = {around.format(place=place): tone(number) for number, place in enumerate(DEPTHS)}
    hub.create("datasets", f"alice/{len(around)}", places)
    clips, found = read(f"alice/{len(around)}")
    assert [clip.clip_id for clip in clips] == [*places]
    got = [(*clip.labels, clip.group.removeprefix(around.format(place=""))) for clip in clips]
    assert got == [("piano", "ann"), ("violin", "ann"), ("violin", "violin/bob"), ("violin", "violin/e.wav")]
    paragraph = found.understanding.paragraph()
    assert "(class folders; column group is the folder below the class; labels: column label (2 classes)" in paragraph
    assert "column group (2 groups); rows without a group, each a group of its own: 1" in paragraph
    on_disk = rows_of(folder_index(write(tmp_path / "disk", {place: tone(1) for place in DEPTHS})))
    assert [(*clip.labels, clip.group) for clip in on_disk] == got
    clips, _ = read(f"alice/{len(around)}", group_column_name="none")
    assert [clip.group for clip in clips] == [*places]


def test_splits_and_folds_around_folders_of_groups(tmp_path):
    files = {
        f"{split}/{name}/{who}/{split}.wav": tone(1) for split in ("train", "test") for name in "xy" for who in "ab"
    }
    clips, _ = read(write(tmp_path / "splits", files))
    assert {(clip.split, *clip.labels, clip.group) for clip in clips} == {
        (split, name, f"{split}/{who}") for split in ("train", "test") for name in "xy" for who in "ab"
    }, "a group in two official splits becomes one per split"
    files = {f"fold{fold}/{name}/s{fold}/1.wav": tone(fold) for fold in (1, 2) for name in "xy"}
    clips, _ = read(write(tmp_path / "folds", files))
    assert {(clip.split, clip.group) for clip in clips} == {("fold1", "s1"), ("fold2", "s2")}
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n"
    card += "".join(f"  - split: {split}\n    path: {name}/**\n" for split, name in (("train", "one"), ("test", "two")))
    files = {f"{part}/{name}/{part}.wav": tone(1) for part in ("one", "two") for name in "xy"}
    clips, _ = read(write(tmp_path / "card", files | {"README.md": f"{card}---\n"}))
    assert [(clip.split, *clip.labels) for clip in clips] == [(s, name) for s in ("train", "test") for name in "xy"]


def test_groups_above_classes_need_a_flag(hub):
    places = [f"speaker_{number}/{name}/a.wav" for number in (1, 2) for name in ("violin", "piano")]
    hub.create("datasets", "alice/turned", {place: tone(number) for number, place in enumerate(places)})
    refused(
        "alice/turned", "named like groups.*or choose the classes: .* --label_column_name folder for the inner ones"
    )
    clips, found = read("alice/turned", label_column_name=["folder"], group_column_name="label")
    assert [(clip.group, *clip.labels) for clip in clips] == [
        (f"speaker_{number}", name) for number in (1, 2) for name in ("piano", "violin")
    ]
    assert found.card.label_names == ("piano", "violin")
    assert read("alice/turned", label_column_name=["label"])[1].card.label_names == ("speaker_1", "speaker_2")
    hub.create("datasets", "alice/loose", {"x/a.wav": tone(1), "y/b.wav": tone(1), "c.wav": tone(1)})
    refused("alice/loose", "has audio files without labels")


def test_columns_of_types_unknown_to_datasets_are_reported_and_skipped(tmp_path):
    pairs = pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64()))
    made = pa.table({"audio": [sound(0), sound(1)], "label": ["x", "y"], "facts": pairs})
    clips, found = read(write(tmp_path, {"train.parquet": parquet(made)}))
    assert [clip.labels for clip in clips] == [("x",), ("y",)]
    assert "1 column of lists or objects (facts)" in found.understanding.paragraph()


def test_a_split_without_rows_is_not_damaged(tmp_path):
    made = dataset({"label": Value("string")}, label=["x", "y"])
    clips, _ = read(write(tmp_path, {"train.parquet": parquet(made), "test.parquet": parquet(made, 0, 0)}))
    assert [clip.split for clip in clips] == ["train", "train"]
    (tmp_path / "train.parquet").unlink()
    refused(tmp_path, "has no rows; expected one per clip")


def test_only_rows_without_a_name_are_named_by_split_and_row(tmp_path):
    sounds = [sound(0, "a.wav"), None, sound(2, "c.wav"), {"bytes": tone(3), "path": " "}]
    made = dataset({"label": Value("string")}, audio=sounds, label=["x", "y"] * 2)
    clips, found = read(write(tmp_path, {"train.parquet": parquet(made)}))
    assert [clip.clip_id for clip in clips] == ["a.wav", "train/000001", "c.wav", "train/000003"]
    assert "named by file name (2 without one are named by split and row)" in found.understanding.paragraph()
    named = made.append_column("clip_id", pa.array(["train/000001", None, "b", "c"]))
    clips, _ = read(write(tmp_path, {"train.parquet": parquet(named)}))
    assert [clip.clip_id for clip in clips][:2] == ["a.wav", "train/000001"], "names of other rows are not reused"


def test_a_class_listed_twice_in_a_row_counts_once(tmp_path):
    made = dataset({"labels": List(Value("string"))}, labels=[["x", "y ", "x", "y"], ["y"], []])
    clips, found = read(write(tmp_path, {"train.parquet": parquet(made)}))
    assert [clip.labels for clip in clips] == [("x", "y"), ("y",), ()]
    assert found.understanding.class_counts == {"x": 1, "y": 2}


def test_flags_that_leave_no_training_split_are_refused(tmp_path):
    write(tmp_path, {"train.parquet": parquet(dataset({"label": Value("string")}, label=["x", "y"]))})
    refused(
        tmp_path,
        "No split of .* .train. is left to train on, --eval_split_name uses train;",
        eval_split_name="train",
    )
