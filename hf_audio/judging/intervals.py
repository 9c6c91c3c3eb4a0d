"""Bootstrap confidence intervals of every metric, by resampling groups of clips with replacement.

Clips of one group (a recording, a track, an artist) are similar, so resampling single clips would give intervals that
are too narrow. Field and Welsh, "Bootstrapping clustered data", J. R. Stat. Soc. B 69 (2007).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.redrawn_metrics import OF_CLASSES, RedrawnMetrics, drawn_counts


class Interval(NamedTuple):
    """A metric with its confidence interval.

    `value` is None if the metric is undefined. `low` and `high` are also None if all clips that determine the metric
    are in one group.
    """

    value: float | None
    low: float | None
    high: float | None


def intervals(
    probabilities: np.ndarray,
    decisions: np.ndarray,
    targets: np.ndarray,
    labels: LabelSpace,
    groups: np.ndarray,
    *,
    num_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """All metrics of `classification_metrics` with intervals from a bootstrap over groups.

    As usual, averages over classes leave out the classes that none of a draw's clips has.

    Args:
        probabilities, decisions, targets: `[clips, classes]`; targets are NaN where unknown.
        groups: int64 `[clips]`, from 0; if no two clips share a group, clips are resampled.

    Returns:
        "metrics": an Interval for each; "per_class": for each class, Intervals of precision, recall, f1,
        average_precision and roc_auc, and its "support"; "by": "group" or "clip"; "num_groups", "num_draws",
        "confidence".

    Raises:
        InputError: shapes that differ, no clips, scores that are not finite, or settings that give no interval.
    """
    check_draws(num_draws, confidence)
    groups = numbered(groups)
    redrawn = RedrawnMetrics(probabilities, decisions, targets, labels, groups)
    whole, parts = redrawn.of_all(), []
    for counts in drawn_counts(redrawn.num_groups, num_draws, redrawn.chunk(), seed):
        parts.append(redrawn.of(counts))
    return {
        "metrics": {
            name: interval(
                value[0], np.concatenate([one.metrics[name] for one in parts]), redrawn.num_groups, confidence
            )
            for name, value in whole.metrics.items()
        },
        "per_class": _of_classes(redrawn, whole.per_class, [one.per_class for one in parts], confidence),
        "by": drawn_by(groups),
        "num_groups": redrawn.num_groups,
        "num_draws": num_draws,
        "confidence": confidence,
    }


def interval(value: float, drawn: np.ndarray, num_groups: int, confidence: float) -> Interval:
    """The expanded percentile interval of bootstrap draws.

    With few groups, plain percentile intervals are too narrow by a factor of √(n - 1) / √n, and because they correspond
    to normal quantiles rather than Student's. These percentiles are widened to compensate. Hesterberg, "What Teachers
    Should Know About the Bootstrap", The American Statistician 69 (2015).

    Args:
        value: the metric of the original clips, NaN if undefined.
        drawn: float64 `[draws]`, NaN for draws where it is undefined.
        num_groups: the number of groups that determine the metric.
    """
    if np.isnan(value):
        return Interval(None, None, None)
    drawn = drawn[~np.isnan(drawn)]
    if num_groups < 2 or not len(drawn):
        return Interval(float(value), None, None)
    reach = np.sqrt(num_groups / (num_groups - 1)) * stats.t.ppf((1 + confidence) / 2, num_groups - 1)
    low, high = np.quantile(drawn, [stats.norm.cdf(-reach), stats.norm.cdf(reach)])
    return Interval(float(value), float(low), float(high))


def numbered(groups: np.ndarray) -> np.ndarray:
    """Renumbers groups from 0 without gaps, for a subset of the clips."""
    return np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)


def drawn_by(groups: np.ndarray) -> str:
    """ "clip" if each clip is its own group, as when groups are unknown; else "group"."""
    return "clip" if len(np.unique(groups)) == len(groups) else "group"


def check_draws(num_draws: int, confidence: float) -> None:
    """Raises InputError if the confidence is invalid, or needs more draws."""
    if not 0.5 <= confidence < 1:
        raise InputError(f"A confidence must be at least 0.5 and below 1 (0.95 is usual), found {confidence}")
    min_draws = int(np.ceil(4 / (1 - confidence)))
    if num_draws < min_draws:
        raise InputError(
            f"Found {num_draws} draws; a confidence of {confidence:g} needs at least {min_draws} (1000 is usual)"
        )


def _of_classes(
    redrawn: RedrawnMetrics, whole: dict[str, np.ndarray], parts: list[dict[str, np.ndarray]], confidence: float
) -> dict[str, dict[str, Any]]:
    """The intervals of each class, widened for the number of groups that have the class."""
    drawn = {name: np.concatenate([one[name] for one in parts]) for name in OF_CLASSES}
    found: dict[str, dict[str, Any]] = {}
    for place, label in enumerate(redrawn.labels.names):
        num_groups = int(redrawn.num_groups_with[place])
        found[label] = {
            name: interval(whole[name][0, place], drawn[name][:, place], num_groups, confidence) for name in OF_CLASSES
        }
        found[label]["support"] = int(redrawn.support[place])
    return found
