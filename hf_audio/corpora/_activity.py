"""Cuts recordings with time-resolved labels into segments, each labeled with the instruments in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

SEGMENT_S = 10.0  # the length of clips in OpenMIC and AudioSet
MIN_SHARE = 0.1  # minimum share of a segment in which an instrument must sound to be a label


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording and the instruments that sound in it."""

    start_s: float
    end_s: float
    labels: tuple[str, ...]


def segments(times_s: np.ndarray, active: Mapping[str, np.ndarray]) -> list[Segment]:
    """Cuts a recording into segments of SEGMENT_S; a last segment shorter than half of that is left out.

    Args:
        times_s: start times in seconds of equally long frames, `[frames]`.
        active: for each instrument, the frames in which it sounds, bool `[frames]`.
    """
    step_s = float(times_s[-1] - times_s[0]) / (len(times_s) - 1) if len(times_s) > 1 else SEGMENT_S
    length_s = float(times_s[-1]) + step_s
    number = np.floor(times_s / SEGMENT_S + 1e-6).astype(int)
    num_frames = np.maximum(np.bincount(number), 1)
    shares = {label: np.bincount(number, weights=sounds) / num_frames for label, sounds in active.items()}
    found = []
    for index in range(len(num_frames)):
        start_s = index * SEGMENT_S
        end_s = min(start_s + SEGMENT_S, round(length_s, 2))
        if index == 0 or end_s - start_s >= SEGMENT_S / 2:
            labels = tuple(label for label in active if shares[label][index] >= MIN_SHARE)
            found.append(Segment(start_s, end_s, labels))
    return found


def labels_of_many(recordings: Iterable[tuple[str, Iterable[Segment]]], min_groups: int) -> tuple[set[str], set[str]]:
    """Labels that occur in at least `min_groups` groups, and rarer ones, from each recording's group and segments.

    A class with one or two groups cannot be in training, validation and test without leakage.
    """
    pairs = {(group, label) for group, found in recordings for segment in found for label in segment.labels}
    num_groups = Counter(label for _, label in pairs)
    many = {label for label, number in num_groups.items() if number >= min_groups}
    return many, set(num_groups) - many
