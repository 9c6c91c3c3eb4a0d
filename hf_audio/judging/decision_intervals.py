"""Intervals of decision metrics for many subsets of the clips, much faster than intervals of all metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_audio.data.index.labels import LabelSpace
from hf_audio.judging.intervals import Interval, interval, numbered
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.redrawn_metrics import RedrawnMetrics, drawn_counts


def decision_metrics_of(labels: LabelSpace) -> tuple[str, ...]:
    """The metrics for a subset of the clips, the main one first. Ranking metrics need more clips than a subset has."""
    return ("f1_micro", "f1_macro") if labels.is_multi_label else ("accuracy", "f1_macro")


def decision_intervals(
    judged: JudgedClips,
    probabilities: np.ndarray,
    decisions: np.ndarray,
    rows: np.ndarray,
    *,
    num_draws: int,
    confidence: float,
    seed: int,
) -> dict[str, Interval]:
    """The intervals of `decision_metrics_of` over some clips: `rows` of `[clips, classes]`, at least one."""
    redrawn = _redrawn(judged, probabilities, decisions, rows)
    names, whole = decision_metrics_of(judged.labels), redrawn.of_all().metrics
    draws = drawn_counts(redrawn.num_groups, num_draws, redrawn.chunk(), seed)
    drawn = [_some(redrawn.of(counts).metrics, names) for counts in draws]
    return {
        name: interval(whole[name][0], np.concatenate([one[name] for one in drawn]), redrawn.num_groups, confidence)
        for name in names
    }


def main_decision_metric(
    judged: JudgedClips, probabilities: np.ndarray, decisions: np.ndarray, rows: np.ndarray
) -> float | None:
    """The first of `decision_metrics_of` over some clips; None if it is undefined or there are no clips."""
    if not len(rows):
        return None
    name = decision_metrics_of(judged.labels)[0]
    value = float(_redrawn(judged, probabilities, decisions, rows).of_all().metrics[name][0])
    return None if np.isnan(value) else value


def _redrawn(judged: JudgedClips, probabilities: np.ndarray, decisions: np.ndarray, rows: np.ndarray) -> RedrawnMetrics:
    groups = numbered(judged.groups[rows])
    return RedrawnMetrics(
        probabilities[rows], decisions[rows], judged.targets[rows], judged.labels, groups, ranked=False
    )


def _some(metrics: dict[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: metrics[name] for name in names}
