"""Scores of a run as Parquet: exact for any class names, and read only if they are valid."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.label_quality.agreement import read_labels
from hf_audio.metrics import WindowScores
from hf_audio.stored_scores import CLIPS, FACTS, read_scores, write_scores

NAMES = ("a;b", "=SUM(A1)", 'x,\n"y"', "ö | <b>")
LABELS = LabelSpace(NAMES, MULTI_LABEL)
NAN = np.nan


def windows_of(logits: np.ndarray, targets: np.ndarray, clips: list[str]) -> WindowScores:
    keys = np.array([sorted(set(clips)).index(clip) for clip in clips])
    groups = np.array([f"group of {clip}" for clip in clips])
    return WindowScores(np.array(clips), groups, keys, np.arange(len(clips)) / 3, logits.astype(np.float32), targets)


@pytest.fixture
def scores() -> WindowScores:
    random = np.random.default_rng(0)
    targets = np.array([[1, 0, NAN, 1], [1, 0, NAN, 1], [0, 0, 0, 0], [NAN, 1, 0, 0], [NAN, 1, 0, 0]], dtype=np.float32)
    return windows_of(random.normal(size=(5, 4)), targets, ["two", "two", "one", "three", "three"])


def test_scores_are_read_back_exactly(scores, tmp_path):
    write_scores(tmp_path, {"validation": scores, "test": scores}, LABELS, 0.4, "test")
    stored = read_scores(tmp_path)
    clips = scores.clips()
    assert stored.labels == LABELS and stored.evaluated_split == "test"
    assert stored.clip_ids == ["two", "one", "three"] * 2 and stored.splits == ["validation"] * 3 + ["test"] * 3
    assert stored.groups[:2] == ["group of two", "group of one"]
    np.testing.assert_array_equal(stored.logits[3:], clips.logits)
    assert stored.given[:3] == [["a;b", "ö | <b>"], [], ["=SUM(A1)"]]
    assert stored.unknown[:3] == [['x,\n"y"'], [], ["a;b"]]
    decided = LABELS.probabilities(clips.logits) >= 0.4
    assert stored.decided[:3] == [[name for name, yes in zip(NAMES, row, strict=True) if yes] for row in decided]
    windows = pd.read_parquet(tmp_path / "scores" / "windows.parquet")
    np.testing.assert_array_equal(windows[[f"logit: {name}" for name in NAMES]][:5], scores.logits)
    assert windows["start_s"].tolist()[:5] == scores.starts_s.tolist()
    found = read_labels(tmp_path / "scores" / CLIPS, "decided")
    assert found["one"].labels == tuple(stored.decided[1]) and found["three"].unknown == ("a;b",)
    with pytest.raises(InputError, match="Unknown column of labels"):
        read_labels(tmp_path / "scores" / CLIPS, "decide")


def test_pandas_converts_scores_to_csv_in_one_line(scores, tmp_path):
    write_scores(tmp_path, {"test": scores}, LABELS, 0.5, "test")
    pd.read_parquet(tmp_path / "scores" / CLIPS).to_csv(tmp_path / "scores.csv", index=False)
    again = pd.read_csv(tmp_path / "scores.csv")
    np.testing.assert_allclose(again["logit: a;b"], scores.clips().logits[:, 0])


def test_single_label_decisions_are_the_largest_score(tmp_path):
    labels = LabelSpace(("x", "y"), SINGLE_LABEL)
    write_scores(tmp_path, {"test": windows_of(np.eye(2), np.eye(2), ["p", "q"])}, labels, 0.5, "test")
    assert read_scores(tmp_path).decided == [["x"], ["y"]]
    facts = json.loads(pq.read_schema(tmp_path / "scores" / CLIPS).metadata[FACTS])
    assert facts == {
        "labels": ["x", "y"],
        "problem_type": SINGLE_LABEL,
        "decision_threshold": None,
        "evaluated_split": "test",
    }


def test_a_token_in_a_clip_id_is_never_written(scores, tmp_path):
    scores = replace(scores, clip_ids=np.array(["two", "two", "hf_" + "a" * 34, "three", "three"]))
    with pytest.raises(InputError, match="contains a Hugging Face token"):
        write_scores(tmp_path, {"test": scores}, LABELS, 0.5, "test")
    assert not (tmp_path / "scores" / CLIPS).exists()


def packed(table: pa.Table) -> dict:
    return {"table": table, "compression": "zstd"}


def repeated(table: pa.Table) -> dict:
    return {"table": table, "compression": "none", "use_dictionary": True}


def without_facts(table: pa.Table) -> dict:
    return {"table": table.replace_schema_metadata(None)}


def with_facts(**changed):
    def change(table: pa.Table) -> dict:
        facts = {**json.loads(table.schema.metadata[FACTS]), **changed}
        return {"table": table.replace_schema_metadata({FACTS: json.dumps(facts).encode()})}

    return change


def with_column(name: str, values: list):
    def change(table: pa.Table) -> dict:
        place = table.column_names.index(name)
        return {"table": table.set_column(place, name, pa.array(values))}

    return change


CHANGES = {
    "packed": packed,
    "repeated": repeated,
    "no facts": without_facts,
    "other classes": with_facts(labels=["a", "b", "c", "d"]),
    "numbers as classes": with_facts(labels=[1, 2, 3, 4]),
    "a class twice": with_facts(labels=["a;b"] * 4),
    "no task": with_facts(problem_type="regression"),
    "a list among the facts": with_facts(evaluated_split=["test"]),
    "infinite": with_column("logit: a;b", [0.0, np.inf, 1.0]),
    "text": with_column("logit: a;b", ["1", "2", "3"]),
    "empty": with_column("clip_id", ["a", None, "b"]),
    "no column": lambda table: {"table": table.drop_columns(["group"])},
    "an additional column": lambda table: {"table": table.append_column("more", pa.array([1, 2, 3]))},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_manipulated_scores_are_one_sentence(scores, tmp_path, change):
    write_scores(tmp_path, {"test": scores}, LABELS, 0.5, "test")
    path = tmp_path / "scores" / CLIPS
    written = {"compression": "none", "use_dictionary": False} | change(pq.read_table(path))
    pq.write_table(written.pop("table"), path, **written)
    with pytest.raises(InputError, match=r"clips.parquet is not scores/clips.parquet of a run \(") as told:
        read_scores(path)
    assert "\n" not in str(told.value)


def test_files_that_are_not_parquet_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_scores(tmp_path / "nowhere.parquet")
    for content in (b"", b"PAR1" * 5, b"clip_id,labels\n1,x\n"):
        (tmp_path / "one.parquet").write_bytes(content)
        with pytest.raises(InputError, match=r"is not scores/clips.parquet of a run"):
            read_scores(tmp_path / "one.parquet")
