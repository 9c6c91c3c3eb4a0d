"""Columns of datasets in every meaning, and every kind of bad input as one sentence."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from datasets import Audio, ClassLabel, Features, List, Value
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


def test_no_sound(tmp_path):
    write(
        tmp_path,
        {"train.parquet": without_sound(text=["a", "b"], label=["x", "y"]), "README.md": "---\nconfigs: []\n---\n"},
    )
    refused(tmp_path, "has no audio column .its columns are text, label.; give the dataset with the recordings")
    refused(
        tmp_path, "--audio_column_name text: this column of .* is string and holds no sound", audio_column_name="text"
    )
    refused(tmp_path, "Unknown column of .* 'sound'", audio_column_name="sound")
    (tmp_path / "other").mkdir()
    refused(tmp_path / "other", "holds no dataset with sound .no files.; expected Parquet with an audio column")


def test_sound_that_nobody_called_audio(tmp_path):
    columns = {"wav": [{"bytes": b"x", "path": "a.wav"}, {"bytes": b"y", "path": "b.wav"}], "label": ["a", "b"]}
    write(tmp_path / "a", {"train.parquet": parquet(pa.table(columns))})
    clips, _ = read(tmp_path / "a")
    assert [clip.clip_id for clip in clips] == ["a.wav", "b.wav"] and clips[0].audio_field == "wav"
    write(tmp_path / "b", {"train.parquet": parquet(pa.table({"content": [b"x", b"y"], "label": ["a", "b"]}))})
    refused(tmp_path / "b", "has no audio column")
    clips, _ = read(tmp_path / "b", audio_column_name="content")
    assert [clip.clip_id for clip in clips] == ["train/000000", "train/000001"]


def test_types_that_the_card_declares(tmp_path):
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
        ("configs: 3", "describes configurations or columns in a way that datasets does not read"),
        ("configs:\n- data_files: a", "describes configurations or columns in a way"),
        ("dataset_info:\n  features: {a: &x 1, b: *x}", "cannot be used: it has an alias"),
        (
            "dataset_info:\n  features:\n  - name: a\n    dtype: unheard_of",
            "describes configurations or columns|no audio",
        ),
        ("configs: [" * 30, "not YAML|nested"),
    ],
)
def test_cards_that_say_nonsense(tmp_path, head, sentence):
    folder(tmp_path, {"label": TEXT}, f"---\n{head}\n---\n", **TWO)
    refused(tmp_path, sentence)


# Classes


@pytest.mark.parametrize(
    ("features", "columns", "sentence"),
    [
        (
            {"text": TEXT},
            {"text": ["p", "q"]},
            "has no column of classes .beside the sound: text.; name it with --label",
        ),
        ({"label": Value("float32")}, {"label": [0.5, 1.5]}, "column 'label' holds float32, which are no classes"),
        ({"label": Value("timestamp[s]")}, {"label": [1, 2]}, "holds timestamp.ms., which are no classes"),
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
        ({"label": List(ClassLabel(names=GENRES))}, {"label": [[0], [7]]}, "holds 7 in row 1, and its 3 classes"),
        (
            {"labels": List(Value("int64"))},
            {"labels": [[0, 1, 1], [1, 0, 0]]},
            "lists of 3 yes and no, and nothing says",
        ),
        ({"labels": List(TEXT)}, {"labels": [["a"], ["b", None]]}, "holds an empty class in row 1"),
        ({"label": ClassLabel(names=GENRES)}, {"label": [-1, -1]}, "no row has a label"),
        ({"label": ClassLabel(names=GENRES)}, {"label": [0, -1]}, "1 of 2 rows of split train have no label"),
        (
            {"label": ClassLabel(names=GENRES)},
            {"label": [0, 3]},
            "holds 3 in row 1, and its 3 classes are numbered 0 to 2",
        ),
        ({"label": ClassLabel(names=GENRES)}, {"label": [0, -2]}, "holds -2 in row 1"),
        ({"label": ClassLabel(names=["a", "a "])}, {"label": [0, 1]}, None),
        ({"label": ClassLabel(names=["a", " "])}, {"label": [0, 1]}, "names its classes badly .2 names, 2 of them"),
    ],
)
def test_classes_that_are_none(tmp_path, features, columns, sentence):
    root = folder(tmp_path, features, **columns)
    if sentence:
        refused(root, sentence)
    else:
        assert "differ in case, spaces" in read(root)[1].understanding.paragraph()


def test_names_of_classes_are_taken_before_their_numbers(tmp_path):
    root = folder(
        tmp_path, {"target": Value("int64"), "category": TEXT}, target=[0, 14, 0], category=["dog", "cat", "dog"]
    )
    clips, found = read(root)
    assert [clip.labels for clip in clips] == [("dog",), ("cat",), ("dog",)]
    assert "column category (string; target says the same)" in found.understanding.paragraph()
    clips, _ = read(root, label_column_name=["target"])
    assert [clip.labels for clip in clips] == [("0",), ("14",), ("0",)]


def test_several_labels_in_a_text_or_in_columns_of_their_own(tmp_path):
    root = folder(tmp_path / "a", {"labels": TEXT}, labels=["dog;cat", "dog", None])
    assert [clip.labels for clip in read(root)[0]] == [("dog", "cat"), ("dog",), ()]
    root = folder(tmp_path / "b", {"dog": Value("int8"), "cat": Value("bool")}, dog=[1, 0], cat=[True, True])
    assert [clip.labels for clip in read(root, label_column_name=["dog", "cat"])[0]] == [("dog", "cat"), ("cat",)]
    root = folder(tmp_path / "c", {"label": TEXT}, label=["a|b", "a"])
    assert [clip.labels for clip in read(root, label_separator="|")[0]] == [("a", "b"), ("a",)]
    root = folder(tmp_path / "d", {"dog": Value("int8"), "cat": Value("int8")}, dog=[1, 2], cat=[0, 1])
    refused(root, "column 'dog' holds '2', and each of the columns", label_column_name=["dog", "cat"])


def test_test_splits_whose_labels_are_hidden_are_not_tested_on(tmp_path):
    features = {"label": ClassLabel(names=["a", "b"])}
    splits(tmp_path, features, train={"label": [0, 1, 0]}, validation={"label": [1]}, test={"label": [-1, -1]})
    clips, found = read(tmp_path)
    assert [clip.split for clip in clips] == ["train"] * 3 + ["validation"]
    assert "split test (2 rows), whose labels its authors keep to themselves" in found.understanding.paragraph()
    splits(tmp_path / "b", features, train={"label": [-1, -1]}, test={"label": [0, 1]})
    refused(tmp_path / "b", "no row of its training split has a label")


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"labels": [[0], [1]], "mask": [[1, 1, 0], [1, 1]]}, "has 2 values in row 1 for 3 classes"),
        ({"labels": [[0], [1]], "mask": [[1, 1, 2], [1, 1, 1]]}, "holds 2, and must hold 0 and 1 alone"),
        (
            {"labels": [[0], [1]], "mask": [[0, 1, 1], [1, 1, 1]]},
            "nothing is known of 'blues' in row 0, whose labels have",
        ),
    ],
)
def test_masks_that_do_not_fit(tmp_path, columns, sentence):
    features = {"labels": List(ClassLabel(names=GENRES)), "mask": List(Value("int64"))}
    refused(folder(tmp_path, features, **columns), sentence)


def test_a_mask_needs_an_order_of_classes(tmp_path):
    features = {"labels": List(TEXT), "mask": List(Value("int64"))}
    refused(folder(tmp_path, features, labels=[["a"]], mask=[[1, 1]]), "needs labels that are lists of a ClassLabel")


def test_flags_that_do_not_fit_their_column(tmp_path):
    features = {"label": ClassLabel(names=GENRES), "known": List(Value("bool")), "vector": List(Value("float32"))}
    root = folder(tmp_path, features, label=[0, 1], known=[[True]] * 2, vector=[[0.5]] * 2)
    refused(root, "--label_separator ';' would do nothing here: column 'label' .* holds 3 classes", label_separator=";")
    refused(root, "column 'audio' holds Audio, which are no classes", label_column_name=["audio"])
    refused(root, "column 'vector' holds float32, which are no classes", label_column_name=["vector"])
    refused(root, "--mask_column_name label: this column of .* is ClassLabel; expected lists", mask_column_name="label")
    refused(root, "the mask 'known' says of which classes .* needs labels that are lists", mask_column_name="known")
    refused(root, "--group_column_name vector: this column of .* holds no single values", group_column_name="vector")
    paragraph = read(root)[1].understanding.paragraph()
    assert "2 columns that hold no single values (vector, known)" in paragraph


# Splits


def test_splits_by_their_names_and_by_the_users_word(tmp_path):
    of = {"label": ["a", "b"]}
    splits(tmp_path / "a", {"label": TEXT}, training=of, dev=of, eval=of)
    assert [clip.split for clip in read(tmp_path / "a")[0]] == ["train"] * 2 + ["validation"] * 2 + ["test"] * 2
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n" + "".join(
        f"  - split: {name}\n    path: {name}.parquet\n" for name in ("clean", "other", "extra")
    )
    splits(tmp_path / "b", {"label": TEXT}, clean=of, other=of, extra=of)
    write(tmp_path / "b", {"README.md": f"{card}---\n"})
    refused(
        tmp_path / "b", "has the splits clean, other, extra and none is called train; name .* --train_split_name clean"
    )
    clips, found = read(tmp_path / "b", train_split_name="clean", test_split_name="other")
    assert [clip.split for clip in clips] == ["train"] * 2 + ["test"] * 2
    assert "split extra, which is neither train, validation nor test" in found.understanding.paragraph()
    refused(tmp_path / "b", "--test_split_name tset: .* has no such split", test_split_name="tset")
    refused(tmp_path / "b", "name one split for two uses", train_split_name="clean", test_split_name="clean")


def test_columns_of_splits_and_folds(tmp_path):
    columns = {"label": ["a", "b"] * 2, "fold": [1, 1, 2, 2]}
    root = folder(tmp_path / "a", {"label": TEXT, "fold": Value("int64")}, **columns)
    clips, found = read(root)
    assert [clip.split for clip in clips] == [
        "1",
        "1",
        "2",
        "2",
    ] and "column fold (1 2, 2 2)" in found.understanding.splits
    assert read(root, split_column_name="none")[0][0].split is None
    splits(tmp_path / "b", {"label": TEXT, "fold": Value("int64")}, train=columns, test=columns)
    clips, found = read(tmp_path / "b")
    assert clips[0].split == "train" and "column fold could be the splits too" in found.understanding.paragraph()


# Groups


def test_groups_are_found_by_name_and_the_coarsest_is_taken(tmp_path):
    features = {"label": TEXT, "speaker_id": TEXT, "session": TEXT}
    label = ["a", "b", "a", "b", "a"]
    root = folder(tmp_path / "a", features, label=label, speaker_id=list("xxyyy"), session=["1", "1", "2", "3", "3"])
    clips, found = read(root)
    assert [clip.group for clip in clips] == list(
        "xxyyy"
    ) and "column speaker_id (2 groups)" in found.understanding.groups
    assert clips[0].metadata == {"session": "1"}
    root = folder(tmp_path / "b", features, label=label, speaker_id=list("xxyyy"), session=["1", "1", "1", "3", "3"])
    refused(root, "several columns that could say what belongs together, speaker_id and session.*--group_column_name")
    assert [clip.group for clip in read(root, group_column_name="session")[0]] == ["1", "1", "1", "3", "3"]
    clips, found = read(root, group_column_name="none")
    assert clips[0].group == "0.wav" or clips[0].group == clips[0].clip_id
    assert "NO column says which recordings belong together" in found.understanding.paragraph()
    refused(root, "Unknown column of b 'speker': did you mean 'speaker_id'", group_column_name="speker")


def test_official_splits_that_share_speakers_say_so_and_keep_drawn_ones_apart(tmp_path):
    features = {"label": TEXT, "speaker": TEXT}
    train = {"label": ["a", "b"] * 3, "speaker": list("uuvvww")}
    splits(tmp_path, features, train=train, test={"label": ["a", "b"], "speaker": list("ux")})
    clips, found = read(tmp_path)
    assert [clip.group for clip in clips][:2] == ["train/u"] * 2 and clips[6].group == "test/u"
    assert not found.understanding.groups_known
    assert "1 groups of column speaker are in more than one of the official splits (test, train)" in (
        found.understanding.paragraph()
    )


def test_rows_without_a_group_are_groups_of_their_own(tmp_path):
    root = folder(tmp_path, {"label": TEXT, "group": TEXT}, label=["a", "b", "a"], group=["g", None, "g"])
    clips, found = read(root)
    assert [clip.group for clip in clips] == ["g", "1.wav", "g"] and not found.understanding.groups_known
    assert "1 rows have none and are groups of their own" in found.understanding.groups


def test_a_group_for_each_recording_keeps_nothing_together(tmp_path):
    _, found = read(folder(tmp_path, {"label": TEXT, "group": TEXT}, label=["a", "b"], group=["g", "h"]))
    assert not found.understanding.groups_known
    assert "column group names another group for each recording" in found.understanding.paragraph()


# Facts


def test_stretches_and_names_of_clips(tmp_path):
    features = {"label": TEXT, "clip_id": TEXT, "start_s": Value("float32"), "end_s": Value("float64")}
    columns = {"label": ["a", "b"], "clip_id": ["one", "two"]}
    clips, _ = read(folder(tmp_path / "a", features, start_s=[None, 0.5], end_s=[0.1, None], **columns))
    assert [(clip.clip_id, clip.start_s, clip.end_s) for clip in clips] == [("one", 0.0, 0.1), ("two", 0.5, None)]
    refused(
        folder(tmp_path / "b", features, start_s=[1.0, 0.0], end_s=[0.5, 1.0], **columns),
        "row 0: end_s 0.5 is not after",
    )
    refused(
        folder(tmp_path / "c", features, start_s=[-1.0, 0.0], end_s=[0.5, 1.0], **columns),
        "row 0: start_s -1 is not a number",
    )
    twice = {"label": ["a", "b"], "clip_id": ["one", "one"]}
    clips, _ = read(folder(tmp_path / "d", features, start_s=[0.0, 0.0], end_s=[1.0, 1.0], **twice))
    assert [clip.clip_id for clip in clips] == ["0.wav", "1.wav"], "names that are there twice tell nothing apart"


def test_other_columns_of_times_are_told(tmp_path):
    features = {"label": TEXT, "onset": Value("float32"), "start_sample": Value("int64"), "duration": Value("float32")}
    root = folder(tmp_path, features, label=["a", "b"], onset=[0.1, 0.2], start_sample=[1, 2], duration=[1.0, 2.0])
    clips, found = read(root)
    assert clips[1].start_s == 0 and "column onset, start_sample may say where stretches lie: only start_s" in (
        found.understanding.paragraph()
    )


def test_metadata_have_types_and_hold_no_path_of_a_machine(tmp_path):
    features = {
        "label": TEXT, "year": Value("int32"), "bpm": Value("float32"), "ok": Value("bool"), "where": TEXT, "cut": TEXT,
        "kind": ClassLabel(names=["x", "y"]), "vector": List(Value("float32")), "group": TEXT, "split": TEXT,
    }  # fmt: skip
    columns = {
        "label": ["a", "b"], "year": [1999, None], "bpm": [120.5, float("nan")], "ok": [True, None],
        "where": ["/home/ann/a.wav", None], "cut": [None, "of '/home/ann/b.wav'"], "kind": [1, -1],
        "vector": [[0.5], [1.0]], "group": ["g", "h"], "split": ["train", "test"],
    }  # fmt: skip
    clips, found = read(folder(tmp_path, features, **columns))
    assert clips[0].metadata == {"year": 1999, "bpm": 120.5, "ok": "true", "kind": "y"} and clips[1].metadata == {}
    assert found.clips.schema.field("year").type == pa.int64() and found.clips.schema.field("bpm").type == pa.float64()
    assert [clip.split for clip in clips] == ["train", "test"]
    paragraph = found.understanding.paragraph()
    assert "2 columns of paths of a machine (where, cut)" in paragraph
    assert "1 column that holds no single values (vector)" in paragraph


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"metadata.csv": "file_name,label\na.wav,x\nmissing.wav,y\n"},
            "names 1 of 2 files that are not there, first 'missing",
        ),
        (
            {"metadata.csv": "file_name,label\na.wav,x\n../../etc/passwd,y\n"},
            "files that are not there, first '../../etc",
        ),
        ({"metadata.csv": "name,label\na.wav,x\n"}, "has no column file_name, which names the file of each row"),
        ({"metadata.jsonl": '{"file_name": "a.wav"\n'}, "metadata.jsonl of .* line 1 is no JSON object"),
        ({"metadata.parquet": b"PAR1"}, "metadata.parquet of .* is damaged"),
        ({}, "has audio files without labels .such as a.wav.; expected a metadata.csv"),
    ],
)
def test_audio_files_with_tables_that_do_not_fit(hub, files, sentence):
    content = {name: one if isinstance(one, bytes) else one.encode() for name, one in files.items()}
    hub.create("datasets", "alice/files", {"a.wav": b"RIFF", "b.wav": b"RIFF", **content})
    refused("alice/files", sentence)


def test_a_hundred_thousand_rows_are_opened_by_few_requests(hub):
    """What opening costs is counted, not timed: footers and small columns by ranges, and none of the sound."""
    rows, number = 5_000, 20
    random = np.random.default_rng(0)
    sounds = [{"bytes": random.bytes(200), "path": None} for _ in range(rows)]
    schema = Features({"audio": Audio(), "label": ClassLabel(names=GENRES), "speaker_id": Value("int32")}).arrow_schema
    columns = {
        "audio": sounds,
        "label": [row % 3 for row in range(rows)],
        "speaker_id": [row // 9 for row in range(rows)],
    }
    content = parquet(pa.table(columns, schema), rows_a_group=2_500)
    hub.create(
        "datasets", "alice/many", {f"data/train-{n:05d}-of-{number:05d}.parquet": content for n in range(number)}
    )
    hub.log.clear()
    clips, found = read("alice/many")
    assert len(clips) == rows * number and found.understanding.class_counts["blues"] == number * 1_667
    of_files = hub.log.matching("GET", "", "storage")
    assert len(of_files) < 8 * number and len(hub.log.requests) < 20 * number
    assert sum(one.sent for one in of_files) < 0.2 * number * len(content)
