"""Bootstrap confidence intervals of every metric, by resampling groups of clips with replacement.

Clips of one group (a recording, a track, an artist) say much of the same, so that redrawing clips one by one would call
numbers surer than they are. Field and Welsh, "Bootstrapping clustered data", J. R. Stat. Soc. B 69 (2007).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.redrawn_metrics import OF_CLASSES, RedrawnMetrics, drawn_counts


class Interval(NamedTuple):
    """A metric, and between which two numbers its true value lies.

    `value` is None where the metric is undefined; `low` and `high` also where all that it is of lies in one group,
    which says nothing of others.
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
    """Every metric of `classification_metrics` with its interval, of a bootstrap over groups.

    A class that no clip of a draw has is left out of the draw's averages over classes, as it is anywhere.

    Args:
        probabilities, decisions, targets: `[clips, classes]`; targets are NaN where unknown.
        groups: int64 `[clips]`, from 0 on; where no two clips share one, the draws are of clips.

    Returns:
        "metrics": an Interval of each; "per_class": of each class the Intervals of its precision, recall, f1,
        average_precision and roc_auc, and its "support"; "by": "group" or "clip"; "num_groups", "num_draws",
        "confidence".

    Raises:
        InputError: shapes differ, no clips, scores that are not finite, or settings that make no interval.
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


def mean_interval(
    values: np.ndarray, groups: np.ndarray, *, num_draws: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of any number that each clip has (a loss, an error), NaN where it has none, and its interval."""
    check_draws(num_draws, confidence)
    values, groups = np.asarray(values, dtype=np.float64), numbered(groups)
    if values.shape != groups.shape or not len(values):
        raise InputError(f"Found {values.shape} numbers of {groups.shape} clips; each clip needs one")
    has = ~np.isnan(values)
    num_groups = int(groups.max()) + 1
    sums = np.bincount(groups, np.where(has, values, 0.0), num_groups)
    columns = np.column_stack([sums, np.bincount(groups, has, num_groups)])
    chunk = max(1, (16 << 20) // (8 * num_groups))
    found = np.concatenate([counts @ columns for counts in drawn_counts(num_groups, num_draws, chunk, seed)])
    drawn = np.divide(found[:, 0], found[:, 1], out=np.full(num_draws, np.nan), where=found[:, 1] > 0)
    value = columns[:, 0].sum() / columns[:, 1].sum() if has.any() else np.nan
    return interval(value, drawn, len(np.unique(groups[has])), confidence)


def interval(value: float, drawn: np.ndarray, num_groups: int, confidence: float) -> Interval:
    """The expanded percentile interval of what was found in draws.

    Plain percentiles are too narrow where groups are few, by √(n - 1) / √n and by the normal instead of Student's
    quantiles; these percentiles lie further out by as much. Hesterberg, "What Teachers Should Know About the
    Bootstrap", The American Statistician 69 (2015).

    Args:
        value: of the clips as they are, NaN where undefined.
        drawn: float64 `[draws]`, NaN in draws where it is undefined.
        num_groups: that the metric is of.
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
    """Groups as numbers from 0 on without gaps, so that some of the clips can be judged like all of them."""
    return np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)


def drawn_by(groups: np.ndarray) -> str:
    """ "clip" where each clip is a group of its own, as where nothing is known of groups; else "group"."""
    return "clip" if len(np.unique(groups)) == len(groups) else "group"


def check_draws(num_draws: int, confidence: float) -> None:
    """Raises InputError where so many draws have no such quantiles."""
    if not 0.5 <= confidence < 1:
        raise InputError(f"A confidence must be at least 0.5 and below 1 (0.95 is usual), found {confidence}")
    fewest = int(np.ceil(4 / (1 - confidence)))
    if num_draws < fewest:
        raise InputError(
            f"Found {num_draws} draws; a confidence of {confidence:g} needs {fewest} or more (1000 is usual)"
        )


def _of_classes(
    redrawn: RedrawnMetrics, whole: dict[str, np.ndarray], parts: list[dict[str, np.ndarray]], confidence: float
) -> dict[str, dict[str, Any]]:
    """An interval reaches as far as the number of groups that have the class asks, which may be few of many."""
    drawn = {name: np.concatenate([one[name] for one in parts]) for name in OF_CLASSES}
    found: dict[str, dict[str, Any]] = {}
    for place, label in enumerate(redrawn.labels.names):
        num_groups = int(redrawn.num_groups_with[place])
        found[label] = {
            name: interval(whole[name][0, place], drawn[name][:, place], num_groups, confidence) for name in OF_CLASSES
        }
        found[label]["support"] = int(redrawn.support[place])
    return found
