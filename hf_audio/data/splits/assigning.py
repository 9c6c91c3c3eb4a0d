"""Splits without leakage: every group (song, recording, speaker) is in one split only.

Official splits and folds are respected. Missing splits are drawn from whole groups, stratified by their labels, and
checked again before anything is trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.columns import (
    check_disjoint,
    groups_and_splits,
    is_one_of,
    names_in,
    of_split,
    places_of,
    untrained,
    with_split,
    with_values,
)
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import SPLITS
from hf_audio.data.splits.drawing import draw_split
from hf_audio.data.splits.groups import divide_groups, groups_and_counts, presence, union_and_counts
from hf_audio.data.splits.inner import with_inner_test
from hf_audio.errors import InputError


def assign_splits(
    clips: pa.Table,
    labels: LabelSpace,
    *,
    fold: str | None = None,
    num_folds: int | None = None,
    test_groups: Sequence[str] | None = None,
    inner_fold: tuple[int, int] | None = None,
    test_fraction: float = 0.15,
    validation_fraction: float = 0.15,
    validation_from: str = "train",
    test_to_train: float = 0.0,
    seed: int = 0,
) -> pa.Table:
    """Gives every clip its split: "train", "validation" or "test".

    Args:
        clips: the index; `split` may hold official splits, names of folds, or None.
        labels: the label space of the index.
        fold: the fold to test on, if the corpus has folds or folds are drawn; "3" finds "fold3" too.
        num_folds: number of folds to draw for a corpus without folds and splits, see `draw_folds`.
        test_groups: groups to test on instead of any other test split.
        inner_fold: (fold, folds): leave out the test split, and test on this fold out of `folds` folds of the training
            groups.
        test_fraction, validation_fraction: shares of the groups to draw for missing splits; 0 for none.
        validation_from: the official split whose groups validation is drawn from, "train" or "test".
        test_to_train: share of the official test split's groups to train on instead.
        seed: the seed of all draws.

    Raises:
        InputError: a group is in two splits, a fold or group is unknown, a class cannot be split or is not in training,
            or settings need a split that is missing.
    """
    shares = {"test": test_fraction, "validation": validation_fraction}
    _check_shares(shares)
    if test_groups and (fold or num_folds):
        raise InputError("--test_groups and --fold both set the test split; leave one of them out")
    if num_folds is not None:
        clips = draw_folds(clips, labels, num_folds, seed)
    has_test = "test" in names_in(clips["split"]) and not test_groups
    clips = _official(
        clips, fold, test_groups, "This corpus has the official" if num_folds is None else "There are the"
    )
    clips = with_values(clips, "split", pc.fill_null(clips["split"], "train"))
    check_disjoint(groups_and_splits(clips))  # before complete groups are moved
    if validation_from != "train" or test_to_train:
        _check_dividing(clips, has_test, validation_from, validation_fraction, test_to_train)
        from_test = validation_fraction if validation_from == "test" else 0.0
        clips = _with_divided_test(clips, labels, {"train": test_to_train, "validation": from_test}, seed)
    if inner_fold is not None:
        if "test" not in names_in(clips["split"]):
            clips = _with_drawn(clips, labels, {"test": test_fraction}, seed)
        clips = with_inner_test(clips, labels, inner_fold[1], inner_fold[0], seed)
    clips = _with_drawn(clips, labels, shares, seed)
    check_disjoint(groups_and_splits(clips))
    _check_training(clips, labels)
    return clips


def fold_names(clips: pa.Table) -> list[str]:
    """Names of the folds in the split column of an index, fold2 before fold10."""
    named = [name for name in names_in(clips["split"]) if name not in SPLITS]
    return sorted(named, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def draw_folds(clips: pa.Table, labels: LabelSpace, num_folds: int, seed: int = 0) -> pa.Table:
    """The clips with `split` "fold1" to "foldK": whole groups, each class spread as evenly as its groups allow.

    The same clips, number of folds and seed give the same folds, whatever the order of the clips.

    Raises:
        InputError: fewer than two folds, more than there are groups, a class with one group, or an official split.
    """
    official = names_in(clips["split"])
    if official:
        raise InputError(
            f"This corpus has the official splits {_some(official)}, so --num_folds cannot draw others; leave it "
            "out, or add --split random"
        )
    groups, counts = groups_and_counts(clips, labels)
    if not 2 <= num_folds <= len(groups):
        raise InputError(
            f"--num_folds {num_folds} cannot be drawn from {len(groups)} groups; expected 2 to {len(groups)}"
        )
    for name, present in zip(labels.names, presence(counts)[:-1], strict=True):
        if present == 1:
            raise InputError(
                f"Class {name!r} has only one group, so it cannot be in train and in the tested fold; add recordings "
                "of it or remove it from the labels"
            )
    parts = divide_groups(counts, [1 / num_folds] * num_folds, seed)
    names = pa.array([f"fold{number}" for number in range(1, num_folds + 1)])
    return with_values(clips, "split", names.take(pa.array(parts[places_of(clips["group"], groups)])))


def _official(clips: pa.Table, fold: str | None, test_groups: Sequence[str] | None, whose: str) -> pa.Table:
    """The clips with the split that the corpus or the user gives, one of SPLITS, or None."""
    named, folds = names_in(clips["split"]), fold_names(clips)
    if folds and len(folds) < len(named):
        raise InputError(
            f"The split column mixes {', '.join(named)}; use either train, validation and test, or names of folds"
        )
    if test_groups:
        known = names_in(clips["group"])
        unknown = sorted(set(test_groups).difference(known))
        if unknown:
            raise InputError(f"--test_groups {unknown[0]} is not a group of this corpus; it has {_some(known)}")
        return _with_groups(with_split(clips, None), "test", test_groups)
    if folds:
        tested = _find_fold(folds, fold)
        if tested is None:
            found = f"--fold {fold} is none of them" if fold else "choose the one to test on with --fold"
            raise InputError(f"{whose} folds {_some(folds)}; {found}, e.g. --fold {folds[0]}")
        return with_split(with_split(clips, None), "test", is_one_of(clips["split"], [tested]))
    if fold:
        raise InputError(
            f"--fold {fold} was given but the corpus has no folds; add --num_folds 5 to draw five, or leave it out"
        )
    return clips


def _find_fold(folds: Sequence[str], wanted: str | None) -> str | None:
    """The fold with that name, or else the only one with that number: 3, fold3 and Fold_03 are the same."""

    def number(name: str) -> str:
        return re.sub(r"^(fold)?[\s_-]*0*(?=.)", "", name.strip().casefold())

    if wanted is None or wanted in folds:
        return wanted
    same = [fold for fold in folds if number(fold) == number(str(wanted))]
    return same[0] if len(same) == 1 else None


def _check_shares(shares: dict[str, float]) -> None:
    for split, share in shares.items():
        if not 0 <= share < 1:
            raise InputError(f"--{split}_fraction must be at least 0 and below 1, found {share:g}: try 0.15")


def _check_dividing(
    clips: pa.Table, has_test: bool, validation_from: str, validation_fraction: float, test_to_train: float
) -> None:
    """Refuses settings for the official test split that cannot be applied."""
    if validation_from not in ("train", "test"):
        raise InputError(f"--validation_from {validation_from} is unknown; expected train or test")
    if not 0 <= test_to_train < 1:
        raise InputError(f"--test_to_train must be at least 0 and below 1, found {test_to_train:g}: try 0.3")
    flag = "--validation_from test" if validation_from == "test" else f"--test_to_train {test_to_train:g}"
    if not has_test:
        raise InputError(
            f"{flag} needs an official test split, and this corpus has none (drawn splits, folds and --test_groups "
            "do not count); leave it out"
        )
    if validation_from == "test":
        if "validation" in names_in(clips["split"]):
            raise InputError(
                "--validation_from test was given but the corpus has its own validation split; leave it out"
            )
        if not validation_fraction > 0:
            raise InputError(f"{flag} draws --validation_fraction of the test groups, which is 0; try 0.15")
        if test_to_train + validation_fraction >= 1:
            raise InputError(
                f"--test_to_train {test_to_train:g} and --validation_fraction {validation_fraction:g} leave nothing "
                "in the test split; give shares whose sum is below 1"
            )


def _with_groups(clips: pa.Table, split: str, groups: Iterable[str]) -> pa.Table:
    """The clips, with all clips of some groups moved to a split."""
    return with_split(clips, split, is_one_of(clips["group"], groups))


def _with_drawn(clips: pa.Table, labels: LabelSpace, shares: dict[str, float], seed: int) -> pa.Table:
    """The clips, with missing splits drawn from the training clips with these shares."""
    there = names_in(clips["split"])
    missing = [split for split, share in shares.items() if share > 0 and split not in there]
    for number, split in enumerate(missing, start=1):
        training = of_split(clips, "train")
        drawn = draw_split(training, labels, split, shares[split], seed, later=missing[number:])
        clips = _with_groups(clips, split, drawn)
    return clips


def _with_divided_test(clips: pa.Table, labels: LabelSpace, shares: dict[str, float], seed: int) -> pa.Table:
    """The clips, with these shares of the test groups moved to other splits."""
    groups_of = _divided_test(of_split(clips, "test"), labels, shares, seed)
    for split, groups in groups_of.items():
        clips = _with_groups(clips, split, groups)
    return clips


def _divided_test(test: pa.Table, labels: LabelSpace, shares: dict[str, float], seed: int) -> dict[str, list[str]]:
    """The test groups that go to each split, with these shares, and those that stay."""
    shares = {split: share for split, share in shares.items() if share > 0}
    shares["test"] = 1 - sum(shares.values())
    groups, counts = groups_and_counts(test, labels)
    if len(groups) < len(shares):
        raise InputError(
            f"The test split has {len(groups)} groups, too few to be divided among {' and '.join(shares)}; "
            "leave out --test_to_train and --validation_from test"
        )
    parts = divide_groups(union_and_counts(counts), list(shares.values()), seed)
    return {split: [groups[place] for place in np.flatnonzero(parts == part)] for part, split in enumerate(shares)}


def _check_training(clips: pa.Table, labels: LabelSpace) -> None:
    lacking = untrained(clips, labels.names)
    if lacking:
        raise InputError(
            f"Class {lacking[0]!r} has no training clip, so it cannot be learned ({len(lacking)} of {len(labels)} "
            "classes); move clips of it to train or remove it from the labels"
        )


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
