"""Scores per clip and their distribution: whether all clips are half correct, or half of them are entirely wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from hf_audio.data.index.labels import LabelSpace

NUM_BINS = 20
MEASURES = {
    "hamming": "share of a clip's classes that are decided correctly",
    "f1": "F1 over a clip's classes; 1 if it has none and none was decided",
    "accuracy": "1 if all of a clip's classes are decided correctly, else 0",
    "true_probability": "mean probability of the classes that a clip has",
}


def clip_scores(
    probabilities: np.ndarray, decisions: np.ndarray, targets: np.ndarray, labels: LabelSpace
) -> dict[str, np.ndarray]:
    """MEASURES of each clip over its known classes, float64 `[clips]`; NaN for a clip without known classes.

    Their means over clips are `accuracy` and `f1_samples` of `classification_metrics` and, if all labels are known, one
    minus its `hamming_loss`. `true_probability` is also NaN for a clip that has no class.

    Args:
        probabilities, decisions, targets: `[clips, classes]`.
        labels: the classes.
    """
    known = ~np.isnan(targets)
    true, decided = (targets > 0.5) & known, (decisions > 0) & known
    num_known, num_true = known.sum(axis=1), true.sum(axis=1)
    num_right, num_hits = ((decided == true) & known).sum(axis=1), (decided & true).sum(axis=1)
    is_known = num_known > 0
    f1 = _ratio(2 * num_hits, num_true + decided.sum(axis=1), of_nothing=1.0)
    return {
        "hamming": _ratio(num_right, num_known),
        "f1": np.where(is_known, f1, np.nan),
        "accuracy": np.where(is_known, (num_right == num_known).astype(np.float64), np.nan),
        "true_probability": _ratio((probabilities * true).sum(axis=1), num_true),
    }


def per_clip(
    probabilities: np.ndarray, decisions: np.ndarray, targets: np.ndarray, labels: LabelSpace
) -> dict[str, Any]:
    """The distribution of the scores of clips.

    Returns:
        For JSON: for each of MEASURES `num_clips`, `mean`, `std`, `quartiles` (None if there are no clips) and `bins`
        of [0, 1] with `low`, `high` and `num`; the last one includes its upper end. `by_num_labels`: the means by the
        number of classes of a clip, with the mean number of decided classes, over fully annotated clips.
    """
    scores = clip_scores(probabilities, decisions, targets, labels)
    return {name: _distribution(values[~np.isnan(values)]) for name, values in scores.items()} | {
        "by_num_labels": _by_num_labels(scores, decisions, targets)
    }


def _distribution(values: np.ndarray) -> dict[str, Any]:
    counts, edges = np.histogram(values, NUM_BINS, (0.0, 1.0))
    bins = [
        {"low": float(low), "high": float(high), "num": int(count)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    if not len(values):
        return {"num_clips": 0, "mean": None, "std": None, "quartiles": None, "bins": bins}
    return {
        "num_clips": len(values),
        "mean": float(values.mean()),
        "std": float(values.std()),
        "quartiles": [float(one) for one in np.quantile(values, (0.25, 0.5, 0.75))],
        "bins": bins,
    }


def _by_num_labels(
    scores: dict[str, np.ndarray], decisions: np.ndarray, targets: np.ndarray
) -> list[dict[str, float | int | None]]:
    whole = ~np.isnan(targets).any(axis=1)
    num_labels, num_decided = (targets > 0.5).sum(axis=1), (decisions > 0).sum(axis=1)
    found = []
    for count in np.unique(num_labels[whole]):
        its = whole & (num_labels == count)
        row = {"num_labels": int(count), "num_clips": int(its.sum()), "num_decided": float(num_decided[its].mean())}
        found.append(row | {name: _mean(values[its]) for name, values in scores.items()})
    return found


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _ratio(part: np.ndarray, whole: np.ndarray, of_nothing: float = np.nan) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), of_nothing)
