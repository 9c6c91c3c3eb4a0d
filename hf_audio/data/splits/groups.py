"""Draws whole groups: divided among parts with given shares of each class, one share of them, or at random.

Drawing a split, with every class on both sides, is in `drawing.py`, which uses these functions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from scipy import sparse

from hf_audio.data.index.columns import names_in, places_of
from hf_audio.data.index.labels import LabelSpace

MAX_DRAWS = 20


def groups_and_counts(clips: pa.Table, labels: LabelSpace) -> tuple[list[str], sparse.csr_array]:
    """Group names, sorted, and their numbers of clips per class, `[groups, classes + 1]`; the last column is the total.

    Sparse, because with two million groups and 527 classes nearly all counts are zero.
    """
    groups = names_in(clips["group"])
    row_of_clip = places_of(clips["group"], groups)
    clip_of_label, label = labels.places(clips["labels"])
    pairs = clip_of_label * len(labels) + label  # already sorted
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # a label counts once per clip
    rows = np.concatenate([row_of_clip[pairs // len(labels)], row_of_clip])
    columns = np.concatenate([pairs % len(labels), np.full(len(clips), len(labels))])
    shape = (len(groups), len(labels) + 1)
    counts = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    counts.sum_duplicates()  # scipy 1.13 does not, so each clip of a group would count as a group
    return groups, counts


def divide_groups(counts: sparse.csr_array, shares: Sequence[float], seed: int) -> np.ndarray:
    """The part of each group, so that each part gets about its share of every column of counts `[groups, columns]`.

    Greedy, starting with groups that hold the largest part of a column: each group goes where the sum of squared
    differences from the shares, each divided by its share, grows least. No part stays empty. The time is proportional
    to the number of nonzero counts.
    """
    num_groups, num_columns = counts.shape
    totals = counts.sum(axis=0)
    held_by = sparse.csr_array(counts * (1 / np.where(totals > 0, totals, 1)))
    # the number of groups is divided by the same shares
    held_by = sparse.csr_array(sparse.hstack([held_by, np.full((num_groups, 1), 1 / num_groups)]))
    wanted, shuffled = np.array(shares)[:, None], np.random.default_rng(seed).permutation(num_groups)
    order = shuffled[np.argsort(-held_by.max(axis=1).toarray().ravel()[shuffled], kind="stable")]
    parts, held = np.zeros(num_groups, dtype=np.int64), np.zeros((len(shares), num_columns + 1))
    for group in order:
        its = slice(held_by.indptr[group], held_by.indptr[group + 1])
        columns, its_shares = held_by.indices[its], held_by.data[its]
        growth = (2 * (held[:, columns] - wanted) @ its_shares + (its_shares**2).sum()) / wanted[:, 0]
        parts[group] = growth.argmin()
        held[parts[group], columns] += its_shares
    weights = held_by.sum(axis=1)
    for part in range(len(shares)):
        if not (parts == part).any():
            sizes = np.bincount(parts, minlength=len(shares))
            lightest = min(np.flatnonzero(sizes[parts] > 1), key=lambda group: weights[group])
            parts[lightest] = part
    return parts


def draw_share(counts: np.ndarray, fraction: float, seed: int = 0) -> list[int]:
    """Draws about `fraction` of the groups so that each class keeps about that share of its clips, and at least one.

    Groups are drawn one at a time, always from the class that lacks most of its share, rarest classes first. If there
    are more classes than groups to draw, more groups are drawn. The result depends on the seed only.

    Args:
        counts: int `[groups, classes]`, the number of clips of each class in a group.
        fraction: the fraction of the groups to draw.
        seed: the seed of the draw.

    Returns:
        Indices of the groups, sorted.
    """
    # Clips without any label are a class of their own
    counts = np.concatenate([counts, counts.sum(axis=1, keepdims=True) == 0], axis=1)
    counts = counts[:, counts.sum(axis=0) > 0]
    totals, held = counts.sum(axis=0), np.zeros(counts.shape[1])
    order = np.random.default_rng(seed).permutation(len(counts))[::-1]
    waiting = [[int(group) for group in order if counts[group, index]] for index in range(len(totals))]
    chosen: set[int] = set()
    while len(chosen) < round(fraction * len(counts)) or not held.all():
        lacking = 1 - held / (fraction * totals)
        index = min((index for index, left in enumerate(waiting) if left), key=lambda i: (-lacking[i], totals[i]))
        group = waiting[index].pop()
        if group not in chosen:
            chosen.add(group)
            held += counts[group]
    return sorted(chosen)


def draw_at_random(groups: np.ndarray, targets: np.ndarray, num_rows: int, seed: int) -> np.ndarray:
    """Which rows are drawn, bool `[rows]`: about `num_rows`, from random whole groups, regardless of their classes.

    It is the first of up to MAX_DRAWS draws that leaves a row of every class.

    Args:
        groups: `[rows]`, the group of each row.
        targets: float `[rows, classes]`, above 0 if a row has a class, NaN if that is unknown.
        num_rows: about how many rows to draw.
        seed: the seed of the draws.
    """
    random = np.random.default_rng(seed)
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    present = np.nansum(targets, axis=0) > 0
    for _ in range(MAX_DRAWS):
        order = random.permutation(len(sizes))
        reached = np.concatenate([[0], np.cumsum(sizes[order])])
        count = int(np.clip(np.abs(reached - num_rows).argmin(), 1, max(len(sizes) - 1, 1)))
        drawn = np.isin(numbers, order[:count])
        if (np.nansum(targets[~drawn], axis=0) > 0)[present].all():
            break
    return drawn


def union_and_counts(counts: sparse.csr_array) -> sparse.csr_array:
    """The counts used to stratify songs: which labels they have, and their numbers of clips."""
    return sparse.csr_array(sparse.hstack([counts > 0, counts], dtype=float))


def presence(counts: sparse.csr_array) -> np.ndarray:
    """The number of groups with each class."""
    return np.bincount(counts.indices, minlength=counts.shape[1])
