"""Several models on the same clips: differences with intervals, tests of each pair, and mean ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError, unknown_name
from hf_audio.judging.intervals import check_draws, drawn_by, interval, numbered
from hf_audio.judging.paired_tests import bootstrap_p, holm, mcnemar
from hf_audio.judging.redrawn_metrics import METRICS, RANKING_METRICS, RedrawnMetrics, drawn_counts

Models = Mapping[str, tuple[np.ndarray, np.ndarray]]
SMALLER_IS_BETTER = ("hamming_loss",)


def compare(
    models: Models,
    targets: np.ndarray,
    labels: LabelSpace,
    groups: np.ndarray,
    *,
    metric: str,
    num_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Compares each pair of models by a paired bootstrap over groups and McNemar's test, and all by mean ranks.

    Both models of a pair are scored on the same draws, so clips that are hard for both do not hide a difference.

    Args:
        models: probabilities and decisions, `[clips, classes]`, by model name; two or more.
        targets: `[clips, classes]`, NaN where unknown.
        groups: int64 `[clips]`.
        metric: one of METRICS, to compare models by.

    Returns:
        "models": an Interval for each; "pairs": "first", "second", "difference" (Interval of first - second), "p",
        "p_holm", "better" (the name of the better one if p_holm < 1 - confidence, else None), and "mcnemar" as from
        `mcnemar`, with "p_clips_holm" and "p_groups_holm"; "ranks": see `mean_ranks`, None for two models;
        "metric", "by" ("group" or "clip"), "num_groups", "num_draws", "confidence". Holm's correction is over pairs.

    Raises:
        InputError: fewer than two models, an unknown metric, or an error of `intervals`.
    """
    check_draws(num_draws, confidence)
    _check(models, metric, min_models=2)
    groups = numbered(groups)
    redrawn = _redrawn(models, targets, labels, groups, ranked=metric in RANKING_METRICS)
    num_groups = int(groups.max()) + 1
    whole = {name: one.of_all().metrics[metric][0] for name, one in redrawn.items()}
    drawn = _drawn(redrawn, metric, num_groups, num_draws, seed)
    is_known = ~np.isnan(targets).all(axis=1)
    right = {name: _right(decisions, targets)[is_known] for name, (_, decisions) in models.items()}
    pairs = [
        {
            "first": first,
            "second": second,
            "difference": interval(whole[first] - whole[second], drawn[first] - drawn[second], num_groups, confidence),
            "p": bootstrap_p(drawn[first] - drawn[second], num_groups),
            "mcnemar": mcnemar(right[first], right[second], groups[is_known]),
        }
        for first, second in combinations(models, 2)
    ]
    _correct(pairs, metric, confidence)
    return {
        "metric": metric,
        "models": {name: interval(whole[name], drawn[name], num_groups, confidence) for name in models},
        "pairs": pairs,
        "ranks": _ranks(redrawn, metric, confidence) if len(models) > 2 else None,
        "by": drawn_by(groups),
        "num_groups": num_groups,
        "num_draws": num_draws,
        "confidence": confidence,
    }


