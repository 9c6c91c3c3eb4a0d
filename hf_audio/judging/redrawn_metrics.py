"""All metrics of many bootstrap resamples at once, for intervals and comparisons.

A resample, called a set here, is given by how often it contains each group. Decisions are counted per group once. Clips
are sorted once per class; the ranking metrics of a set then need only sums over groups between neighboring positives,
which are products with a sparse matrix. The results equal those of `hf_audio.metrics` on copied clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import rankdata

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError

DECISION_METRICS = ("accuracy", "f1_micro", "f1_macro", "f1_samples", "hamming_loss")
RANKING_METRICS = ("mean_average_precision", "roc_auc_macro")
METRICS = (*DECISION_METRICS, "lrap", *RANKING_METRICS)
OF_CLASSES = ("precision", "recall", "f1", "average_precision", "roc_auc")
# Memory for a chunk of sets: intervals of a million clips need no more than those of a thousand.
CHUNK_BYTES = 48 << 20


class Values(NamedTuple):
    """Metrics of several sets; NaN if undefined.

    Attributes:
        metrics: float64 `[sets]` by name.
        per_class: float64 `[sets, classes]` for each of OF_CLASSES.
    """

    metrics: dict[str, np.ndarray]
    per_class: dict[str, np.ndarray]


class RedrawnMetrics:
    """The metrics of one model on sets of groups.

    Args:
        probabilities: float `[clips, classes]`.
        decisions: 0 or 1, `[clips, classes]`.
        targets: `[clips, classes]`, NaN where unknown.
        groups: int64 `[clips]`, from 0.
        ranked: whether to compute RANKING_METRICS, which take most of the time.

    Raises:
        InputError: shapes that differ, no clips, or scores that are not finite.
    """

    def __init__(
        self,
        probabilities: np.ndarray,
        decisions: np.ndarray,
        targets: np.ndarray,
        labels: LabelSpace,
        groups: np.ndarray,
        *,
        ranked: bool = True,
    ) -> None:
        probabilities = np.asarray(probabilities, dtype=np.float64)
        decisions, targets, groups = np.asarray(decisions), np.asarray(targets), np.asarray(groups)
        _check(probabilities, decisions, targets, labels, groups)
        self.labels, self.num_groups = labels, int(groups.max()) + 1
        known = ~np.isnan(targets)
        true = (targets > 0.5) & known
        self.support = true.sum(axis=0)
        self._sums = _sums_of_groups(probabilities, decisions > 0, true, known, groups, self.num_groups)
        classes = range(len(labels)) if ranked else ()
        self._rankings = [
            _Ranking.of_class(probabilities[:, one], true[:, one], known[:, one], groups, self.num_groups)
            for one in classes
        ]
        self.num_groups_with = _num_groups_with(true, groups)

    def of(self, counts: np.ndarray) -> Values:
        """Metrics of sets, given by `counts` `[sets, groups]`: how often each contains each group."""
        counts = np.asarray(counts, dtype=np.float64)
        found = _of_decisions(counts @ self._sums, len(self.labels))
        if self._rankings:
            transposed = np.ascontiguousarray(counts.T)
            ranked = [one.of(transposed) for one in self._rankings]
            for place, (name, mean) in enumerate(zip(OF_CLASSES[3:], RANKING_METRICS, strict=True)):
                found.per_class[name] = np.stack([one[place] for one in ranked], axis=1)
                found.metrics[mean] = _mean_of_defined(found.per_class[name])
        return found

    def of_all(self) -> Values:
        """Metrics of the original clips: one set, which contains each group once."""
        return self.of(np.ones((1, self.num_groups)))

    def of_each_group(self) -> Values:
        """Metrics of each group on its own, with one set per group: all except RANKING_METRICS."""
        return _of_decisions(self._sums, len(self.labels))

    def chunk(self) -> int:
        """The number of sets that `of` can process at once in CHUNK_BYTES of memory."""
        rows = max((one.num_rows for one in self._rankings), default=0)
        return max(1, CHUNK_BYTES // (8 * (4 * self.num_groups + 3 * rows + self._sums.shape[1])))


def drawn_counts(num_groups: int, num_draws: int, chunk: int, seed: int) -> Iterator[np.ndarray]:
    """How often each group occurs in sets drawn with replacement: chunks of int64 `[up to chunk, groups]`.

    The sets do not depend on the chunk size.
    """
    random = np.random.default_rng(seed)
    for first in range(0, num_draws, chunk):
        num = min(chunk, num_draws - first)
        drawn = random.integers(num_groups, size=(num, num_groups))
        drawn += np.arange(num)[:, None] * num_groups
        yield np.bincount(drawn.ravel(), minlength=num * num_groups).reshape(num, num_groups)


def _check(
    probabilities: np.ndarray, decisions: np.ndarray, targets: np.ndarray, labels: LabelSpace, groups: np.ndarray
) -> None:
    shapes = {probabilities.shape, decisions.shape, targets.shape}
    if shapes != {(len(groups), len(labels))} or not len(groups):
        raise InputError(
            f"Found scores, decisions and targets of shapes {probabilities.shape}, {decisions.shape} and "
            f"{targets.shape} with {len(groups)} groups; all must be for the same clips, at least one, and the "
            f"{len(labels)} classes"
        )
    if not np.isfinite(probabilities).all():
        raise InputError("The model's scores are not finite and cannot be compared: its training diverged")
    if groups.dtype.kind not in "iu" or groups.min() < 0:
        raise InputError(f"Groups must be integers from 0, found {groups.dtype} from {groups.min()}")


def _sums_of_groups(
    probabilities: np.ndarray,
    decided: np.ndarray,
    true: np.ndarray,
    known: np.ndarray,
    groups: np.ndarray,
    num_groups: int,
) -> np.ndarray:
    """All quantities that add up over clips, float64 `[groups, 7 + 3 · classes]`; columns as in `_of_decisions`."""
    num_classes = true.shape[1]
    sums, step = np.zeros((num_groups, 7 + 3 * num_classes)), max(1, CHUNK_BYTES // (64 * num_classes))
    for first in range(0, len(groups), step):
        rows = slice(first, first + step)
        columns = _columns_of_clips(probabilities[rows], decided[rows] & known[rows], true[rows], known[rows])
        of_group = _counted(groups[rows], np.arange(len(columns)), (num_groups, len(columns)))
        sums += of_group @ columns
    return sums


def _columns_of_clips(
    probabilities: np.ndarray, decided: np.ndarray, true: np.ndarray, known: np.ndarray
) -> np.ndarray:
    hits = decided & true
    is_known, wrong = known.any(axis=1), decided != true
    named = decided.sum(axis=1) + true.sum(axis=1)
    f1_of_clips = np.where(named > 0, 2 * hits.sum(axis=1) / np.maximum(named, 1), 1.0)
    ranking, is_ranked = _ranking_precision(probabilities, true, known)
    alone = (
        *(is_known, is_known & ~wrong.any(axis=1), is_known * f1_of_clips),
        *(known.sum(axis=1), wrong.sum(axis=1), is_ranked, ranking),
    )
    return np.column_stack((*alone, hits, decided, true)).astype(np.float64)


def _of_decisions(sums: np.ndarray, num_classes: int) -> Values:
    judged, right, f1_of_clips, pairs, wrong, ranked, ranking = sums[:, :7].T
    hits, decided, support = np.split(sums[:, 7:], 3, axis=1)
    occurs = support > 0
    f1 = np.where(occurs, 2 * hits / np.maximum(decided + support, 1), np.nan)
    totals = decided.sum(axis=1) + support.sum(axis=1)
    return Values(
        {
            "accuracy": _ratio(right, judged),
            "f1_micro": np.where(totals > 0, 2 * hits.sum(axis=1) / np.maximum(totals, 1), 0.0),
            "f1_macro": _mean_of_defined(f1),
            "f1_samples": _ratio(f1_of_clips, judged),
            "hamming_loss": _ratio(wrong, pairs),
            "lrap": _ratio(ranking, ranked),
        },
        {
            "precision": np.where(occurs, hits / np.maximum(decided, 1), np.nan),
            "recall": np.where(occurs, hits / np.maximum(support, 1), np.nan),
            "f1": f1,
        },
    )


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the defined classes of `[sets, classes]`; NaN if none is defined."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1))


def _ranking_precision(probabilities: np.ndarray, true: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each clip's label ranking average precision, and whether it counts (see `ranking_scores`)."""
    counts = true.any(axis=1) & (known.all(axis=1) | (known & ~true).any(axis=1))
    places = rankdata(np.where(known, -probabilities, np.inf), method="max", axis=1)
    places_among_true = rankdata(np.where(true, -probabilities, np.inf), method="max", axis=1)
    precision = np.where(true, places_among_true / places, 0.0).sum(axis=1) / np.maximum(true.sum(axis=1), 1)
    return np.where(counts, precision, 0.0), counts


