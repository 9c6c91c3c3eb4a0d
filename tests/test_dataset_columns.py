"""Columns of datasets: sound, classes and masks, and errors for every kind of bad input."""

from __future__ import annotations

import pyarrow as pa
import pytest
from datasets import ClassLabel, List, Value
from small_datasets import GENRES, dataset, parquet, write
from test_datasets_as_corpora import read, refused

TEXT = Value("string")
TWO = {"label": ["a", "b"] * 2}


def folder(root, features, card="", **columns):
    """A local dataset of one split, train.parquet."""
    files = {"train.parquet": parquet(dataset(features, **columns))} | ({"README.md": card} if card else {})
    return write(root, files)


def splits(root, features, **of_split):
    """A local dataset of several splits."""
    return write(root, {f"{name}.parquet": parquet(dataset(features, **columns)) for name, columns in of_split.items()})


def without_sound(**columns):
    return parquet(pa.table(columns))


# Sound


def test_a_dataset_without_sound_is_refused(tmp_path):
    write(
        tmp_path,
        {"train.parquet": without_sound(text=["a", "b"], label=["x", "y"]), "README.md": "---\nconfigs: []\n---\n"},
    )
    refused(tmp_path, "has no audio column .its columns are text, label.; give the dataset with the recordings")
    refused(
        tmp_path, "--audio_column_name text: this column of .* is string and has no sound", audio_column_name="text"
    )
    refused(tmp_path, "Unknown column of .* 'sound'", audio_column_name="sound")
    (tmp_path / "other").mkdir()
    refused(tmp_path / "other", "is not an audio dataset .it has no files.; expected Parquet with an audio column")


def test_sound_in_columns_not_named_audio(tmp_path):
    columns = {"wav": [{"bytes": b"x", "path": "a.wav"}, {"bytes": b"y", "path": "b.wav"}], "label": ["a", "b"]}
    write(tmp_path / "a", {"train.parquet": parquet(pa.table(columns))})
    clips, _ = read(tmp_path / "a")
    assert [clip.clip_id for clip in clips] == ["a.wav", "b.wav"] and clips[0].audio_field == "wav"
    write(tmp_path / "b", {"train.parquet": parquet(pa.table({"content": [b"x", b"y"], "label": ["a", "b"]}))})
    refused(tmp_path / "b", "has no audio column")
    clips, _ = read(tmp_path / "b", audio_column_name="content")
    assert [clip.clip_id for clip in clips] == ["train/000000", "train/000001"]


def test_types_declared_by_the_card_are_used(tmp_path):
    card = """---
dataset_info:
  features:
  - name: recording
    dtype: audio
  - name: label
    dtype:
      class_label:
        names:
          '0': calm
          '1': loud
---
"""
    columns = {"recording": [{"bytes": b"x", "path": None}] * 2, "label": [1, 0]}
    write(tmp_path, {"train.parquet": parquet(pa.table(columns)), "README.md": card})
    clips, found = read(tmp_path)
    assert [clip.labels for clip in clips] == [("loud",), ("calm",)] and found.card.label_names == ("calm", "loud")


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ("configs: 3", "declares configurations or columns that datasets cannot read"),
        ("configs:\n- data_files: a", "declares configurations or columns"),
        ("dataset_info:\n  features: {a: &x 1, b: *x}", "cannot be used: it has an alias"),
        (
            "dataset_info:\n  features:\n  - name: a\n    dtype: unheard_of",
            "declares configurations or columns|no audio",
        ),
        ("configs: [" * 30, "not YAML|nested"),
    ],
)
def test_invalid_cards_are_refused(tmp_path, head, sentence):
    folder(tmp_path, {"label": TEXT}, f"---\n{head}\n---\n", **TWO)
    refused(tmp_path, sentence)


# Classes


@pytest.mark.parametrize(
    ("features", "columns", "sentence"),
    [
        (
            {"text": TEXT},
            {"text": ["p", "q"]},
            "has no column of classes .its other columns: text.; choose it with --label",
        ),
        ({"label": Value("float32")}, {"label": [0.5, 1.5]}, "column 'label' has float32, which are not classes"),
        ({"label": Value("timestamp[s]")}, {"label": [1, 2]}, "has timestamp.ms., which are not classes"),
        (
            {"genre": TEXT, "emotion": TEXT},
            {"genre": ["a", "b", "a"], "emotion": ["x", "x", "y"]},
            "two columns that could",
        ),
        ({"label": TEXT}, {"label": [None, None]}, "no row has a label in column 'label'"),
        (
            {"label": TEXT},
            {"label": ["a", None, "b"]},
            "1 of 3 rows of split train have no label .* first row 1, expected",
        ),
        ({"label": List(ClassLabel(names=GENRES))}, {"label": [[0], [7]]}, "has 7 in row 1, but its 3 classes"),
        (
            {"labels": List(Value("int64"))},
            {"labels": [[0, 1, 1], [1, 0, 0]]},
            "lists of 3 yes/no values without class names",
        ),
        ({"labels": List(TEXT)}, {"labels": [["a"], ["b", None]]}, "has an empty class in row 1"),
        ({"label": ClassLabel(names=GENRES)}, {"label": [-1, -1]}, "no row has a label"),
        ({"label": ClassLabel(names=GENRES)}, {"label": [0, -1]}, "1 of 2 rows of split train have no label"),
        (
            {"label": ClassLabel(names=GENRES)},
            {"label": [0, 3]},
            "has 3 in row 1, but its 3 classes are numbered 0 to 2",
        ),
        ({"label": ClassLabel(names=GENRES)}, {"label": [0, -2]}, "has -2 in row 1"),
        ({"label": ClassLabel(names=["a", "a "])}, {"label": [0, 1]}, None),
        ({"label": ClassLabel(names=["a", " "])}, {"label": [0, 1]}, "has invalid class names .2 names, 2 of them"),
    ],
)
def test_invalid_classes_are_refused(tmp_path, features, columns, sentence):
    root = folder(tmp_path, features, **columns)
    if sentence:
        refused(root, sentence)
    else:
        assert "differ only in case, spaces" in read(root)[1].understanding.paragraph()


