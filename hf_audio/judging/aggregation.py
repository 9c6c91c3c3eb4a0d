"""Aggregates window scores into clip scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError, unknown_name
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.metrics import choose_threshold, mean_of_clips

AGGREGATIONS = {
    "mean_logits": "sigmoid or softmax of the mean logits, as models are evaluated and published",
    "mean_probability": "mean of the windows' probabilities",
    "max": "the largest probability of any window: one window is enough for a class",
    "vote": "the share of windows that predict a class; the mean probability breaks ties, as one extra vote",
    "sum_normalized": "sum over windows, divided by the clip's largest (several labels only; IRMAS: Han et al. 2017)",
    "attention": "mean of probabilities that gives confident windows more weight (auto-pool: McFee et al. 2018)",
}
# These average over windows, so windows can have weights.
WEIGHABLE = ("mean_logits", "mean_probability", "vote", "sum_normalized", "attention")
MAX_SHARPNESS = 10.0


class _Windows(NamedTuple):
    """The input of an aggregation.

    Attributes:
        logits, probabilities: float64 `[windows, classes]`.
        clip: int64 `[windows]`, ascending.
        weights: float64 `[windows, 1]`, with mean 1 within each clip.
        counts: int64 `[clips, 1]`, the number of windows of each clip.
        labels: the classes.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    clip: np.ndarray
    weights: np.ndarray
    counts: np.ndarray
    labels: LabelSpace

    def mean(self, values: np.ndarray) -> np.ndarray:
        return mean_of_clips(values * self.weights, self.clip, len(self.counts))

    def max(self, values: np.ndarray) -> np.ndarray:
        return np.maximum.reduceat(values, np.cumsum(self.counts) - self.counts[:, 0], axis=0)


def clip_probabilities(
    judged: JudgedClips,
    aggregation: str = "mean_logits",
    *,
    window_weights: np.ndarray | None = None,
    vote_thresholds: np.ndarray | float | None = None,
    sharpness: float | None = None,
) -> np.ndarray:
    """A model's scores for each clip.

    All aggregations except `sum_normalized` give probabilities. In a single-label task these sum to 1 over classes.

    Args:
        aggregation: one of AGGREGATIONS.
        window_weights: float `[windows]`, the weight of each window within its clip, such as `time_weights`; None gives
            all windows the same weight.
        vote_thresholds: thresholds for windows, one or `[classes]`; None is 0.5. Only for `vote` with multi-label data.
        sharpness: how much more weight confident windows have: 0 gives the mean, large values approach the maximum;
            None is 1. Only for `attention`; `fit_sharpness` fits it on validation.

    Returns:
        float64 `[clips, classes]` in [0, 1].

    Raises:
        InputError: unknown aggregation; a setting that would have no effect; invalid weights.
    """
    require_aggregation(aggregation, judged.labels)
    _check_settings(judged.labels, aggregation, window_weights, vote_thresholds, sharpness)
    windows = _windows_of(judged, window_weights)
    if aggregation == "vote":
        return _vote(windows, 0.5 if vote_thresholds is None else vote_thresholds)
    if aggregation == "attention":
        return _attention(windows, 1.0 if sharpness is None else sharpness)
    return _WITHOUT_SETTINGS[aggregation](windows)


def require_aggregation(aggregation: str, labels: LabelSpace) -> None:
    """Raises InputError if there is no such aggregation, or it does not suit this kind of task."""
    if aggregation not in AGGREGATIONS:
        raise unknown_name("aggregation", aggregation, AGGREGATIONS)
    if aggregation == "sum_normalized" and not labels.is_multi_label:
        raise InputError("sum_normalized is for multi-label data; for single-label data, use mean_probability")


def fitted_settings(aggregation: str, validation: JudgedClips | None) -> dict[str, Any]:
    """The settings of an aggregation, fitted on validation, as keyword arguments of `clip_probabilities`.

    These are the sharpness of `attention`, and the window threshold of `vote` with multi-label data (best micro F1 over
    windows). Other aggregations have no settings. Without validation, the defaults of 1 and 0.5 apply.
    """
    if validation is None or not len(validation):
        return {}
    if aggregation == "attention":
        return {"sharpness": fit_sharpness(validation)}
    if aggregation == "vote" and validation.labels.is_multi_label:
        probabilities = validation.labels.probabilities(validation.window_logits)
        return {"vote_thresholds": choose_threshold(probabilities, validation.targets[validation.clip_of_window])}
    return {}


