"""Results per class: curves over all thresholds, and confusions.

Arrays are `probabilities` float64 `[clips, classes]`, `decisions` int8 `[clips, classes]` and `targets` float32
`[clips, classes]`, NaN where unknown; unknown clip-class pairs do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import metrics

from hf_audio.data.index.labels import LabelSpace

MAX_POINTS = 200  # of a curve: more than a plot can show
MICRO = "micro"  # the key of the curves over all clip-class pairs


def curves(probabilities: np.ndarray, targets: np.ndarray, labels: LabelSpace) -> dict[str, Any]:
    """ROC, precision-recall and F1-by-threshold curves for each class and for all clip-class pairs together.

    Returns:
        {"classes": {name: curves or None}, "micro": curves or None}, where curves are {"roc": [[false positive rate,
        true positive rate] ...], "precision_recall": [[recall, precision] ...], "f1": [[threshold, F1 for scores >=
        threshold] ...]}, each with at most MAX_POINTS points. None if positives or negatives are missing.
    """
    probabilities, targets = np.asarray(probabilities, np.float64), np.asarray(targets)
    known = ~np.isnan(targets)
    of_classes = {
        name: _curves_of(targets[rows, index] > 0.5, probabilities[rows, index])
        for index, (name, rows) in enumerate(zip(labels.names, known.T, strict=True))
    }
    return {"classes": of_classes, MICRO: _curves_of(targets[known] > 0.5, probabilities[known])}


def _curves_of(is_true: np.ndarray, scores: np.ndarray) -> dict[str, list[list[float]]] | None:
    if not 0 < is_true.sum() < len(is_true):
        return None
    false_rate, true_rate, _ = metrics.roc_curve(is_true, scores)
    precision, recall, thresholds = metrics.precision_recall_curve(is_true, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return {
        "roc": _thinned(false_rate, true_rate),
        "precision_recall": _thinned(recall, precision),
        "f1": _thinned(thresholds, f1[:-1]),  # the last point of precision and recall has no threshold
    }


def _thinned(x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    """At most MAX_POINTS points of a curve, evenly spaced along it, with both ends and the maximum."""
    if len(x) > MAX_POINTS:
        length = np.append(0.0, np.cumsum(np.hypot(np.diff(x), np.diff(y))))
        wanted = np.linspace(0.0, length[-1], MAX_POINTS - 2)
        kept = np.unique(np.r_[np.searchsorted(length, wanted).clip(0, len(x) - 1), y.argmax(), len(x) - 1])
        x, y = x[kept], y[kept]
    return np.round(np.stack([x, y], axis=1), 5).tolist()


def confusion(decisions: np.ndarray, targets: np.ndarray, labels: LabelSpace) -> dict[str, Any]:
    """Counts of decisions by true class.

    In single-label tasks, `counts` is the confusion matrix. In multi-label tasks, it counts the clips of a class for
    which the other class was (also) decided.

    Returns:
        classes; counts, int `[true class][decided class]`; clips, int `[true class][decided class]`: the clips of the
        true class for which the decided class is known.
    """
    true, decided, known = _truth(decisions, targets)
    return {
        "classes": list(labels.names),
        "counts": _together(true, decided).tolist(),
        "clips": _together(true, known).tolist(),
    }


def confused_pairs(
    probabilities: np.ndarray,
    decisions: np.ndarray,
    targets: np.ndarray,
    labels: LabelSpace,
    clip_ids: Sequence[str],
    *,
    max_pairs: int = 20,
    max_clips: int = 3,
) -> list[dict[str, Any]]:
    """The most frequent confusions, with the clips on which the model was most confident of the wrong class.

    A clip counts for the pair (true, decided) if the true class was missed and another class, which it is known to
    lack, was decided. In single-label tasks these are the off-diagonal entries of the confusion matrix.

    Returns:
        Most frequent first: true, decided; num, the number of clips; share of the clips of the true class; clip_ids, at
        most `max_clips`, sorted by how much higher the wrong class was scored than the right one.
    """
    true, decided, known = _truth(decisions, targets)
    missed, false = true & ~decided & known, decided & ~true
    counts, support = _together(missed, false), true.sum(axis=0)
    most = np.argsort(-counts, axis=None, kind="stable")[:max_pairs]
    found = []
    for one, other in zip(*np.unravel_index(most, counts.shape), strict=True):
        if not counts[one, other]:
            break
        clips = np.flatnonzero(missed[:, one] & false[:, other])
        most_confident = np.argsort(probabilities[clips, one] - probabilities[clips, other], kind="stable")[:max_clips]
        found.append(
            {
                "true": labels.names[one],
                "decided": labels.names[other],
                "num": int(counts[one, other]),
                "share": float(counts[one, other] / support[one]),
                "clip_ids": [clip_ids[clip] for clip in clips[most_confident]],
            }
        )
    return found


def _truth(decisions: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True, decided and known classes, bool `[clips, classes]`; unknown ones are neither true nor decided."""
    known = ~np.isnan(targets)
    return (np.asarray(targets) > 0.5) & known, (np.asarray(decisions) > 0) & known, known


def _together(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The number of clips with a class of `one` and a class of `other`, int `[classes, classes]`."""
    return np.rint(one.T.astype(np.float64) @ other.astype(np.float64)).astype(np.int64)
