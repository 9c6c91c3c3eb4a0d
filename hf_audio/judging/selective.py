"""Selective prediction: how often a model is wrong on its most confident clips, and when to answer "don't know".

The confidence in a clip is the expected accuracy of its answer: the probability of the predicted class or, in
multi-label tasks, the mean over classes of the probability that the decision is correct. The risk is the measured
error: the share of wrong answers, or of wrong decisions (the Hamming loss). Confidence is only as good as the
probabilities, so give calibrated ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.calibration import checked_probabilities, known_targets

MAX_POINTS = 200  # of a curve in a report


class ConfidenceThreshold(NamedTuple):
    """The minimum confidence of answered clips, with the share of clips answered and the share of these that is wrong,
    on validation."""

    threshold: float
    coverage: float
    risk: float


def confidence_of(probabilities: np.ndarray, decisions: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """The model's confidence in its answer for each clip, float64 `[clips]`.

    Args:
        probabilities: float64 `[clips, classes]`.
        decisions: int8 `[clips, classes]`.
    """
    probabilities, decided = np.asarray(probabilities, dtype=np.float64), np.asarray(decisions) > 0
    if labels.is_multi_label:
        return np.where(decided, probabilities, 1 - probabilities).mean(axis=1)
    return np.where(decided, probabilities, 0).sum(axis=1)


def risk_coverage(
    probabilities: np.ndarray, decisions: np.ndarray, targets: np.ndarray, labels: LabelSpace
) -> dict[str, Any]:
    """The risk on the most confident clips, from one clip to all (El-Yaniv and Wiener 2010).

    Clips without known labels do not count. Clips of equal confidence are added together.

    Returns:
        coverage, risk, threshold: lists of up to 200 points: the share of clips answered, its risk, and the lowest
            confidence in it.
        aurc: area under the curve, the mean risk over all coverages (Geifman and El-Yaniv 2017, arXiv 1705.08500).
        best_aurc: the AURC if all right answers were more confident than all wrong ones. If confidence carried no
            information, AURC would be the risk at full coverage.
        num: number of clips. If it is 0, all others are empty or None.

    Raises:
        InputError: shapes that do not match, or numbers that are not probabilities.
    """
    confidence, losses = _confidence_and_losses(probabilities, decisions, targets, labels)
    if not len(losses):
        return {"coverage": [], "risk": [], "threshold": [], "aurc": None, "best_aurc": None, "num": 0}
    coverage, risk, threshold = _curve(confidence, losses)
    shown = np.unique(np.linspace(0, len(coverage) - 1, min(MAX_POINTS, len(coverage))).round().astype(np.int64))
    return {
        "coverage": coverage[shown].tolist(),
        "risk": risk[shown].tolist(),
        "threshold": threshold[shown].tolist(),
        "aurc": _area(coverage, risk),
        "best_aurc": _area(*_curve(-losses, losses)[:2]),
        "num": len(losses),
    }


def check_selective(risk: float | None, coverage: float | None) -> None:
    """Raises InputError unless exactly one of the two is given, in its range; see `choose_confidence`."""
    given = [one for one in (risk, coverage) if one is not None]
    if len(given) != 1 or not 0 <= given[0] <= 1 or coverage == 0:
        raise InputError(
            f"Selective prediction needs a risk from 0 to 1, or a coverage above 0 up to 1; found risk {risk} and "
            f"coverage {coverage}: give one of the two"
        )


def choose_confidence(
    probabilities: np.ndarray,
    decisions: np.ndarray,
    targets: np.ndarray,
    labels: LabelSpace,
    *,
    risk: float | None = None,
    coverage: float | None = None,
) -> ConfidenceThreshold:
    """The confidence below which to answer "don't know", for the largest coverage at a risk, or the lowest risk at a
    coverage. Choose it on validation clips, never on the clips that are evaluated.

    It is halfway between the confidences of two clips, so that it does not depend on a single clip.

    Args:
        risk: at most this share of the answers may be wrong, 0 to 1.
        coverage: at least this share of the clips must be answered, above 0 up to 1.

    Raises:
        InputError: both or neither are given, or out of range; no labeled clips, or a risk that cannot be reached.
    """
    check_selective(risk, coverage)
    confidence, losses = _confidence_and_losses(probabilities, decisions, targets, labels)
    if not len(losses):
        raise InputError("No validation clip has a known label, so there is nothing to choose a confidence on")
    coverages, risks, thresholds = _curve(confidence, losses)
    if risk is not None:
        fits = np.flatnonzero(risks <= risk + 1e-12)
        if not fits.size:
            raise InputError(
                f"No confidence threshold keeps the risk on validation at {risk:g}: the lowest risk is "
                f"{risks.min():.3f}, with {coverages[risks.argmin()]:.1%} of {len(losses):,} clips answered; give a "
                "risk of at least that"
            )
        place = int(fits[-1])
    else:
        fits = np.flatnonzero(coverages >= coverage - 1e-12)
        largest_first = fits[::-1]  # among equal risks, choose the largest coverage
        place = int(largest_first[risks[largest_first].argmin()])
    below = thresholds[place + 1] if place + 1 < len(thresholds) else 0.0
    return ConfidenceThreshold(float((thresholds[place] + below) / 2), float(coverages[place]), float(risks[place]))


def answered_facts(
    probabilities: np.ndarray, decisions: np.ndarray, targets: np.ndarray, labels: LabelSpace, threshold: float
) -> dict[str, Any]:
    """The effect of a threshold chosen on validation on other clips, ready for JSON.

    Returns:
        threshold, num (clips with a known label), num_answered, coverage, risk (of answered clips; None if there are
        none), and risk_of_all, the risk if all clips were answered.
    """
    confidence, losses = _confidence_and_losses(probabilities, decisions, targets, labels)
    answered = losses[confidence >= threshold]
    return {
        "threshold": float(threshold),
        "num": len(losses),
        "num_answered": len(answered),
        "coverage": len(answered) / len(losses) if len(losses) else None,
        "risk": float(answered.mean()) if len(answered) else None,
        "risk_of_all": float(losses.mean()) if len(losses) else None,
    }


def _confidence_and_losses(
    probabilities: np.ndarray, decisions: np.ndarray, targets: np.ndarray, labels: LabelSpace
) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and loss of each clip with a known label, both float64 `[clips]`."""
    probabilities, targets = checked_probabilities(probabilities, targets, labels)
    decided = np.asarray(decisions) > 0
    if decided.shape != probabilities.shape:
        raise InputError(f"Found decisions of shape {decided.shape} for probabilities of {probabilities.shape}")
    known = known_targets(targets, labels)
    is_known = ~np.isnan(known)
    rows = is_known.any(axis=1)
    wrong = (decided != (known == 1)) & is_known
    if labels.is_multi_label:
        losses = wrong[rows].sum(axis=1) / is_known[rows].sum(axis=1)
    else:
        losses = wrong[rows].any(axis=1).astype(np.float64)
    return confidence_of(probabilities, decided, labels)[rows], losses


def _curve(confidence: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coverage, risk and lowest confidence at each possible threshold, most confident first."""
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence = confidence[order]
    ends = np.flatnonzero(np.append(np.diff(sorted_confidence) < 0, True))
    counts = ends + 1
    return counts / len(losses), np.cumsum(losses[order])[ends] / counts, sorted_confidence[ends]


def _area(coverage: np.ndarray, risk: np.ndarray) -> float:
    return float((np.diff(coverage, prepend=0.0) * risk).sum())
