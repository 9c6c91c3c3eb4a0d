"""Plots are drawn for every task, and the confusion matrix has the right numbers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from hf_audio.analysis.plots import confusion_shares, plot_f1_per_class, plot_roc_pr, plot_training, write_plots
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.metrics import classification_metrics, decide

HISTORY = [{"loss": 1.0 / (1 + step), "step": step, "epoch": step / 4} for step in range(1, 9)] + [
    {"eval_loss": 0.8, "eval_f1_micro": 0.4, "eval_accuracy": 0.4, "step": 4},
    {"eval_loss": 0.7, "eval_f1_micro": 0.6, "eval_accuracy": 0.6, "step": 8},
    {"train_runtime": 3.0, "train_loss": 0.5, "step": 8},
]


def scored_clips(num_classes: int, problem_type: str, num_clips: int = 60):
    """Probabilities, decisions, targets, labels and scores; in multi-label tasks the last class never occurs."""
    random = np.random.default_rng(0)
    names = tuple(f"a class with a rather long name, $ and | {index}" for index in range(num_classes))
    labels = LabelSpace(names, problem_type)
    targets = np.eye(num_classes)[random.integers(0, num_classes, num_clips)]
    if labels.is_multi_label:
        targets = np.maximum(targets, np.eye(num_classes)[random.integers(0, num_classes, num_clips)])
        targets[:, -1] = 0
    probabilities = labels.probabilities(2 * targets + random.normal(size=targets.shape))
    scores = classification_metrics(probabilities, targets, labels)
    return probabilities, decide(probabilities, labels), targets, labels, scores


def test_confusion_shares_of_single_labels_are_the_confusion_matrix():
    targets, decisions = np.eye(3)[[0, 0, 0, 0, 1]], np.eye(3)[[0, 0, 0, 1, 2]]
    shares = confusion_shares(targets, decisions)
    assert shares[:2].tolist() == [[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]]
    assert np.isnan(shares[2]).all()


def test_confusion_shares_of_several_labels():
    shares = confusion_shares(np.array([[1, 1], [1, 0]]), np.array([[1, 0], [1, 1]]))
    assert shares.tolist() == [[1.0, 0.5], [1.0, 0.0]]


@pytest.mark.parametrize(("num_classes", "problem_type"), [(1, MULTI_LABEL), (2, SINGLE_LABEL), (50, MULTI_LABEL)])
def test_all_plots_are_drawn(tmp_path, num_classes, problem_type):
    probabilities, decisions, targets, labels, scores = scored_clips(num_classes, problem_type)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = write_plots(
            tmp_path / "plots",
            log_history=HISTORY,
            best_step=8,
            scores=scores,
            probabilities=probabilities,
            decisions=decisions,
            targets=targets,
            labels=labels,
            split="test",
        )
    expected = ["training.png", "f1_per_class.png", "confusion.png", "roc_pr.png"]
    assert names == [name for name in expected if num_classes > 1 or name != "roc_pr.png"]
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == sorted(names), "the folder has other files"
    for name in names:
        with Image.open(tmp_path / "plots" / name) as plot:
            assert 400 < plot.width < 2000 and 150 < plot.height < 2200, (name, plot.size)
            assert len(np.unique(np.asarray(plot.convert("L")))) > 10, f"{name} is empty"


def test_bars_show_the_f1_of_each_class_best_first():
    *_, scores = scored_clips(4, MULTI_LABEL)
    axes = plot_f1_per_class(scores, "test").axes[0]
    values = [one["f1"] for one in scores["per_class"].values() if one["f1"] is not None]
    assert [bar.get_width() for bar in axes.patches] == [*sorted(values, reverse=True), 0.0]
    assert "no clips" in [text.get_text() for text in axes.texts]


def test_training_curves_come_from_the_log():
    loss, scores = plot_training(HISTORY, ("accuracy",), best_step=8).axes
    lines = {line.get_label(): line for line in loss.lines}
    assert lines["train"].get_xdata().tolist() == list(range(1, 9))
    assert lines["validation"].get_ydata().tolist() == [0.8, 0.7]
    assert "kept: step 8" in lines
    assert scores.lines[0].get_ydata().tolist() == [0.4, 0.6]
    assert plot_training([{"train_runtime": 1.0, "step": 3}], ("accuracy",)) is None
    without_validation = [{"loss": 1.0, "step": 1}]
    assert len(plot_training(without_validation, ("accuracy",)).axes) == 1


def test_curves_of_perfect_scores_reach_the_corner():
    targets = np.eye(2)[[0, 1, 0, 1]]
    labels = LabelSpace(("a", "b"), SINGLE_LABEL)
    figure = plot_roc_pr(targets, targets, classification_metrics(targets, targets, labels), "test")
    roc, precision_recall = figure.axes
    micro = roc.lines[2]
    assert (0.0, 1.0) in set(zip(micro.get_xdata(), micro.get_ydata(), strict=True))
    assert "area 1.000" in roc.get_legend().texts[0].get_text()
    assert "mAP 1.000" in precision_recall.get_legend().texts[1].get_text()
