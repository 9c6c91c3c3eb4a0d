"""Third-party datasets: splits, groups, start and end times, and metadata."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from datasets import Audio, ClassLabel, Features, List, Value
from small_datasets import GENRES, parquet, write
from test_dataset_columns import TEXT, folder, splits
from test_datasets_as_corpora import read, refused

# Splits


def test_splits_are_found_by_name_and_chosen_by_flags(tmp_path):
    of = {"label": ["a", "b"]}
    splits(tmp_path / "a", {"label": TEXT}, training=of, dev=of, eval=of)
    assert [clip.split for clip in read(tmp_path / "a")[0]] == ["train"] * 2 + ["validation"] * 2 + ["test"] * 2
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n" + "".join(
        f"  - split: {name}\n    path: {name}.parquet\n" for name in ("clean", "other", "extra")
    )
    splits(tmp_path / "b", {"label": TEXT}, clean=of, other=of, extra=of)
    write(tmp_path / "b", {"README.md": f"{card}---\n"})
    refused(
        tmp_path / "b",
        "has the splits clean, other, extra, but none is called train; choose .* --train_split_name clean",
    )
    clips, found = read(tmp_path / "b", train_split_name="clean", test_split_name="other")
    assert [clip.split for clip in clips] == ["train"] * 2 + ["test"] * 2
    assert "split extra, which is not train, validation or test" in found.understanding.paragraph()
    refused(tmp_path / "b", "--test_split_name tset: .* has no such split", test_split_name="tset")
    refused(tmp_path / "b", "use the same split twice", train_split_name="clean", test_split_name="clean")


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
    assert clips[0].split == "train" and "column fold could also be the splits" in found.understanding.paragraph()


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
    refused(root, "several columns that could be the groups, speaker_id and session.*--group_column_name")
    assert [clip.group for clip in read(root, group_column_name="session")[0]] == ["1", "1", "1", "3", "3"]
    clips, found = read(root, group_column_name="none")
    assert clips[0].group == "0.wav" or clips[0].group == clips[0].clip_id
    assert "Groups: none because of --group_column_name none" in found.understanding.paragraph()
    refused(root, "Unknown column of b 'speker': did you mean 'speaker_id'", group_column_name="speker")


def test_speakers_shared_by_official_splits_are_reported_and_kept_apart(tmp_path):
    features = {"label": TEXT, "speaker": TEXT}
    train = {"label": ["a", "b"] * 3, "speaker": list("uuvvww")}
    splits(tmp_path, features, train=train, test={"label": ["a", "b"], "speaker": list("ux")})
    clips, found = read(tmp_path)
    assert [clip.group for clip in clips][:2] == ["train/u"] * 2 and clips[6].group == "test/u"
    assert not found.understanding.groups_known
    assert "1 groups of column speaker are in more than one of the official splits (test, train)" in (
        found.understanding.paragraph()
    )


def test_each_row_without_a_group_is_a_group(tmp_path):
    root = folder(tmp_path, {"label": TEXT, "group": TEXT}, label=["a", "b", "a"], group=["g", None, "g"])
    clips, found = read(root)
    assert [clip.group for clip in clips] == ["g", "1.wav", "g"] and not found.understanding.groups_known
    assert "rows without a group, each a group of its own: 1" in found.understanding.groups


def test_one_group_per_recording_is_no_grouping(tmp_path):
    _, found = read(folder(tmp_path, {"label": TEXT, "group": TEXT}, label=["a", "b"], group=["g", "h"]))
    assert not found.understanding.groups_known
    assert "column group has a different group for each recording" in found.understanding.paragraph()


# Facts


def test_start_and_end_times_and_names_of_clips(tmp_path):
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
    assert [clip.clip_id for clip in clips] == ["0.wav", "1.wav"], "ids that are not unique are ignored"


def test_other_columns_of_times_are_reported(tmp_path):
    features = {"label": TEXT, "onset": Value("float32"), "start_sample": Value("int64"), "duration": Value("float32")}
    root = folder(tmp_path, features, label=["a", "b"], onset=[0.1, 0.2], start_sample=[1, 2], duration=[1.0, 2.0])
    clips, found = read(root)
    assert clips[1].start_s == 0 and "column onset, start_sample may contain times of stretches, but only start_s" in (
        found.understanding.paragraph()
    )


def test_metadata_have_types_and_contain_no_paths_of_a_machine(tmp_path):
    features = {
        "label": TEXT, "year": Value("int32"), "bpm": Value("float32"), "ok": Value("bool"), "where": TEXT, "cut": TEXT,
        "kind": ClassLabel(names=["x", "y"]), "vector": List(Value("float32")), "group": TEXT, "split": TEXT,
    }  # fmt: skip
    columns = {
        "label": ["a", "b"], "year": [1999, None], "bpm": [120.5, float("nan")], "ok": [True, None],
        "where": ["/home/ann/a.wav", None], "cut": [None, "of '/home/ann/b.wav'"], "kind": [1, -1],
        "vector": [[0.5], [1.0]],
        "group": ["g", "h"], "split": ["train", "test"],
    }  # fmt: skip
    clips, found = read(folder(tmp_path, features, **columns))
    assert clips[0].metadata == {"year": 1999, "bpm": 120.5, "ok": "true", "kind": "y"} and clips[1].metadata == {}
    assert found.clips.schema.field("year").type == pa.int64() and found.clips.schema.field("bpm").type == pa.float64()
    assert [clip.split for clip in clips] == ["train", "test"]
    paragraph = found.understanding.paragraph()
    assert "2 columns of local file paths (where, cut)" in paragraph
    assert "1 column of lists or objects (vector)" in paragraph


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"metadata.csv": "file_name,label\na.wav,x\nmissing.wav,y\n"},
            "1 of 2 files do not exist, first 'missing",
        ),
        (
            {"metadata.csv": "file_name,label\na.wav,x\n../../etc/passwd,y\n"},
            "files do not exist, first '../../etc",
        ),
        ({"metadata.csv": "name,label\na.wav,x\n"}, "has no column file_name, which names the file of each row"),
        ({"metadata.jsonl": '{"file_name": "a.wav"\n'}, "metadata.jsonl of .* line 1 is not a JSON object"),
        ({"metadata.parquet": b"PAR1"}, "metadata.parquet of .* is damaged"),
        ({}, "has audio files without labels .such as a.wav.; expected a metadata.csv"),
    ],
)
def test_audio_files_with_unsuitable_tables_are_refused(hub, files, sentence):
    content = {name: one if isinstance(one, bytes) else one.encode() for name, one in files.items()}
    hub.create("datasets", "alice/files", {"a.wav": b"RIFF", "b.wav": b"RIFF", **content})
    refused("alice/files", sentence)


def test_a_hundred_thousand_rows_are_opened_with_few_requests(hub):
    """Counts requests and bytes: only footers and small columns are read, and no sound."""
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
