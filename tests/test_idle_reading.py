"""Settings on how data are read that have no effect are refused. Classes that are numbers are sorted as numbers."""

from __future__ import annotations

import pytest
from datasets import ClassLabel, List, Value
from small_datasets import GENRES, dataset, parquet, tone, write

from hf_audio import DataConfig, InputError
from hf_audio.preparation import corpus_clips

TEXT = Value("string")
TABLE = "path,label\na.wav,x\nb.wav,y\nc.wav,x\nd.wav,y\n"


@pytest.fixture
def table(tmp_path):
    return write(tmp_path, {"labels.csv": TABLE, **{f"{name}.wav": tone(1) for name in "abcd"}})


def stored(folder, features, **columns):
    return write(folder, {"train.parquet": parquet(dataset(features, **columns))})


def refused(root, sentence, **reading):
    with pytest.raises(InputError, match=sentence) as caught:
        corpus_clips(DataConfig(data_dir=str(root), **reading))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "meaning"), [("group_column_name", "the groups"), ("split_column_name", "the splits")]
)
def test_column_none_is_refused_if_no_column_would_be_used(table, tmp_path, flag, meaning):
    refused(
        table,
        f"--{flag} none would have no effect here: no column of labels.csv looks like {meaning}",
        **{flag: "none"},
    )
    made = stored(tmp_path / "set", {"label": TEXT}, label=["a", "b"] * 2)
    refused(made, f"--{flag} none would have no effect here: no column of set looks like {meaning}", **{flag: "none"})


def test_mask_column_none_is_refused_if_there_is_no_mask(tmp_path):
    sentence = "--mask_column_name none would have no effect here: no column of . looks like the mask"
    lists = {"labels": List(ClassLabel(names=GENRES)), "mask": List(Value("bool"))}
    refused(stored(tmp_path / "a", {"label": TEXT}, label=["a", "b"] * 2), sentence, mask_column_name="none")
    one_class = {"label": TEXT, "mask": List(Value("bool"))}
    made = stored(tmp_path / "b", one_class, label=["a", "b"], mask=[[True]] * 2)
    refused(made, sentence, mask_column_name="none")
    columns = {"labels": [[0], [1], [0, 1], [0], [1]] * 2, "mask": [[True] * 3] * 10}
    made = stored(tmp_path / "c", lists, **columns)
    assert len(corpus_clips(DataConfig(data_dir=str(made), mask_column_name="none")).clips) == 10
    made = stored(tmp_path / "d", lists | {"known": List(Value("bool"))}, known=[[True] * 3] * 10, **columns)
    refused(made, "two columns that could be the label mask, mask and known; choose one")


def test_a_separator_without_effect_is_refused(table, tmp_path):
    refused(table, "--label_separator ';' would have no effect here: no value of column 'label'", label_separator=";")
    refused(table, "--label_separator 'none' would have no effect .* looks like several labels", label_separator="none")
    made = stored(tmp_path / "set", {"label": TEXT, "labels": TEXT}, label=["a;b", "b"] * 2, labels=["a", "b"] * 2)
    for column, separator in (("label", "none"), ("labels", "none"), ("label", "|")):
        refused(
            made, "--label_separator .* would have no effect", label_column_name=[column], label_separator=separator
        )


def test_a_setting_needs_an_effect_on_only_one_of_several_corpora(table, tmp_path):
    columns = {"label": ["x", "y"] * 6, "speaker": [f"s{row // 2}" for row in range(12)]}
    for name in ("set", "other"):
        stored(tmp_path / name, {"label": TEXT, "speaker": TEXT}, **columns)
    one, other = str(tmp_path / "set"), str(tmp_path / "other")
    drawn = {"test_fraction": 0.3, "validation_fraction": 0}
    found = corpus_clips(DataConfig(data_dir=[str(table), one], group_column_name="none", **drawn))
    assert len(found.clips["group"].unique()) == 16, "every recording must be a group in both"
    with pytest.raises(
        InputError, match="--mask_column_name none would have no effect here: no column of set looks like"
    ):
        corpus_clips(DataConfig(data_dir=[one, other], mask_column_name="none", **drawn))
    folders = write(tmp_path / "folders", {f"{name}/{place}/a.wav": tone(1) for name in "xy" for place in range(4)})
    found = corpus_clips(DataConfig(data_dir=[str(folders), one], group_column_name="speaker", **drawn))
    assert len(found.clips["group"].unique()) == 10, "one corpus has groups from folders, the other from the column"
    files = {f"{name}.wav": tone(1) for name in "abcdef"}
    files["train.csv"] = "path,label,speaker\na.wav,x,s\nb.wav,y,s\nc.wav,x,t\nd.wav,y,t\n"
    two = write(tmp_path / "two", files | {"test.csv": "path,label\ne.wav,x\nf.wav,y\n"})
    found = corpus_clips(DataConfig(data_dir=str(two), group_column_name="none", validation_fraction=0))
    assert len(found.clips["group"].unique()) == 6


def test_several_labels_is_refused_for_a_multi_label_task(tmp_path):
    made = stored(tmp_path, {"labels": List(TEXT)}, labels=[["a", "b"], ["a"], ["b"], ["b", "a"]])
    refused(made, "--several_labels would have no effect here: the task is already multi-label", several_labels=True)


@pytest.mark.parametrize("kind", ["table", "numbers", "texts", "folders"])
def test_classes_that_are_numbers_are_sorted_as_numbers(tmp_path, kind):
    numbers = [10, 9, 2, 100] * 3
    if kind == "folders":
        root = write(tmp_path, {f"{name}/{place}.wav": tone(place) for place, name in enumerate(numbers)})
    elif kind == "table":
        lines = "".join(f"{place}.wav,{name}\n" for place, name in enumerate(numbers))
        sounds = {f"{place}.wav": tone(place) for place in range(len(numbers))}
        root = write(tmp_path, {"labels.csv": f"path,label\n{lines}", **sounds})
    else:
        as_text = kind == "texts"
        columns = {"label": [*map(str, numbers)] if as_text else numbers}
        root = stored(tmp_path, {"label": TEXT if as_text else Value("int64")}, **columns)
    found = corpus_clips(DataConfig(data_dir=str(root), test_fraction=0.3))
    assert found.labels.names == ("2", "9", "10", "100")
    assert "(2 3, 9 3, 10 3, 100 3)" in found.understanding.paragraph()
