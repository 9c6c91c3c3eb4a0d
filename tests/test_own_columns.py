"""Columns and cells of users' tables: groups, splits, stretches, one label or several; each is read or named."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_tables import HEARD, NAMES, read, recordings, refused, rows, write


@pytest.fixture
def folder(tmp_path) -> Path:
    return recordings(tmp_path)


@pytest.mark.parametrize(
    "column",
    [
        "speaker",
        "Singer",
        "artist_id",
        "recording",
        "session",
        "song",
        "album",
        "client_id",
        "narrator",
        "ytid",
        "fsID",
    ],
)
def test_columns_that_could_be_groups_are_suggested(folder, column):
    write(folder, rows(**{column: list("aabbcc")}))
    refused(
        folder,
        f"column {column} could be it: give --group_column_name {column}, so that .* or --group_column_name none",
    )
    clips, understanding = read(folder, group_column_name=column)
    assert [clip.group for clip in clips] == list("aabbcc") and understanding.groups == f"column {column} (3 groups)"
    assert understanding.groups_known and not clips[0].metadata
    clips, understanding = read(folder, group_column_name="none")
    assert clips[0].group == "audio/0.wav" and clips[0].metadata == {column: "a"} and not understanding.groups_known
    refused(folder, f"Unknown column of labels.csv 'nobody': expected one of: .*{column}", group_column_name="nobody")


def test_numeric_columns_that_could_be_groups_are_named(folder):
    write(folder, rows(dog_id=list("aabbcc"), class_id=[1, 1, 1, 2, 2, 2]))
    assert "column dog_id could be the groups: --group_column_name dog_id" in read(folder)[1].paragraph()
    write(folder, rows(dog_id=list("xxxyyy")))
    assert "could be the groups" not in read(folder)[1].paragraph()  # the column numbers the classes


def test_the_widest_of_several_groups_is_suggested_and_a_column_of_file_names_is_not(folder):
    write(folder, rows(song=list("aabbcd"), artist=list("xxyyyy"), recording=list("uvwxyz")))
    refused(folder, "column artist or song could be it: give --group_column_name artist")
    write(folder, rows(recording=list("uvwxyz")))
    assert "recording" in read(folder)[0][0].metadata


def test_speakers_stay_together_when_validation_is_drawn_from_official_training(folder):
    apart = ["train"] * 4 + ["test"] * 2
    write(folder, rows(speaker=list("aabbcc"), split=apart))
    clips, understanding = read(folder)
    assert [clip.group for clip in clips] == list("aabbcc") and understanding.groups_known
    assert "column speaker is used as the group: --group_column_name none" in understanding.paragraph()
    write(folder, rows(speaker=list("aabbca"), split=apart))
    clips, understanding = read(folder)
    assert [clip.group for clip in clips] == ["train/a"] * 2 + ["train/b"] * 2 + ["test/c", "test/a"]
    assert "1 group (a) of column speaker are in more than one of the official splits" in understanding.paragraph()
    assert not understanding.groups_known
    write(folder, rows(speaker=list("aabbca"), split=["train"] * 3 + ["validation", "test", "test"]))
    clips, understanding = read(folder)
    assert clips[0].group == "audio/0.wav" and "column speaker could be the groups" in understanding.paragraph()


def test_groups_of_single_files_and_missing_groups_are_reported(folder):
    write(folder, rows(group=list("abcdef")))
    assert "has a different group for each file" in read(folder)[1].paragraph()
    write(folder, rows(group=["a", "a", "nan", "b", "b", ""]))
    clips, understanding = read(folder)
    assert (
        clips[2].group == "audio/2.wav"
        and "each a group of its own: 2" in understanding.groups
        and not understanding.groups_known
    )


@pytest.mark.parametrize("column", ["fold", "Fold", "folds", "cv_fold", "subset", "partition", "split"])
@pytest.mark.parametrize("values", [list("123123"), ["1.0", "2.0"] * 3, ["fold1", "fold2"] * 3])
def test_columns_of_folds_are_official_splits(folder, column, values):
    write(folder, rows(**{column: values}))
    clips, understanding = read(folder)
    assert [clip.split for clip in clips] == [value.removesuffix(".0") for value in values]
    assert understanding.splits.startswith(f"column {column} (")


def test_spellings_of_splits_are_read_and_gaps_are_reported(folder):
    write(folder, rows(subset=["Training", "TRAIN", "valid", "dev", "Testing", "eval"]))
    clips, _ = read(folder)
    assert [clip.split for clip in clips] == ["train", "train", "validation", "validation", "test", "test"]
    write(folder, rows(subset=["train", "", "train", "test", "test", ""]))
    assert "used for training: 2" in read(folder)[1].splits
    write(folder, rows(subset=["small", "large"] * 3))
    assert read(folder)[0][0].split is None and read(folder)[0][0].metadata == {"subset": "small"}


@pytest.mark.parametrize("column", ["dataset", "data_split", "mode", "Type"])
def test_a_column_of_splits_may_have_any_name(folder, column):
    write(folder, rows(**{column: ["Training"] * 4 + ["test"] * 2}))
    clips, understanding = read(folder)
    assert [clip.split for clip in clips] == ["train"] * 4 + ["test"] * 2
    assert understanding.splits == f"column {column} (test, train)"


@pytest.mark.parametrize(("column", "values"), [("is_test", "001"), ("IsTrain", ["yes", "no", "no"]), ("isVal", "110")])
def test_a_yes_or_no_column_for_one_split_is_not_ignored(folder, column, values):
    columns = {**rows(), column: [*values, *values]}
    write(folder, columns)
    refused(folder, f"no column split, but {column} says yes or no for one split: .* or give --split_column_name none")
    assert read(folder, split_column_name="none")[0][0].split is None
    del columns["label"]
    write(folder, {**columns, "dog": [1, 1, 1, 0, 0, 0], "cat": [0, 0, 0, 1, 1, 1]})
    assert read(folder, split_column_name="none")[1].class_counts == {"cat": 3, "dog": 3}


def test_two_columns_of_splits(folder):
    write(folder, rows(split=["train", "test"] * 3, fold=list("123123")))
    assert "column fold could also be the splits: --split_column_name fold uses it" in read(folder)[1].paragraph()
    assert (
        read(folder, split_column_name="fold")[0][0].split == "1"
        and read(folder, split_column_name="none")[0][0].split is None
    )
    write(folder, rows(subset=["train", "test"] * 3, fold=list("123123")))
    refused(folder, "two columns that could be the splits, .* choose one, e.g. --split_column_name")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"start": [0.01] * 6, "end": [0.05] * 6}, (0.01, 0.05)),
        ({"Start Time (s)": [0.01] * 6, "End Time (s)": [0.05] * 6}, (0.01, 0.05)),
        ({"start_ms": [10] * 6, "end_ms": [50] * 6}, (0.01, 0.05)),
        ({"begin_sec": [0.01] * 6, "stop_sec": [0.05] * 6}, (0.01, 0.05)),
        ({"onset": [0.01] * 6, "offset": [0.05] * 6}, (0.01, 0.05)),
        ({"offset": [0.01] * 6, "duration": [0.04] * 6}, (0.01, 0.05)),
        ({"start": [0.01] * 6, "duration_ms": [40] * 6}, (0.01, 0.05)),
        ({"t_start": [0.01] * 6}, (0.01, None)),
        ({"segment_start": [0.01] * 6, "segment_end": [0.05] * 6}, (0.01, 0.05)),
        ({"xmin": [0.01] * 6, "xmax": [0.05] * 6}, (0.01, 0.05)),
        ({"from": ["ann", "bob"] * 3, "to": ["bob", "ann"] * 3}, (0.0, None)),
        ({"start_us": [10_000] * 6, "end_us": [50_000] * 6}, (0.01, 0.05)),
        ({"start": ["", "nan"] * 3}, (0.0, None)),
        ({"duration": [0.1] * 6}, (0.0, None)),
    ],
)
def test_stretches_with_other_column_names_and_units(folder, columns, expected):
    write(folder, rows(**columns))
    clips, understanding = read(folder)
    assert (clips[0].start_s, clips[0].end_s) == pytest.approx(expected)
    assert len({clip.clip_id for clip in clips}) == 6
    used = set(columns) - set(clips[0].metadata)
    assert all(f"{column} the " in understanding.layout for column in used)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            {"start": [10] * 6, "end": [50] * 6},
            "ends at 50 s, but its file ends at 0.10 s; rename the columns with their",
        ),
        ({"start": [54.5] * 6}, "start the start in seconds, the stretch ends at 54.5 s"),
        ({"start_sample": [1] * 6}, "'start_sample', which gives times of stretches but not in seconds"),
        ({"start": [0] * 6, "onset": [0] * 6}, "two columns for the start, start and onset"),
        ({"begin": ["0:01"] * 6}, "line 2: start_s '0:01' is not a number of seconds"),
    ],
)
def test_impossible_stretches_get_one_sentence(folder, columns, sentence):
    write(folder, rows(**columns))
    refused(folder, sentence)


def test_class_names_may_be_words_for_groups(folder):
    columns = rows(bird=[1, 1, 1, 0, 0, 0], person=[0, 0, 0, 1, 1, 1], dog=[0] * 5 + [1])
    del columns["label"]
    write(folder, columns)
    assert read(folder)[1].class_counts == {"bird": 3, "dog": 1, "person": 3}


def test_a_column_of_class_numbers_next_to_their_names(folder):
    names = {"fname": NAMES, "target": [0, 0, 0, 1, 1, 1], "category": HEARD}
    write(folder, names)
    clips, understanding = read(folder)
    assert (
        clips[0].labels == ("dog",)
        and "category the class (column target has the same meaning)" in understanding.layout
    )
    write(folder, {**names, "genre": list("xyxyxy")})
    refused(folder, "two columns that could be the classes, category and genre|genre and category")
    assert read(folder, label_column_name=["genre"])[1].class_counts == {"x": 3, "y": 3}


@pytest.mark.parametrize(("no", "yes"), [(0, 1), ("0.0", "1.0"), ("False", "True"), ("no", "yes"), ("FALSE", "TRUE")])
def test_a_column_of_yes_and_no_for_each_class(folder, no, yes):
    columns = {"dog": [yes, yes, no, no, no, no], "cat": [no, yes, no, yes, yes, yes], "gnu": [no] * 5 + [yes]}
    write(folder, {"path": rows()["path"], "length": [1, 2, 3, 4, 5, 6], **columns})
    clips, understanding = read(folder)
    assert [clip.labels for clip in clips] == [("dog",), ("dog", "cat"), (), ("cat",), ("cat",), ("cat", "gnu")]
    assert "columns dog, cat, gnu one class each" in understanding.layout
    assert "1 rows have no label and are negative examples of every class" in understanding.paragraph()
    write(folder, {"path": rows()["path"], "what": HEARD, **columns})
    refused(
        folder,
        "needs label .* --label_column_name what, or one column of 0 and 1 per class.*--label_column_name what dog cat",
    )
    assert read(folder, label_column_name=["dog", "cat"])[0][1].labels == ("dog", "cat")
    columns["cat"][2] = "perhaps"
    write(folder, {"path": rows()["path"], **columns})
    refused(folder, "line 4: column 'cat' has 'perhaps'.* must have 0 or 1", label_column_name=["dog", "cat"])


@pytest.mark.parametrize(
    "written",
    [
        "dog;pet",
        "dog|pet",
        "dog,pet",
        "dog , pet",
        "['dog', 'pet']",
        '[""dog"", ""pet""]',
        "('dog', 'pet')",
        "{'dog', 'pet'}",
        "['dog' 'pet']",
    ],
)
@pytest.mark.parametrize("column", ["labels", "tags", "Genres"])
def test_several_labels_in_a_cell(folder, written, column):
    plain = written.replace('""', '"')
    single = plain.replace("dog", "cat").replace(", 'pet'", "").replace(" 'pet'", "").replace(', "pet"', "")
    single = single if "[" in plain or "(" in plain or "{" in plain else "cat"
    values = [f'"{written}"'] * 3 + ['"{}"'.format(single.replace('"', '""'))] * 2 + ["nan"]
    write(folder, {"path": rows()["path"], column: values})
    clips, _ = read(folder)
    assert [clip.labels for clip in clips] == [("dog", "pet")] * 3 + [("cat",)] * 2 + [()]


@pytest.mark.parametrize("written", ["dog;pet", "dog|pet", "dog,pet", "['dog', 'pet']"])
def test_several_labels_in_a_single_label_column_are_refused_with_a_remedy(folder, written):
    write(folder, {"path": rows()["path"], "category": [f'"{written}"', *HEARD[1:]]})
    refused(folder, "line 2: .* looks like several labels, .* rename it to labels or give --label_separator")
    assert read(folder, label_separator="none")[0][0].labels == (written,)


def test_a_name_with_commas_is_one_name_by_default(folder):
    write(folder, rows(label=['"Speech, man"'] * 3 + ['"Laughter, child"'] * 3))
    assert read(folder)[1].class_counts == {"Laughter, child": 3, "Speech, man": 3}
    write(folder, {"path": rows()["path"], "labels": ['"Speech, man;Music"'] * 3 + ["Music"] * 3})
    assert read(folder)[0][0].labels == ("Speech, man", "Music")
    write(folder, {"path": rows()["path"], "labels": ['"Speech, man"'] * 3 + ["Music"] * 3})
    assert read(folder, label_separator="none")[0][0].labels == ("Speech, man",)
    write(folder, rows(label=["dog/cat"] * 3 + ["cat"] * 2 + ["dog"]))
    assert "'dog/cat' looks like several classes" in read(folder)[1].paragraph()
    assert read(folder, label_separator="/")[0][0].labels == ("dog", "cat")


@pytest.mark.parametrize("nothing", ["", "nan", "NaN", "null", "None", "N/A", "<NA>", "NA"])
def test_a_row_without_a_label_is_refused_in_a_single_label_column(folder, nothing):
    write(folder, rows(label=["dog", "dog", nothing, "cat", "cat", nothing]))
    refused(folder, rf"line 4: 2 of 6 rows have no label in column 'label' \(found '{nothing}'\)")
    write(folder, rows(label=[nothing] * 6))
    refused(folder, "no row has a label in column 'label'")
    write(folder, {"path": rows()["path"], "labels": [nothing] * 6})
    refused(folder, "no row has a label in column 'labels'")


def test_a_class_called_none_is_kept_and_reported(folder):
    write(folder, rows(label=["none"] * 3 + ["cat"] * 3))
    _, understanding = read(folder)
    assert (
        understanding.class_counts == {"cat": 3, "none": 3}
        and "'none' may mean that there is no label" in understanding.paragraph()
    )


def test_groups_that_differ_in_spelling_are_reported(folder):
    write(folder, rows(group=["Ann", "ann", "Bob", "bob ", "cy", "di"]))
    assert "groups 'Ann' and 'ann', 'Bob' and 'bob' differ only in case" in read(folder)[1].paragraph()