def mean_ranks(
    models: Models,
    targets: np.ndarray,
    labels: LabelSpace,
    groups: np.ndarray,
    *,
    metric: str,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Ranks three or more models over groups, with Friedman's test and Nemenyi's critical difference.

    Within each group, models are ranked by their scores on its clips. RANKING_METRICS need many clips, so LRAP is used
    instead. Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7 (2006).

    Returns:
        "mean_ranks" by name, 1 is best; "critical_difference": by how much two mean ranks must differ; "together":
        lists of names that do not differ by that much, best first; "friedman_p": p of no difference between the models,
        None if no group ranks them; "metric", the one used within groups; "num_groups" that rank them; "num_left_out",
        groups in which the metric is undefined.

    Raises:
        InputError: fewer than three models, an unknown metric, shapes that differ.
    """
    _check(models, metric, min_models=3)
    return _ranks(_redrawn(models, targets, labels, numbered(groups), ranked=False), metric, confidence)


def _check(models: Models, metric: str, *, min_models: int) -> None:
    if len(models) < min_models:
        raise InputError(f"Found {len(models)} models ({', '.join(models)}); a comparison needs {min_models} or more")
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)


def _redrawn(
    models: Models, targets: np.ndarray, labels: LabelSpace, groups: np.ndarray, *, ranked: bool
) -> dict[str, RedrawnMetrics]:
    return {name: RedrawnMetrics(*scores, targets, labels, groups, ranked=ranked) for name, scores in models.items()}


def _drawn(
    redrawn: Mapping[str, RedrawnMetrics], metric: str, num_groups: int, num_draws: int, seed: int
) -> dict[str, np.ndarray]:
    """The metric of each draw, by model; the draws are the same for all models."""
    chunk, parts = min(one.chunk() for one in redrawn.values()), {name: [] for name in redrawn}
    for counts in drawn_counts(num_groups, num_draws, chunk, seed):
        for name, one in redrawn.items():
            parts[name].append(one.of(counts).metrics[metric])
    return {name: np.concatenate(values) for name, values in parts.items()}


def _right(decisions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """bool `[clips]`: whether all known classes of a clip are decided correctly."""
    return (((np.asarray(decisions) > 0) == (targets > 0.5)) | np.isnan(targets)).all(axis=1)


def _correct(pairs: list[dict[str, Any]], metric: str, confidence: float) -> None:
    """Adds p values corrected over all pairs, and which model is better."""
    for pair, p in zip(pairs, holm([one["p"] for one in pairs]), strict=True):
        pair["p_holm"] = p
        first_is_higher = (pair["difference"].value or 0) > 0
        higher, lower = ("first", "second") if first_is_higher else ("second", "first")
        better = lower if metric in SMALLER_IS_BETTER else higher
        pair["better"] = pair[better] if p is not None and p < 1 - confidence else None
    for name in ("p_clips", "p_groups"):
        for pair, p in zip(pairs, holm([one["mcnemar"][name] for one in pairs]), strict=True):
            pair["mcnemar"][f"{name}_holm"] = p


def _ranks(redrawn: Mapping[str, RedrawnMetrics], metric: str, confidence: float) -> dict[str, Any]:
    metric = "lrap" if metric in RANKING_METRICS else metric
    scores = np.stack([one.of_each_group().metrics[metric] for one in redrawn.values()], axis=1)
    has_all = ~np.isnan(scores).any(axis=1)
    scores = scores[has_all] if metric in SMALLER_IS_BETTER else -scores[has_all]
    names, num = list(redrawn), len(scores)
    found = {"metric": metric, "num_groups": num, "num_left_out": int((~has_all).sum())}
    if not num:
        return found | dict.fromkeys(("mean_ranks", "critical_difference", "friedman_p", "together"))
    ranks = stats.rankdata(scores, axis=1).mean(axis=0)
    quantile = stats.studentized_range.ppf(confidence, len(names), np.inf) / np.sqrt(2)
    critical = float(quantile * np.sqrt(len(names) * (len(names) + 1) / (6 * num)))
    differs = (scores != scores[:, :1]).any()
    return found | {
        "mean_ranks": dict(zip(names, ranks.tolist(), strict=True)),
        "critical_difference": critical,
        "friedman_p": float(stats.friedmanchisquare(*scores.T).pvalue) if num > 1 and differs else None,
        "together": _together(names, ranks, critical),
    }


def _together(names: Sequence[str], ranks: np.ndarray, critical: float) -> list[list[str]]:
    """The longest runs of two or more neighboring ranks that differ by at most the critical difference."""
    order = np.argsort(ranks, kind="stable")
    ends = np.searchsorted(ranks[order], ranks[order] + critical, side="right")
    starts = [start for start in range(len(order)) if start == 0 or ends[start] > ends[start - 1]]
    return [[names[one] for one in order[start : ends[start]]] for start in starts if ends[start] - start > 1]