def fit_sharpness(validation: JudgedClips, *, window_weights: np.ndarray | None = None) -> float:
    """The sharpness of `attention` with the smallest log loss on validation clips.

    It is between 0 and MAX_SHARPNESS. It is 0 if each clip has one window, since then it has no effect.

    Raises:
        InputError: no clip has a known label.
    """
    if len(validation.window_logits) == len(validation):
        return 0.0
    windows, known = _windows_of(validation, window_weights), ~np.isnan(validation.targets)
    if not known.any():
        raise InputError("No validation clip has known labels, so attention cannot be fitted")
    true = validation.targets[known] > 0.5
    counts = np.ones_like(true) if validation.labels.is_multi_label else true

    def log_loss(sharpness: float) -> float:
        scores = _attention(windows, sharpness)[known]
        return -float(np.log(np.maximum(np.where(true, scores, 1 - scores)[counts], 1e-12)).mean())

    return float(minimize_scalar(log_loss, bounds=(0.0, MAX_SHARPNESS), method="bounded").x)


def _check_settings(labels: LabelSpace, aggregation: str, weights: object, thresholds: object, sharp: Any) -> None:
    """Raises InputError if a setting would have no effect."""
    if weights is not None and aggregation not in WEIGHABLE:
        raise InputError(f"Window weights have no effect on {aggregation}: use one of {', '.join(WEIGHABLE)}")
    if thresholds is not None and (aggregation != "vote" or not labels.is_multi_label):
        raise InputError(
            "Window thresholds have an effect only with the aggregation vote and multi-label data: leave them out"
        )
    if sharp is not None and aggregation != "attention":
        raise InputError(f"A sharpness has no effect on {aggregation}: leave it out, or use attention")
    if sharp is not None and not (np.isfinite(sharp) and sharp >= 0):
        raise InputError(f"Found a sharpness of {sharp}, expected 0 (mean) or more (toward the maximum)")


def _windows_of(judged: JudgedClips, weights: np.ndarray | None) -> _Windows:
    logits = np.asarray(judged.window_logits, dtype=np.float64)
    counts = np.bincount(judged.clip_of_window, minlength=len(judged))[:, None]
    if weights is None:
        relative = np.ones((len(logits), 1))
    else:
        weights = np.asarray(weights, dtype=np.float64).reshape(-1, 1)
        if len(weights) != len(logits) or not (np.isfinite(weights) & (weights >= 0)).all():
            raise InputError(
                f"Found {len(weights)} weights for {len(logits)} windows; each needs a weight of 0 or more"
            )
        means = mean_of_clips(weights, judged.clip_of_window, len(judged))
        if not (means > 0).all():
            raise InputError("All windows of a clip have weight 0: give at least one a weight above 0")
        relative = weights / means[judged.clip_of_window]
    probabilities = judged.labels.probabilities(logits)
    return _Windows(logits, probabilities, judged.clip_of_window, relative, counts, judged.labels)


def _mean_logits(windows: _Windows) -> np.ndarray:
    return windows.labels.probabilities(windows.mean(windows.logits))


def _mean_probability(windows: _Windows) -> np.ndarray:
    return windows.mean(windows.probabilities)


def _max(windows: _Windows) -> np.ndarray:
    largest = windows.max(windows.probabilities)
    return largest if windows.labels.is_multi_label else largest / largest.sum(axis=1, keepdims=True)


def _vote(windows: _Windows, thresholds: np.ndarray | float) -> np.ndarray:
    """(votes + mean probability) / (windows + 1): votes differ by at least 1, so the probability only breaks ties."""
    votes: np.ndarray
    if windows.labels.is_multi_label:
        votes = windows.probabilities >= thresholds
    else:
        votes = np.eye(len(windows.labels))[windows.probabilities.argmax(axis=1)]
    return (windows.mean(votes) * windows.counts + windows.mean(windows.probabilities)) / (windows.counts + 1)


def _sum_normalized(windows: _Windows) -> np.ndarray:
    sums = windows.mean(windows.probabilities)
    largest = sums.max(axis=1, keepdims=True)
    return np.divide(sums, largest, out=np.zeros_like(sums), where=largest > 0)


def _attention(windows: _Windows, sharpness: float) -> np.ndarray:
    """Weights e^(sharpness · logit) per class; in a single-label task one per window, from its top class's log-odds."""
    sure = windows.logits
    if not windows.labels.is_multi_label:
        top = windows.probabilities.max(axis=1, keepdims=True)
        sure = np.log(top / np.maximum(1 - top, 1e-12))
    sure = np.where(windows.weights > 0, sure, sure.min())
    sure = sharpness * (sure - windows.max(sure)[windows.clip])  # at most 0, so nothing overflows
    weights = np.exp(sure)
    return windows.mean(weights * windows.probabilities) / windows.mean(weights)


_WITHOUT_SETTINGS: dict[str, Callable[[_Windows], np.ndarray]] = {
    "mean_logits": _mean_logits,
    "mean_probability": _mean_probability,
    "max": _max,
    "sum_normalized": _sum_normalized,
}
