"""From window scores to segments: median over time, hysteresis, minimum length.

windows      0     1     2     3     4     5        one score per class
median       .2    .7    .7    .5    .45   .1       over neighboring windows
hysteresis         |→ on at .5        off below .4
segment            |=======================|        borders are halfway between the centers of two windows
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# A segment starts where a score reaches the threshold, and continues until it is below this fraction of it.
OFF_FRACTION = 0.8


class Segment(NamedTuple):
    """A stretch of a sound with one label; `score` is the mean of its windows' scores before smoothing."""

    label: str
    start_s: float
    end_s: float
    score: float


def median_width(smooth_s: float, hop_s: float) -> int:
    """Number of windows of the median filter: odd, so that it is centered; 1 if `smooth_s` is at most a hop."""
    return 2 * int(smooth_s / (2 * hop_s) + 1e-9) + 1


def smoothed(scores: np.ndarray, width: int) -> np.ndarray:
    """The median over `width` windows around each, `[windows, classes]`. The first and last window are repeated."""
    width = min(width, 2 * len(scores) - 1)
    if width <= 1:
        return scores
    padded = np.pad(scores, ((width // 2, width // 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)
    pieces = np.array_split(windows, max(1, windows.size >> 24))  # np.median copies its input
    return np.concatenate([np.median(piece, axis=-1) for piece in pieces])


def held(scores: np.ndarray, threshold: float) -> np.ndarray:
    """bool `[windows]`: on from where a score reaches the threshold until one is below OFF_FRACTION of it."""
    rises, falls = scores >= threshold, scores < OFF_FRACTION * threshold
    last = np.maximum.accumulate(np.where(rises | falls, np.arange(len(scores)), -1))
    return np.where(last >= 0, rises[last], False)


def borders_s(starts_s: np.ndarray, ends_s: np.ndarray, duration_s: float) -> np.ndarray:
    """float64 `[windows + 1]`: the borders between windows, halfway between the centers of neighbors."""
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
    min_s: float,
) -> list[Segment]:
    """All segments, sorted by start and then by class.

    Args:
        scores: `[windows, classes]`.
        borders: see `borders_s`.
        names: names of the classes.
        threshold: minimum score; None uses each window's highest-scoring class, for single-label models.
        is_multi_label: if False, only the highest-scoring class of a window can be on.
        width: width of the median filter in windows.
        min_s: shorter segments are dropped, except one that covers the complete sound.
    """
    even = smoothed(scores, width)
    highest = None if is_multi_label else even.argmax(axis=1)
    candidates = range(len(names)) if is_multi_label else np.unique(highest)
    min_s = min(min_s, borders[-1] - borders[0])
    found = []
    for index in candidates:
        is_on = np.ones(len(even), bool) if threshold is None else held(even[:, index], threshold)
        if highest is not None:
            is_on &= highest == index
        for first, last in runs(is_on):
            start_s, end_s = float(borders[first]), float(borders[last])
            if end_s - start_s >= min_s - 1e-9:
                found.append((start_s, int(index), end_s, float(scores[first:last, index].mean())))
    return [Segment(names[index], start_s, end_s, score) for start_s, index, end_s, score in sorted(found)]
