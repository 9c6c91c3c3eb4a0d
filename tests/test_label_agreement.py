"""Agreement of two label sets: worked by hand, against scikit-learn, with partial labels, from the command line."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from hf_audio import InputError, label_agreement
from hf_audio.data.index.label_overrides import ClipLabels
from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.metrics import WindowScores
from hf_audio.stored_scores import write_scores

ROOT = Path(__file__).parents[1]


def test_a_case_worked_by_hand():
    a = {"1": ClipLabels(("x",)), "2": ClipLabels(("x", "y")), "3": ClipLabels(()), "4": ClipLabels(("y",))}
    b = {"1": ClipLabels(("x",)), "2": ClipLabels(("y",)), "3": ClipLabels(()), "5": ClipLabels(("y",))}
    found = label_agreement(a, b)
    assert (found.num_clips, found.num_only_a, found.num_only_b) == (3, 1, 1)
    assert found.any_right == 1.0 and found.all_right == pytest.approx(2 / 3)
    assert found.hamming_distance == pytest.approx(1 / 6)
    assert found.per_class["x"].precision == 1.0 and found.per_class["x"].recall == 0.5
    assert found.per_class["y"].kappa == 1.0


def test_partial_labels_are_left_out_of_the_counts():
    a = {"1": ClipLabels(("x",), ("y",)), "2": ClipLabels(("y",), ("x",)), "3": ClipLabels((), is_left_out=True)}
    b = {"1": ClipLabels(("y",)), "2": ClipLabels(("x", "y"), ()), "3": ClipLabels(("y",))}
    found = label_agreement(a, b)
    assert (found.num_clips, found.num_only_b) == (2, 1), "clips that one set lacks do not count"
    assert found.per_class["x"].known == 1 and found.per_class["y"].known == 1
    assert found.any_right == 0.5 and found.all_right == 0.5 and found.hamming_distance == 0.5
    assert found.per_class["x"].precision is None and found.per_class["y"].kappa is None


def test_kappa_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    true, other = (random.random((200, 4)) < 0.4 for _ in range(2))
    other = np.where(random.random(true.shape) < 0.8, true, other)
    names = np.array(list("abcd"))
    sets = [{str(number): ClipLabels(tuple(names[row])) for number, row in enumerate(one)} for one in (true, other)]
    found = label_agreement(*sets)
    assert found.hamming_distance == pytest.approx(metrics.hamming_loss(true, other))
    assert found.all_right == pytest.approx(metrics.accuracy_score(true, other))
    for column, name in enumerate(names):
        one = found.per_class[name]
        pair = true[:, column], other[:, column]
        assert one.kappa == pytest.approx(metrics.cohen_kappa_score(*pair))
        assert one.precision == pytest.approx(metrics.precision_score(*pair))
        assert one.recall == pytest.approx(metrics.recall_score(*pair))


def test_label_sets_without_a_common_clip():
    with pytest.raises(InputError, match="no clip in common: 'a' is in the first, 'b' in the second"):
        label_agreement({"a": ClipLabels(("x",))}, {"b": ClipLabels(("x",))})


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    ids, logits, targets = np.array(["1", "2"]), np.array([[2.0, 1.5], [-2.0, 2.0]]), np.eye(2)
    scores = WindowScores(ids, ids, np.arange(2), np.zeros(2), logits, targets)
    write_scores(tmp_path, {"test": scores}, LabelSpace(("x", "y"), MULTI_LABEL), 0.5, "test")

    def compare(*argv: str) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["scripts/compare_labels.py", *argv])
        runpy.run_path(str(ROOT / "scripts" / "compare_labels.py"), run_name="__main__")

    compare("scores/clips.parquet", "scores/clips.parquet", "--columns", "labels", "decided")
    printed = capsys.readouterr().out
    assert "all right         0.500" in printed and "Hamming distance  0.2500" in printed
    assert "| x | 2 | 1 | 1 | 1 | 1.000 | 1.000 | 1.000 |" in printed
    with pytest.raises(SystemExit, match="2"):
        compare("scores/clips.parquet", "nowhere.csv")
    error = capsys.readouterr().err
    assert error.startswith("error: nowhere.csv cannot be read") and len(error.strip().splitlines()) == 1
