"""Calibration: whether 80% of the predictions with a probability of 0.8 are correct.

In single-label tasks, an answer is a clip's most probable class, which is right or wrong. In multi-label tasks, each
class of each clip is an answer: the probability of the class, and whether the clip has it. Unknown labels do not count,
nor do single-label clips whose class is unknown.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError

NUM_BINS = 15  # as in Guo et al. 2017
MIN_PROBABILITY = np.finfo(np.float64).eps  # in the log loss, as in scikit-learn


class Answers(NamedTuple):
    """Probabilities, float64 `[answers]`, and whether each answer was correct, float64 `[answers]` of 0 and 1."""

    confidence: np.ndarray
    came_true: np.ndarray


def calibration_facts(
    probabilities: np.ndarray, targets: np.ndarray, labels: LabelSpace, num_bins: int = NUM_BINS
) -> dict[str, Any]:
    """Calibration of the probabilities of clips, ready for JSON; values are None if there are no answers.

    Args:
        probabilities: float64 `[clips, classes]`.
        targets: float32 `[clips, classes]`, NaN where unknown.
        labels: the classes, and whether one or several apply.
        num_bins: for the expected calibration errors and the reliability diagram.

    Returns:
        ece: expected calibration error, the mean distance between confidence and accuracy over bins of equal width,
            weighted by their number of answers (Guo et al. 2017, arXiv 1706.04599).
        adaptive_ece: the same over bins with equal numbers of answers, where equal confidences share a bin (Nguyen and
            O'Connor 2015, arXiv 1508.05154).
        brier: mean squared error of the probabilities; in single-label tasks summed over classes, so 0 to 2.
        log_loss: mean negative log-likelihood, in nats; in multi-label tasks per class and clip.
        overconfidence: mean confidence minus accuracy.
        num: number of answers.
        bins: for each non-empty bin of equal width: confidence (mean), accuracy, num.
        per_class: for each class: ece and brier of its probability over clips.

    Raises:
        InputError: shapes that do not match, or numbers that are not probabilities.
    """
    probabilities, targets = checked_probabilities(probabilities, targets, labels)
    known = known_targets(targets, labels)
    confidence, came_true = answers(probabilities, targets, labels)
    in_bins = _bins(confidence, came_true, _equal_width(confidence, num_bins))
    return {
        "ece": _expected_error(in_bins),
        "adaptive_ece": _expected_error(_bins(confidence, came_true, _equal_mass(confidence, num_bins))),
        "brier": _brier(probabilities, known, labels),
        "log_loss": _log_loss(probabilities, known, labels),
        "overconfidence": float(confidence.mean() - came_true.mean()) if len(confidence) else None,
        "num": len(confidence),
        "bins": in_bins,
        "per_class": {
            name: _of_class(probabilities[:, index], known[:, index], num_bins)
            for index, name in enumerate(labels.names)
        },
    }


def answers(probabilities: np.ndarray, targets: np.ndarray, labels: LabelSpace) -> Answers:
    """The answers that count; see the module's docstring."""
    known = known_targets(targets, labels)
    if labels.is_multi_label:
        is_known = ~np.isnan(known)
        return Answers(probabilities[is_known], known[is_known])
    judged = np.flatnonzero(~np.isnan(known).any(axis=1))
    best = probabilities[judged].argmax(axis=1)
    return Answers(probabilities[judged, best], known[judged, best])


def known_targets(targets: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """float64 `[clips, classes]` of 0, 1 and NaN. In single-label tasks, a clip with a known class has none of the
    others, and a clip without one is NaN for all classes."""
    targets = np.asarray(targets, dtype=np.float64)
    known = np.where(np.isnan(targets), np.nan, targets > 0.5)
    if labels.is_multi_label:
        return known
    has_one = np.nansum(known, axis=1) == 1
    return np.where(has_one[:, None], np.nan_to_num(known), np.nan)


def checked_probabilities(
    probabilities: np.ndarray, targets: np.ndarray, labels: LabelSpace
) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays `[clips, classes]`.

    Raises:
        InputError: shapes that do not match, or numbers that are not probabilities.
    """
    probabilities, targets = np.asarray(probabilities, dtype=np.float64), np.asarray(targets, dtype=np.float32)
    if probabilities.shape != targets.shape or probabilities.shape[1:] != (len(labels),):
        raise InputError(
            f"Found probabilities of shape {probabilities.shape} and targets of shape {targets.shape}: both must be "
            f"[clips, {len(labels)} classes]"
        )
    if not ((probabilities >= 0) & (probabilities <= 1 + 1e-9)).all():
        raise InputError("Found values below 0 or above 1: give probabilities, not logits")
    return probabilities, targets


def _equal_width(confidence: np.ndarray, num_bins: int) -> np.ndarray:
    """The bin of each answer. A bin includes its upper edge; the first one also includes 0."""
    return np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)


def _equal_mass(confidence: np.ndarray, num_bins: int) -> np.ndarray:
    """The bin of each answer by the number of answers below it: equal confidences share a bin."""
    num_below = np.searchsorted(np.sort(confidence), confidence, side="left")
    return num_below * num_bins // max(1, len(confidence))


def _bins(confidence: np.ndarray, came_true: np.ndarray, bin_of_answer: np.ndarray) -> list[dict[str, Any]]:
    counts = np.bincount(bin_of_answer)
    filled = np.flatnonzero(counts)
    means = [np.bincount(bin_of_answer, one)[filled] / counts[filled] for one in (confidence, came_true)]
    return [
        {"confidence": float(sure), "accuracy": float(right), "num": int(num)}
        for sure, right, num in zip(*means, counts[filled], strict=True)
    ]


def _expected_error(bins: list[dict[str, Any]]) -> float | None:
    num = sum(one["num"] for one in bins)
    return sum(one["num"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / num if num else None


def _brier(probabilities: np.ndarray, known: np.ndarray, labels: LabelSpace) -> float | None:
    squared = (probabilities - known) ** 2
    found = squared[~np.isnan(squared)]
    if not found.size:
        return None
    return float(found.mean() if labels.is_multi_label else found.mean() * len(labels))


def _log_loss(probabilities: np.ndarray, known: np.ndarray, labels: LabelSpace) -> float | None:
    clipped = np.clip(probabilities, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    with_class, without = known == 1, (known == 0) & labels.is_multi_label
    total = -np.log(clipped[with_class]).sum() - np.log1p(-clipped[without]).sum()
    num = with_class.sum() + without.sum()
    return float(total / num) if num else None


def _of_class(probabilities: np.ndarray, known: np.ndarray, num_bins: int) -> dict[str, float | None]:
    rows = ~np.isnan(known)
    if not (known[rows] == 1).any():
        return {"ece": None, "brier": None}
    confidence, came_true = probabilities[rows], known[rows]
    bins = _bins(confidence, came_true, _equal_width(confidence, num_bins))
    return {"ece": _expected_error(bins), "brier": float(((confidence - came_true) ** 2).mean())}
