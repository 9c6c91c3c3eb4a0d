"""Whole groups divided among parts, each class in the shares that are asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from hf_audio.data.index import Clip
from hf_audio.data.labels import LabelSpace


def groups_and_counts(clips: Iterable[Clip], labels: LabelSpace) -> tuple[list[str], np.ndarray]:
    """Names of the groups, sorted, and how many clips of each class they hold, `[groups, classes + 1]`: last all."""
    members: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        members[clip.group].append(clip)
    groups = sorted(members)
    counts = np.zeros((len(groups), len(labels) + 1))
    for row, group in zip(counts, groups, strict=True):
        for clip in members[group]:
            row[labels.indices(clip.labels)] += 1
        row[-1] = len(members[group])
    return groups, counts


def divide_groups(counts: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """Which part each group goes to, so that of every column of counts `[groups, columns]` each part gets its share.

    Greedy, groups that hold most of a rare column first: each goes where the sum of squared differences from the
    shares, each divided by its share, grows least. No part stays empty.
    """
    held_by = np.concatenate([counts, np.ones((len(counts), 1))], axis=1)  # a share of the groups themselves, too
    held_by = held_by[:, held_by.sum(axis=0) > 0]
    held_by = held_by / held_by.sum(axis=0)
    wanted, shuffled = np.array(shares)[:, None], np.random.default_rng(seed).permutation(len(counts))
    order = shuffled[np.argsort(-held_by[shuffled].max(axis=1), kind="stable")]
    parts, held = np.zeros(len(counts), dtype=np.int64), np.zeros((len(shares), held_by.shape[1]))
    for group in order:
        growth = (2 * (held - wanted) @ held_by[group] + (held_by[group] ** 2).sum()) / wanted[:, 0]
        parts[group] = growth.argmin()
        held[parts[group]] += held_by[group]
    for part in range(len(shares)):
        if not (parts == part).any():
            sizes = np.bincount(parts, minlength=len(shares))
            lightest = min(np.flatnonzero(sizes[parts] > 1), key=lambda group: held_by[group].sum())
            parts[lightest] = part
    return parts
