"""Calibration: whether 80% of the predictions with a probability of 0.8 are correct.

Where one class applies, an answer is a clip's most probable class and right or wrong. Where several may, each class of
each clip is an answer of its own: the class's probability, and whether the clip has it. Unknown labels, and clips of
which no class is known where one must apply, count nowhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError

NUM_BINS = 15  # as in Guo et al. 2017
SMALLEST = np.finfo(np.float64).eps  # of a probability in the log loss, as scikit-learn clips it


class Answers(NamedTuple):
    """Probabilities float64 `[answers]`, and whether each came true, float64 `[answers]` of 0 and 1."""

    confidence: np.ndarray
    came_true: np.ndarray


def calibration_facts(
    probabilities: np.ndarray, targets: np.ndarray, labels: LabelSpace, num_bins: int = NUM_BINS
) -> dict[str, Any]:
    """Calibration of clips' probabilities, ready for JSON; None where there is no answer to judge.

    Args:
        probabilities: float64 `[clips, classes]`.
        targets: float32 `[clips, classes]`, NaN where unknown.
        labels: the classes, and whether one or several apply.
        num_bins: of the expected calibration errors and of the reliability diagram.

    Returns:
        ece: expected calibration error, the mean distance of confidence and accuracy over bins of equal width, weighted
            by their answers (Guo et al. 2017, arXiv 1706.04599).
        adaptive_ece: the same over bins of equally many answers, those of one confidence in one bin (Nguyen and
            O'Connor 2015, arXiv 1508.05154).
        brier: mean squared error of the probabilities; where one class applies summed over classes, so 0 to 2.
        log_loss: mean negative log-likelihood, in nats; where several apply, of each class of each clip.
        overconfidence: mean confidence minus accuracy.
        num: answers.
        bins: of the bins of equal width that have answers: confidence (mean), accuracy, num.
        per_class: of each class: ece and brier of its own probability, clip by clip.

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
    """The answers that are judged; see the head of this module."""
    known = known_targets(targets, labels)
    if labels.is_multi_label:
        is_known = ~np.isnan(known)
        return Answers(probabilities[is_known], known[is_known])
    judged = np.flatnonzero(~np.isnan(known).any(axis=1))
    best = probabilities[judged].argmax(axis=1)
    return Answers(probabilities[judged, best], known[judged, best])


def known_targets(targets: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """float64 `[clips, classes]` of 0, 1 and NaN. Where one class applies, a clip that has it lacks all others, and one
    of which no class is known is NaN altogether."""
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
        raise InputError("Found values outside of 0 to 1: give probabilities, not logits")
    return probabilities, targets


def _equal_width(confidence: np.ndarray, num_bins: int) -> np.ndarray:
    """The bin of each answer, of which each holds its upper edge and the first 0 too."""
    return np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)


def _equal_mass(confidence: np.ndarray, num_bins: int) -> np.ndarray:
    """The bin of each answer by how many are below it: equal confidences share one."""
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
    clipped = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
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
