"""Splits that cannot leak: every group (song, recording, speaker) is in one split only.

Official splits and folds are respected; what is missing is drawn from the groups, stratified by their labels, and
checked again before anything is trained.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from hf_audio.data.index import SPLITS, Clip
from hf_audio.data.labels import LabelSpace
from hf_audio.errors import InputError

NUM_DRAWS = 16  # splits drawn, of which the one nearest to the class proportions is kept


def assign_splits(
    clips: Sequence[Clip],
    labels: LabelSpace,
    *,
    fold: str | None = None,
    test_groups: Sequence[str] | None = None,
    test_fraction: float = 0.15,
    validation_fraction: float = 0.15,
    seed: int = 0,
) -> list[Clip]:
    """Gives every clip its split: "train", "validation" or "test".

    Args:
        clips: the index; `split` may hold official splits, names of folds, or None.
        labels: its label space.
        fold: the official fold to test on, where the corpus has folds.
        test_groups: groups to test on, instead of any other test split.
        test_fraction, validation_fraction: shares of the groups to draw where there is no such split; 0 for none.
        seed: seed of what is drawn.

    Raises:
        InputError: a group in two splits, an unknown fold or group, a class that cannot be split or is not in training.
    """
    clips = _official(list(clips), fold, test_groups)
    check_disjoint((clip.group, clip.split) for clip in clips if clip.split)
    clips = [dataclasses.replace(clip, split=clip.split or "train") for clip in clips]
    for split, fraction in (("test", test_fraction), ("validation", validation_fraction)):
        if fraction > 0 and not any(clip.split == split for clip in clips):
            clips = _draw(clips, labels, split, fraction, seed)
    check_disjoint((clip.group, clip.split) for clip in clips)
    _check_training(clips, labels)
    return clips


def check_disjoint(groups_and_splits: Iterable[tuple[str, str]]) -> None:
    """Raises InputError naming the first group that is in two splits."""
    split_of: dict[str, str] = {}
    for group, split in groups_and_splits:
        first = split_of.setdefault(group, split)
        if first != split:
            raise InputError(
                f"Group {group!r} is in two splits, {first} and {split}: its clips would be known before the test; "
                "move all of its clips to one split"
            )


def _official(clips: list[Clip], fold: str | None, test_groups: Sequence[str] | None) -> list[Clip]:
    """The clips with `split` None, or one of SPLITS as the corpus or the user says."""
    named = {clip.split for clip in clips if clip.split}
    folds = sorted(named - set(SPLITS))
    if folds and named & set(SPLITS):
        raise InputError(
            f"The split column mixes {', '.join(sorted(named))}; use train, validation, test or names of folds"
        )
    if test_groups:
        unknown = sorted(set(test_groups) - {clip.group for clip in clips})
        if unknown:
            known = sorted({clip.group for clip in clips})
            raise InputError(f"--test_groups {unknown[0]} is no group of this corpus; there are {_some(known)}")
        return [dataclasses.replace(clip, split="test" if clip.group in test_groups else None) for clip in clips]
    if folds:
        if fold not in folds:
            found = f"--fold {fold} is none of them" if fold else "choose the one to test on with --fold"
            raise InputError(f"This corpus has the official folds {_some(folds)}; {found}, e.g. --fold {folds[0]}")
        return [dataclasses.replace(clip, split="test" if clip.split == fold else None) for clip in clips]
    if fold:
        raise InputError(f"--fold {fold} was given but the corpus has no folds; try --test_groups, or leave it out")
    return clips


def _draw(clips: list[Clip], labels: LabelSpace, split: str, fraction: float, seed: int) -> list[Clip]:
    """Moves whole groups, about `fraction` of those in train, from train to `split`."""
    members: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.split == "train":
            members[clip.group].append(clip)
    groups = sorted(members)
    # [groups, classes]: how many clips of each class a group holds
    counts = np.stack(
        [sum(labels.multi_hot(labels.indices(clip.labels)) for clip in members[group]) for group in groups]
    )
    _check_splittable(counts > 0, groups, labels, split, fraction)

    best = min(
        (_draw_groups(counts > 0, fraction, seed + attempt) for attempt in range(NUM_DRAWS)),
        key=lambda chosen: _imbalance(counts, chosen, fraction),
    )
    absent = labels.names[int(np.argmin(counts[best].sum(axis=0)))]
    if counts[best].sum(axis=0).min() == 0 and (counts > 0).sum(axis=0).min() > 0:
        raise InputError(
            f"No group-disjoint {split} split with {fraction:.0%} of {len(groups)} groups holds class {absent!r}; add "
            f"recordings of it, raise --{split}_fraction, or give an official split"
        )
    moved = {groups[index] for index in best}
    return [dataclasses.replace(clip, split=split) if clip.group in moved else clip for clip in clips]


def _draw_groups(presence: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Indices of a stratified draw from groups, given which classes each has: bool `[groups, classes]`."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
    from sklearn.model_selection import StratifiedShuffleSplit

    rows = np.zeros((len(presence), 1))
    num_drawn = max(1, round(fraction * len(presence)))
    if (presence.sum(axis=1) == 1).all():
        num_classes = int(presence.any(axis=0).sum())
        num_drawn = min(max(num_drawn, num_classes), len(presence) - num_classes)  # every class on both sides
        splitter, target = StratifiedShuffleSplit(1, test_size=num_drawn, random_state=seed), presence.argmax(axis=1)
    else:  # Sechidis et al. 2011
        splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=num_drawn / len(presence), random_state=seed)
        target = presence.astype(int)
    return next(splitter.split(rows, target))[1]


def _imbalance(counts: np.ndarray, chosen: np.ndarray, fraction: float) -> float:
    """How far a draw's share of each class is from `fraction`; a class it lacks, or takes whole, weighs most."""
    totals = counts.sum(axis=0)
    shares = counts[chosen].sum(axis=0)[totals > 0] / totals[totals > 0]
    return float(np.abs(shares - fraction).sum() + 10 * ((shares == 0) | (shares == 1)).sum())


def _check_splittable(presence: np.ndarray, groups: list[str], labels: LabelSpace, split: str, fraction: float) -> None:
    for name, has in zip(labels.names, presence.T, strict=True):
        if has.sum() == 1:
            only = groups[int(has.argmax())]
            raise InputError(
                f"Class {name!r} has one group, {only!r}, so it cannot be in both train and {split} without a leak; "
                f"add recordings of it, give an official split, or set --{split}_fraction 0"
            )


def _check_training(clips: Iterable[Clip], labels: LabelSpace) -> None:
    trained = {label for clip in clips if clip.split == "train" for label in clip.labels}
    untrained = [name for name in labels.names if name not in trained]
    if untrained:
        raise InputError(
            f"Class {untrained[0]!r} has no training clip, so it cannot be learnt ({len(untrained)} of {len(labels)} "
            "classes); move clips of it to train or take it out of the labels"
        )


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
