"""Draws a split from the training groups: every class on both sides if possible, and stratified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from scipy import sparse

from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.splits.groups import divide_groups, groups_and_counts, presence, union_and_counts
from hf_audio.errors import InputError
from hf_audio.terminal import named_logger

NUM_DRAWS = 16  # splits drawn; the one nearest to the class proportions is used
MANY_GROUPS = 5000  # above this number, iterative stratification takes minutes, and chance no longer matters
MAX_SOLVING_S = 60.0
MAX_NAMED = 6  # classes in a warning
INFEASIBLE = 2  # scipy's status for a proof that there is no solution

logger = named_logger(__name__)


def draw_split(
    training: pa.Table, labels: LabelSpace, split: str, fraction: float, seed: int, later: Sequence[str] = ()
) -> list[str]:
    """The groups that move from train to `split`, about `fraction` of all training groups.

    Every class is in training and test. A validation split lacks the classes without a group left for it, with a
    warning.

    Args:
        training: the training clips.
        labels: their classes.
        split: "test" or "validation".
        fraction: the fraction of the groups to draw.
        seed: the seed of the draw.
        later: splits that will be drawn from the remaining groups; each class leaves a group for them if it has enough.

    Raises:
        InputError: a class of a test split has only one group, or the groups of several classes cannot be separated.
    """
    groups, counts = groups_and_counts(training, labels)
    if len(groups) < 2:
        raise InputError(
            f"A {split} split cannot be drawn without leakage from the {len(groups)} training groups; add "
            f"recordings, give an official split, or set --{split}_fraction 0"
        )
    counts = counts[:, :-1]  # [groups, classes]
    num_groups_of = presence(counts)
    _check_single_groups(counts, groups, labels, split)
    free = np.flatnonzero(counts @ (num_groups_of == 1) == 0)  # the only group with a class stays in training
    if not len(free):
        raise InputError(
            f"A {split} split cannot be drawn: each of the {len(groups)} training groups is the only one with some "
            f"class; add recordings, or set --{split}_fraction 0"
        )
    counts = counts[free]
    num_draws = NUM_DRAWS if len(groups) < MANY_GROUPS else 1
    chosen = min(
        (_draw_groups(counts, fraction, seed + attempt) for attempt in range(num_draws)),
        key=lambda chosen: _imbalance(counts, chosen, fraction),
    )
    most = np.minimum(np.maximum(num_groups_of - 1 - len(later), 1), presence(counts))  # groups of each class
    if _lacking(counts, chosen, most).any():
        chosen = _covering(counts, chosen, most, labels, split, seed)
    return [groups[free[index]] for index in chosen]


def _draw_groups(counts: sparse.csr_array, fraction: float, seed: int) -> np.ndarray:
    """Indices of a stratified draw from groups, given their numbers of clips `[groups, classes]`."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
    from sklearn.model_selection import StratifiedShuffleSplit

    num_groups = counts.shape[0]
    num_drawn = max(1, round(fraction * num_groups))
    if (np.diff(counts.indptr) == 1).all():
        target = counts.indices  # the one class of each group
        num_classes = len(np.unique(target))
        num_drawn = min(max(num_drawn, num_classes), num_groups - num_classes)  # every class on both sides
        splitter = StratifiedShuffleSplit(1, test_size=num_drawn, random_state=seed)
    elif num_groups < MANY_GROUPS:  # Sechidis et al. 2011
        splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=num_drawn / num_groups, random_state=seed)
        target = (counts > 0).toarray().astype(int)
    else:
        return np.flatnonzero(divide_groups(union_and_counts(counts), [fraction, 1 - fraction], seed) == 0)
    return next(splitter.split(np.zeros((num_groups, 1)), target))[1]


def _lacking(counts: sparse.csr_array, chosen: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Which classes a draw lacks, or has more than `most` groups of, bool `[classes]`; no class without groups."""
    drawn = presence(counts[chosen])
    return (presence(counts) > 0) & ((drawn == 0) | (drawn > most))


def _covering(
    counts: sparse.csr_array, chosen: np.ndarray, most: np.ndarray, labels: LabelSpace, split: str, seed: int
) -> np.ndarray:
    """The draw with the fewest groups exchanged that has every class, and at most `most` groups of each.

    It has the same number of groups as before if possible, else as many as necessary. The solution is exact (integer
    programming): if there is none, no split of these groups holds every class.

    Raises:
        InputError: there is no solution.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    num_groups = counts.shape[0]
    was_chosen = np.zeros(num_groups)
    was_chosen[chosen] = 1.0
    # Exchanging a group costs 1 plus a small random number, so that another seed draws other groups
    cost = (1 - 2 * was_chosen) * (1 + 1e-3 * np.random.default_rng(seed).random(num_groups))
    holding = sparse.csr_array((counts > 0).T, dtype=float)  # [classes, groups]
    every_class = LinearConstraint(holding, np.minimum(presence(counts), 1), most)
    as_many = LinearConstraint(np.ones((1, num_groups)), len(chosen), len(chosen))
    one = {"integrality": np.ones(num_groups), "bounds": Bounds(0, 1), "options": {"time_limit": MAX_SOLVING_S}}
    for constraints in ([every_class, as_many], [every_class]):
        found = milp(cost, constraints=constraints, **one)
        if found.x is not None:
            return np.flatnonzero(found.x > 0.5)
    absent = labels.names[int(np.argmax(_lacking(counts, chosen, most)))]
    none = "exists" if found.status == INFEASIBLE else f"was found in {MAX_SOLVING_S:.0f} s"
    raise InputError(
        f"No {split} split {none} that has every class and leaves every class in training: the classes share too many "
        f"of the {num_groups} training groups, and {absent!r} would be missing on one side; add recordings of it, give "
        f"an official split, or set --{split}_fraction 0"
    )


def _imbalance(counts: sparse.csr_array, chosen: np.ndarray, fraction: float) -> float:
    """How far a draw's share of each class is from `fraction`; classes that it lacks or takes completely weigh most."""
    of_draw_and_all = np.zeros((2, counts.shape[0]))
    of_draw_and_all[0, chosen] = of_draw_and_all[1] = 1
    drawn, totals = of_draw_and_all @ counts  # one product is faster than selecting rows of a sparse array
    shares = drawn[totals > 0] / totals[totals > 0]
    return float(np.abs(shares - fraction).sum() + 10 * ((shares == 0) | (shares == 1)).sum())


def _check_single_groups(counts: sparse.csr_array, groups: list[str], labels: LabelSpace, split: str) -> None:
    """Refuses to draw a test split if a class has only one group; for validation it warns."""
    single = np.flatnonzero(presence(counts) == 1)
    if not len(single):
        return
    names = [labels.names[index] for index in single]
    only = groups[int(counts[:, [single[0]]].nonzero()[0][0])]
    if split == "validation":
        logger.warning(
            "No group of %s is left for the validation split, which will lack the class; add recordings of it, or set "
            "--validation_fraction 0",
            ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more classes" * (len(names) > MAX_NAMED)),
        )
        return
    raise InputError(
        f"Class {names[0]!r} has one group, {only!r}, so it cannot be in both train and {split} without leakage; add "
        f"recordings of it, give an official split, or set --{split}_fraction 0"
    )
