"""From window scores to segments: median over time, hysteresis, minimum length.

windows      0     1     2     3     4     5        one score of a class each
median       .2    .7    .7    .5    .45   .1       of its neighbours
hysteresis         |→ on at .5        off below .4
segment            |=======================|        from the middle between two windows' middles to the next
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# A segment begins where a score reaches the threshold, and goes on while it is not below this share of it.
HELD_SHARE = 0.8


class Segment(NamedTuple):
    """A stretch of a sound with one label; `score` is the mean of its windows' scores before smoothing."""

    label: str
    start_s: float
    end_s: float
    score: float


def median_width(smooth_s: float, hop_s: float) -> int:
    """Windows under the median: odd, so that it is in the middle of them; 1 where `smooth_s` is no more than a hop."""
    return 2 * int(smooth_s / (2 * hop_s) + 1e-9) + 1


def smoothed(scores: np.ndarray, width: int) -> np.ndarray:
    """The median over `width` windows around each, `[windows, classes]`; both ends are repeated."""
    width = min(width, 2 * len(scores) - 1)
    if width <= 1:
        return scores
    padded = np.pad(scores, ((width // 2, width // 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)
    pieces = np.array_split(windows, max(1, windows.size >> 24))  # the median copies what it is given
    return np.concatenate([np.median(piece, axis=-1) for piece in pieces])


def held(scores: np.ndarray, threshold: float) -> np.ndarray:
    """bool `[windows]`: on from where a score reaches the threshold, until one is below HELD_SHARE of it."""
    rises, falls = scores >= threshold, scores < HELD_SHARE * threshold
    last = np.maximum.accumulate(np.where(rises | falls, np.arange(len(scores)), -1))
    return np.where(last >= 0, rises[last], False)


def borders_s(starts_s: np.ndarray, ends_s: np.ndarray, duration_s: float) -> np.ndarray:
    """Float64 `[windows + 1]`: each window stands for the time between the middles to its neighbours' middles."""
    middles = (starts_s + ends_s) / 2
    return np.concatenate([[0.0], (middles[:-1] + middles[1:]) / 2, [duration_s]])


def runs(is_on: np.ndarray) -> list[tuple[int, int]]:
    """(first, last + 1) of each stretch of True."""
    changes = np.flatnonzero(np.diff(is_on.astype(np.int8), prepend=0, append=0))
    return [(int(first), int(last)) for first, last in changes.reshape(-1, 2)]


def segments_of(
    scores: np.ndarray,
    borders: np.ndarray,
    names: tuple[str, ...],
    *,
    threshold: float | None,
    is_multi_label: bool,
    width: int,
    least_s: float,
) -> list[Segment]:
    """All segments by their beginning, those of one beginning by their class.

    Args:
        scores: `[windows, classes]`.
        borders: see `borders_s`.
        names: of the classes.
        threshold: None takes each window's highest class, of models of one label.
        is_multi_label: else only the highest class of a window can be on.
        width: of the median, in windows.
        least_s: shorter segments are dropped, but one that is the whole sound.
    """
    even = smoothed(scores, width)
    highest = None if is_multi_label else even.argmax(axis=1)
    candidates = range(len(names)) if is_multi_label else np.unique(highest)
    least_s = min(least_s, borders[-1] - borders[0])
    found = []
    for index in candidates:
        is_on = np.ones(len(even), bool) if threshold is None else held(even[:, index], threshold)
        if highest is not None:
            is_on &= highest == index
        for first, last in runs(is_on):
            start_s, end_s = float(borders[first]), float(borders[last])
            if end_s - start_s >= least_s - 1e-9:
                found.append((start_s, int(index), end_s, float(scores[first:last, index].mean())))
    return [Segment(names[index], start_s, end_s, score) for start_s, index, end_s, score in sorted(found)]