def test_class_names_are_preferred_to_their_numbers(tmp_path):
    root = folder(
        tmp_path, {"target": Value("int64"), "category": TEXT}, target=[0, 14, 0], category=["dog", "cat", "dog"]
    )
    clips, found = read(root)
    assert [clip.labels for clip in clips] == [("dog",), ("cat",), ("dog",)]
    assert "column category (string; target has the same meaning)" in found.understanding.paragraph()
    clips, _ = read(root, label_column_name=["target"])
    assert [clip.labels for clip in clips] == [("0",), ("14",), ("0",)]


def test_several_labels_in_one_text_or_in_a_column_each(tmp_path):
    root = folder(tmp_path / "a", {"labels": TEXT}, labels=["dog;cat", "dog", None])
    assert [clip.labels for clip in read(root)[0]] == [("dog", "cat"), ("dog",), ()]
    root = folder(tmp_path / "b", {"dog": Value("int8"), "cat": Value("bool")}, dog=[1, 0], cat=[True, True])
    assert [clip.labels for clip in read(root, label_column_name=["dog", "cat"])[0]] == [("dog", "cat"), ("cat",)]
    root = folder(tmp_path / "c", {"label": TEXT}, label=["a|b", "a"])
    assert [clip.labels for clip in read(root, label_separator="|")[0]] == [("a", "b"), ("a",)]
    root = folder(tmp_path / "d", {"dog": Value("int8"), "cat": Value("int8")}, dog=[1, 2], cat=[0, 1])
    refused(root, "column 'dog' has '2', but each of the class columns", label_column_name=["dog", "cat"])


def test_splits_with_hidden_labels_are_left_out(tmp_path):
    features = {"label": ClassLabel(names=["a", "b"])}
    splits(tmp_path, features, train={"label": [0, 1, 0]}, validation={"label": [1]}, test={"label": [-1, -1]})
    clips, found = read(tmp_path)
    assert [clip.split for clip in clips] == ["train"] * 3 + ["validation"]
    assert "split test (2 rows), which has no public labels" in found.understanding.paragraph()
    splits(tmp_path / "b", features, train={"label": [-1, -1]}, test={"label": [0, 1]})
    refused(tmp_path / "b", "no row of its training split has a label")


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"labels": [[0], [1]], "mask": [[1, 1, 0], [1, 1]]}, "has 2 values in row 1, expected 3"),
        ({"labels": [[0], [1]], "mask": [[1, 1, 2], [1, 1, 1]]}, "contains 2, expected only 0 and 1"),
        (
            {"labels": [[0], [1]], "mask": [[0, 1, 1], [1, 1, 1]]},
            "'blues' is unknown in row 0, but it is one of the row's labels",
        ),
    ],
)
def test_invalid_masks_are_refused(tmp_path, columns, sentence):
    features = {"labels": List(ClassLabel(names=GENRES)), "mask": List(Value("int64"))}
    refused(folder(tmp_path, features, **columns), sentence)


def test_a_mask_needs_an_order_of_classes(tmp_path):
    features = {"labels": List(TEXT), "mask": List(Value("int64"))}
    refused(folder(tmp_path, features, labels=[["a"]], mask=[[1, 1]]), "needs labels that are lists of a ClassLabel")


def test_flags_unsuitable_for_their_column_are_refused(tmp_path):
    features = {"label": ClassLabel(names=GENRES), "known": List(Value("bool")), "vector": List(Value("float32"))}
    root = folder(tmp_path, features, label=[0, 1], known=[[True]] * 2, vector=[[0.5]] * 2)
    refused(
        root, "--label_separator ';' would have no effect here: column 'label' .* has 3 classes", label_separator=";"
    )
    refused(root, "column 'audio' has Audio, which are not classes", label_column_name=["audio"])
    refused(root, "column 'vector' has float32, which are not classes", label_column_name=["vector"])
    refused(root, "--mask_column_name label: this column of .* is ClassLabel; expected lists", mask_column_name="label")
    refused(root, "the mask 'known' needs labels that are lists", mask_column_name="known")
    message = "--group_column_name vector: this column of .* does not have one value per row"
    refused(root, message, group_column_name="vector")
    paragraph = read(root)[1].understanding.paragraph()
    assert "2 columns of lists or objects (vector, known)" in paragraph
