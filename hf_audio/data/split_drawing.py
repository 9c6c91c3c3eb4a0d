"""A split drawn from the training groups: every class on both sides where that can be, stratified beside that."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from hf_audio.data.group_drawing import divide_groups, groups_and_counts, presence, union_and_counts
from hf_audio.data.index import Clip
from hf_audio.data.labels import LabelSpace
from hf_audio.errors import InputError

NUM_DRAWS = 16  # splits drawn, of which the one nearest to the class proportions is kept
MANY_GROUPS = 5000  # from which iterative stratification takes minutes, and chance no longer matters
MOST_SOLVING_S = 60.0
INFEASIBLE = 2  # scipy's status where it is proven that there is no solution


def draw_split(
    clips: list[Clip], labels: LabelSpace, split: str, fraction: float, seed: int, later: Sequence[str] = ()
) -> list[Clip]:
    """Moves whole groups, about `fraction` of those in train, from train to `split`.

    Args:
        later: splits that are still to be drawn from what stays in train, which leaves a group of each class for them.

    Raises:
        InputError: a class has too few groups for all of these splits, or its groups cannot be parted.
    """
    groups, counts = groups_and_counts([clip for clip in clips if clip.split == "train"], labels)
    if len(groups) < 2:
        raise InputError(
            f"A {split} split cannot be drawn without a leak from the {len(groups)} training groups that are there; "
            f"add recordings, give an official split, or set --{split}_fraction 0"
        )
    counts = counts[:, :-1]  # [groups, classes]
    _check_splittable(counts, groups, labels, split, later)
    num_draws = NUM_DRAWS if len(groups) < MANY_GROUPS else 1
    chosen = min(
        (_draw_groups(counts, fraction, seed + attempt) for attempt in range(num_draws)),
        key=lambda chosen: _imbalance(counts, chosen, fraction),
    )
    most = np.maximum(presence(counts) - 1 - len(later), 0)  # of a class's groups
    if _lacking(counts, chosen, most).any():
        chosen = _covering(counts, chosen, most, labels, split, seed)
    moved = {groups[index] for index in chosen}
    return [dataclasses.replace(clip, split=split) if clip.group in moved else clip for clip in clips]


def _draw_groups(counts: sparse.csr_array, fraction: float, seed: int) -> np.ndarray:
    """Indices of a stratified draw from groups, given their clips of each class `[groups, classes]`."""
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
    """Which classes a draw lacks, or takes more than `most` groups of, `[classes]`; those of no group are in order."""
    drawn = presence(counts[chosen])
    return (presence(counts) > 0) & ((drawn == 0) | (drawn > most))


def _covering(
    counts: sparse.csr_array, chosen: np.ndarray, most: np.ndarray, labels: LabelSpace, split: str, seed: int
) -> np.ndarray:
    """The draw with the fewest groups exchanged that has every class, and no more than `most` groups of each.

    As many groups as before where that can be, else as many as it takes. It is an exact answer (integer programming),
    so that where there is none, no split of these groups holds every class.

    Raises:
        InputError: there is none.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    num_groups = counts.shape[0]
    was_chosen = np.zeros(num_groups)
    was_chosen[chosen] = 1.0
    # Exchanging a group costs 1, and a little by chance, so that another seed draws others
    cost = (1 - 2 * was_chosen) * (1 + 1e-3 * np.random.default_rng(seed).random(num_groups))
    holding = sparse.csr_array((counts > 0).T, dtype=float)  # [classes, groups]
    every_class = LinearConstraint(holding, np.minimum(presence(counts), 1), most)
    as_many = LinearConstraint(np.ones((1, num_groups)), len(chosen), len(chosen))
    one = {"integrality": np.ones(num_groups), "bounds": Bounds(0, 1), "options": {"time_limit": MOST_SOLVING_S}}
    for constraints in ([every_class, as_many], [every_class]):
        found = milp(cost, constraints=constraints, **one)
        if found.x is not None:
            return np.flatnonzero(found.x > 0.5)
    absent = labels.names[int(np.argmax(_lacking(counts, chosen, most)))]
    none = "exists" if found.status == INFEASIBLE else f"was found in {MOST_SOLVING_S:.0f} s"
    raise InputError(
        f"No {split} split {none} that holds every class and leaves every class to train on, whichever of the "
        f"{num_groups} training groups it takes, for classes share them: {absent!r} would be without; add recordings "
        f"of it, give an official split, or set --{split}_fraction 0"
    )


def _imbalance(counts: sparse.csr_array, chosen: np.ndarray, fraction: float) -> float:
    """How far a draw's share of each class is from `fraction`; a class it lacks, or takes whole, weighs most."""
    totals = counts.sum(axis=0)
    shares = counts[chosen].sum(axis=0)[totals > 0] / totals[totals > 0]
    return float(np.abs(shares - fraction).sum() + 10 * ((shares == 0) | (shares == 1)).sum())


def _check_splittable(
    counts: sparse.csr_array, groups: list[str], labels: LabelSpace, split: str, later: Sequence[str]
) -> None:
    """Refuse classes with fewer groups than there are splits that must have one."""
    wanted = ["train", split, *later]
    for index, (name, present) in enumerate(zip(labels.names, presence(counts), strict=True)):
        if not 0 < present < len(wanted):
            continue
        names = [groups[group] for group in counts[:, [index]].nonzero()[0]]
        has = f"one group, {names[0]!r}" if present == 1 else f"{present} groups, {', '.join(map(repr, names))}"
        splits = f"both train and {split}" if present == 1 else f"all of {', '.join(wanted)}"
        unset = split if present == 1 else later[-1]
        raise InputError(
            f"Class {name!r} has {has}, so it cannot be in {splits} without a leak; add recordings of it, give an "
            f"official split, or set --{unset}_fraction 0"
        )