def _num_groups_with(true: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """int64 `[classes]`: the number of groups with a clip of each class."""
    clip, number = np.nonzero(true)
    pairs = np.unique(groups[clip] * true.shape[1] + number)
    return np.bincount(pairs % true.shape[1], minlength=true.shape[1])


class _Ranking(NamedTuple):
    """The clips of all groups, sorted by the score of one class, highest first.

    Attributes:
        positives: `[levels, groups]`, the number of clips of the class in each group at each level, a score that a clip
            of the class has.
        others: `[2 · levels + 1, groups]`, the number of other clips above the first level, at it, between it and the
            next, at that ...
    """

    positives: csr_array
    others: csr_array

    @classmethod
    def of_class(
        cls, scores: np.ndarray, true: np.ndarray, known: np.ndarray, groups: np.ndarray, num_groups: int
    ) -> _Ranking:
        levels, positive_level = np.unique(-scores[true], return_inverse=True)
        others = known & ~true
        rows = np.searchsorted(levels, -scores[others], "left") + np.searchsorted(levels, -scores[others], "right")
        return cls(
            _counted(positive_level, groups[true], (len(levels), num_groups)),
            _counted(rows, groups[others], (2 * len(levels) + 1, num_groups)),
        )

    @property
    def num_rows(self) -> int:
        return self.others.shape[0]

    def of(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Average precision and ROC AUC of sets, from counts `[groups, sets]`; NaN if undefined."""
        positives, others = self.positives @ counts, self.others @ counts
        np.cumsum(others, axis=0, out=others)
        above, up_to = others[0:-1:2], others[1::2]
        found = np.cumsum(positives, axis=0)
        num_positives = found[-1] if len(found) else np.zeros(counts.shape[1])
        precision = _ratio((positives * found / np.maximum(found + up_to, 1)).sum(axis=0), num_positives)
        lost = (positives * (above + up_to)).sum(axis=0) / 2
        pairs = num_positives * others[-1]
        return precision, np.where(pairs > 0, 1 - lost / np.maximum(pairs, 1), np.nan)


def _counted(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_array:
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
