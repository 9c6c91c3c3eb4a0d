"""Findings from the nearest neighbors of clips: wrong labels, duplicates, and groups that form clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.metrics import pairwise_distances_chunked

NUM_NEIGHBORS = 10
MIN_NEIGHBORS = 3  # with fewer there are no findings
MOSTLY = 0.8  # share of the neighbors
CLOSE = 0.2  # share of the usual distance
CHUNK_MB = 64


class Neighbors(NamedTuple):
    """The neighbors of each clip, nearest first; missing ones have place -1 and infinite distance.

    Attributes:
        places: int64 `[clips, neighbors]`, rows of the clips.
        distances: float32 `[clips, neighbors]`.
    """

    places: np.ndarray
    distances: np.ndarray


@dataclass(frozen=True)
class Seen:
    """A finding from neighbors.

    Attributes:
        clips: rows of the clips that it concerns, the one in question first.
        text: a description.
        strength: the sort key, highest first.
    """

    clips: tuple[int, ...]
    text: str
    strength: float


@dataclass(frozen=True)
class NeighborhoodClips:
    """The metadata of clips that findings depend on.

    Attributes:
        labels: names of the classes of each clip.
        groups, splits: names.
    """

    labels: Sequence[tuple[str, ...]]
    groups: Sequence[str]
    splits: Sequence[str]

    @property
    def group_numbers(self) -> np.ndarray:
        """int64 `[clips]`."""
        return np.unique(np.array(self.groups), return_inverse=True)[1]


def nearest(vectors: np.ndarray, groups: np.ndarray, count: int = NUM_NEIGHBORS) -> tuple[Neighbors, Neighbors]:
    """The nearest other clips, of all and of other groups only, by Euclidean distance.

    Args:
        vectors: float32 `[clips, numbers]`.
        groups: int64 `[clips]`.
    """
    start = 0

    def closest(distances: np.ndarray, _: int) -> tuple[np.ndarray, ...]:
        nonlocal start
        rows = np.arange(start, start + len(distances))
        start += len(distances)
        distances[np.arange(len(rows)), rows] = np.inf
        of_all = _closest(distances, count)
        distances[groups[rows][:, None] == groups[None, :]] = np.inf
        return *of_all, *_closest(distances, count)

    chunks = list(pairwise_distances_chunked(vectors, reduce_func=closest, n_jobs=1, working_memory=CHUNK_MB))
    columns = [np.concatenate(parts) for parts in zip(*chunks, strict=True)]
    return Neighbors(*columns[:2]), Neighbors(*columns[2:])


def of_another_class(clips: NeighborhoodClips, others: Neighbors) -> list[Seen]:
    """Clips whose neighbors in other groups mostly share another class and none of theirs: labels may be wrong."""
    found = []
    for clip, (places, distances) in enumerate(zip(*others, strict=True)):
        places = places[places >= 0].tolist()
        if len(places) < MIN_NEIGHBORS:
            continue
        own = set(clips.labels[clip])
        counts = Counter(name for one in places for name in clips.labels[one])
        other, times = max(((name, counts[name]) for name in counts if name not in own), key=_second, default=("", 0))
        unlike = [one for one in places if own.isdisjoint(clips.labels[one])]
        if min(times, len(unlike)) < MOSTLY * len(places):
            continue
        text = f"labeled {_words(own)}; {times} of {len(places)} nearest clips of other groups are {other}"
        nearness = 1 / (1 + float(distances[: len(places)].mean()))
        found.append(Seen((clip, *places), text, times / len(places) + 0.01 * nearness))
    return _strongest(found)


def same_sound(clips: NeighborhoodClips, others: Neighbors) -> list[Seen]:
    """Pairs of clips of different groups that are much closer than usual: they may be the same sound."""
    apart = others.distances[np.isfinite(others.distances) & (others.distances > 0)]
    if not len(apart):
        return []
    usual = float(np.median(apart))
    found: dict[tuple[int, int], Seen] = {}
    for clip, other in _pairs(others, CLOSE * usual):
        one, two = sorted((clip, other))
        splits = clips.splits[one], clips.splits[two]
        where = f"in two splits, {splits[0]} and {splits[1]}" if splits[0] != splits[1] else f"both in {splits[0]}"
        share = distance_to(others, clip, other) / usual
        text = (
            f"{where}; groups {clips.groups[one]} and {clips.groups[two]}; {share:.0%} of the usual distance to "
            "neighbors of other groups"
        )
        found[one, two] = Seen((one, two), text, (splits[0] != splits[1]) + 1 - share)
    return _strongest(found.values())


def of_one_other_group(clips: NeighborhoodClips, of_all: Neighbors) -> list[Seen]:
    """Clips that are surrounded by one other group: they may belong to it."""
    sizes, found = Counter(clips.groups), []
    for clip, (places, distances) in enumerate(zip(*of_all, strict=True)):
        places = places[places >= 0].tolist()
        if not places:
            continue
        group = clips.groups[places[0]]
        places = places[: sizes[group]]
        times = sum(clips.groups[one] == group for one in places)
        if group == clips.groups[clip] or len(places) < MIN_NEIGHBORS or times < MOSTLY * len(places):
            continue
        text = f"in group {clips.groups[clip]}; {times} of {len(places)} nearest clips are in group {group}"
        around = tuple(one for one in places if clips.groups[one] == group)
        found.append(Seen((clip, *around), text, times / len(places) + 0.01 / (1 + float(distances[0]))))
    return _strongest(found)


def groups_told_apart(clips: NeighborhoodClips, of_all: Neighbors) -> list[Seen]:
    """Groups whose clips are closer to each other than their classes explain.

    A model could recognize such a group by its room, microphone or voice, so a split by clips leaks. Chance is the
    share for neighbors drawn at random from the clips with the same labels.
    """
    by_labels = Counter(clips.labels)
    by_both = Counter(zip(clips.groups, clips.labels, strict=True))
    members: dict[str, list[int]] = {}
    for clip, group in enumerate(clips.groups):
        members.setdefault(group, []).append(clip)
    found = []
    for group, its in members.items():
        if len(its) <= MIN_NEIGHBORS:
            continue
        shares, chances = [], []
        for clip in its:
            places = of_all.places[clip][of_all.places[clip] >= 0].tolist()
            labels = clips.labels[clip]
            shares.append(sum(clips.groups[one] == group for one in places) / min(len(places), len(its) - 1))
            chances.append((by_both[group, labels] - 1) / max(by_labels[labels] - 1, 1))
        share, chance = float(np.mean(shares)), float(np.mean(chances))
        if share >= MOSTLY and share > 2 * chance:
            text = (
                f"group {group}, {len(its)} clips: {share:.0%} of their neighbors are in the group; {chance:.0%} "
                "expected by chance"
            )
            found.append(Seen(tuple(its), text, share - chance))
    return _strongest(found)


def distance_to(neighbors: Neighbors, clip: int, other: int) -> float:
    """The distance to a neighbor."""
    return float(neighbors.distances[clip][neighbors.places[clip] == other][0])


def _closest(distances: np.ndarray, count: int) -> Neighbors:
    count = min(count, distances.shape[1] - 1)
    places = np.argpartition(distances, count, axis=1)[:, :count]
    its = np.take_along_axis(distances, places, axis=1)
    order = np.lexsort((places, its), axis=1)
    places, its = np.take_along_axis(places, order, axis=1), np.take_along_axis(its, order, axis=1)
    return Neighbors(np.where(np.isfinite(its), places, -1), its.astype(np.float32))


def _pairs(others: Neighbors, farthest: float) -> Iterator[tuple[int, int]]:
    rows, columns = np.nonzero(others.distances <= farthest)
    return zip(rows.tolist(), others.places[rows, columns].tolist(), strict=True)


def _second(pair: tuple[str, int]) -> int:
    return pair[1]


def _strongest(found: Iterable[Seen]) -> list[Seen]:
    return sorted(found, key=lambda one: (-one.strength, one.clips))


def _words(labels: Iterable[str]) -> str:
    return " + ".join(sorted(labels)) or "without any class"
