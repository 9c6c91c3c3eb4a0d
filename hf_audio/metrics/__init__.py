"""Metrics as `evaluate` modules, one folder each, loaded by path, so that the Hub is not needed.

`decision_scores` scores decisions, `ranking_scores` scores rankings. A folder can be pushed to a Space unchanged.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_audio.errors import InputError
from hf_audio.metrics.clips import ClipScores, WindowScores, average_per_clip, mean_of_clips

if TYPE_CHECKING:
    import evaluate

    from hf_audio.data.index.labels import LabelSpace

__all__ = [
    "METRIC_NAMES",
    "ClipScores",
    "WindowScores",
    "average_per_clip",
    "choose_threshold",
    "classification_metrics",
    "decide",
    "load_metric",
    "main_metrics",
    "mean_of_clips",
    "validation_metrics",
]

METRIC_NAMES = {
    "accuracy": "accuracy",
    "f1_micro": "micro F1",
    "f1_macro": "macro F1",
    "f1_samples": "samples F1",
    "mean_average_precision": "mAP",
    "lrap": "LRAP",
    "roc_auc_macro": "ROC AUC",
    "hamming_loss": "Hamming loss",
}


def main_metrics(problem_type: str) -> tuple[str, ...]:
    """The metrics for tables of a kind of task, the most important first."""
    if problem_type == "multi_label_classification":
        return ("f1_micro", "f1_macro", "mean_average_precision", "lrap", "roc_auc_macro")
    return ("accuracy", "f1_macro", "mean_average_precision", "roc_auc_macro")


@cache
def load_metric(name: str) -> evaluate.EvaluationModule:
    """The `evaluate` module in the folder `name` next to this file, loaded once per process."""
    import evaluate  # takes a second to import, which would delay commands that only print their help

    return evaluate.load(str(Path(__file__).parent / name), keep_in_memory=True)


def decide(probabilities: np.ndarray, labels: LabelSpace, threshold: float | np.ndarray = 0.5) -> np.ndarray:
    """Decisions int8 `[clips, classes]`: the highest score, or in multi-label tasks each score >= threshold.

    Args:
        threshold: one for all classes, or one per class, `[classes]`.
    """
    probabilities = np.asarray(probabilities)
    if labels.is_multi_label:
        return (probabilities >= threshold).astype(np.int8)
    return np.eye(len(labels), dtype=np.int8)[probabilities.argmax(axis=1)]


def classification_metrics(
    probabilities: np.ndarray, targets: np.ndarray, labels: LabelSpace, threshold: float = 0.5
) -> dict[str, Any]:
    """All metrics of clip scores, ready for JSON: None instead of NaN if a metric is undefined.

    A class without a positive among the targets is left out of the macro averages (`f1_macro`,
    `mean_average_precision`, `roc_auc_macro`) and has None for its own values. Unknown targets (NaN) do not count: each
    class is scored on the clips for which it is known, and each clip on its known classes.

    Args:
        probabilities: float `[clips, classes]`, averaged over each clip's windows.
        targets: float `[clips, classes]`, one-hot or multi-hot, NaN where unknown.
        labels: the classes, and the kind of task.
        threshold: threshold for multi-label decisions; single-label decisions are the class with the highest score.

    Returns:
        accuracy (all classes of a clip right), f1_micro, f1_macro, f1_samples, hamming_loss, mean_average_precision,
        roc_auc_macro, lrap, threshold (multi-label only) and per_class: for each name its precision, recall, f1,
        average_precision, roc_auc and support (number of clips known to have it).

    Raises:
        InputError: shapes differ, there are no clips, or scores are not finite.
    """
    probabilities, true = _checked(probabilities, targets)
    decided = decide(probabilities, labels, threshold)
    scores = load_metric("decision_scores").compute(predictions=decided, references=true)
    scores |= load_metric("ranking_scores").compute(predictions=probabilities, references=true)
    columns = {key: scores.pop(f"{key}_per_class") for key in _PER_CLASS}
    if labels.is_multi_label:
        scores["threshold"] = float(threshold)
    scores["per_class"] = {
        name: {key: column[index] for key, column in columns.items()} for index, name in enumerate(labels.names)
    }
    return scores


_PER_CLASS = ("precision", "recall", "f1", "average_precision", "roc_auc", "support")


def validation_metrics(probabilities: np.ndarray, targets: np.ndarray, labels: LabelSpace) -> dict[str, float]:
    """The numbers of `classification_metrics` for an epoch's log; in multi-label tasks, at the best threshold.

    Undefined metrics are left out, since a log can only hold numbers. About 0.1 s for 3,000 clips of 11 classes.
    """
    threshold = choose_threshold(probabilities, targets) if labels.is_multi_label else 0.5
    scores = classification_metrics(probabilities, targets, labels, threshold)
    return {name: value for name, value in scores.items() if isinstance(value, float)}


def choose_threshold(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """The threshold, shared by all classes, whose decisions `score >= threshold` have the highest micro F1.

    Choose it on validation scores, never on the scores that are evaluated. There is one threshold for all classes,
    because rare classes have too few validation clips for thresholds of their own.

    The search is exact: all positions between two neighboring scores are tried. The threshold is halfway between them,
    so that it does not depend on the score of a single clip; of equally good ones, the nearest to 0.5 is chosen. It is
    0.5 if no clip has a label. Scores `[clips, classes]` must be in [0, 1]; those of unknown targets (NaN) are ignored.
    """
    probabilities, true = _checked(probabilities, targets)
    known = ~np.isnan(true)
    scores, hits = probabilities[known], true[known] > 0.5
    if not hits.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order]
    # With the k largest scores accepted, F1 is 2 tp / (k + positives). Equal scores cannot be separated.
    f1 = 2 * np.cumsum(hits) / (np.arange(1, len(scores) + 1) + hits.sum())
    below = np.append(scores[1:], 0.0)
    separable = np.append(scores[1:] < scores[:-1], True)
    thresholds = (scores + below) / 2
    thresholds = np.where(thresholds > below, thresholds, scores)  # there may be no float between close neighbors
    best = np.flatnonzero(separable & (f1 >= f1[separable].max() - 1e-12))
    return float(thresholds[best[np.abs(thresholds[best] - 0.5).argmin()]])


def _checked(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores as float64 and targets as float32 (0, 1 or NaN), both `[clips, classes]`."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    targets = np.asarray(targets, dtype=np.float32)
    true = np.where(np.isnan(targets), np.nan, targets > 0.5).astype(np.float32)
    if probabilities.shape != true.shape or probabilities.ndim != 2 or not len(probabilities):
        raise InputError(
            f"Found scores of shape {probabilities.shape} and targets of shape {true.shape}; both must be "
            "[clips, classes] with at least one clip"
        )
    if not np.isfinite(probabilities).all():
        raise InputError("The model's scores are not finite: training diverged; try a smaller learning rate")
    return probabilities, true
