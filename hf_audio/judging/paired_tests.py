"""Paired tests: whether one model is significantly better than another on the same clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import signal, stats

from hf_audio.judging.intervals import numbered

EPSILON = 1e-12


def bootstrap_p(differences: np.ndarray, num_groups: int) -> float | None:
    """Two-sided p of a difference of 0. It is below 1 - confidence exactly if `interval` at that confidence excludes 0.

    If no draw reaches 0, the tail is extrapolated by a normal distribution with the draws' mean and standard deviation,
    so that p can be small enough for the correction over many pairs without many more draws.

    Args:
        differences: float64 `[draws]` between two models on the same draws; NaN where undefined.
        num_groups: the number of resampled groups.

    Returns:
        None if there is only one group, or no draw.
    """
    differences = differences[~np.isnan(differences)]
    if num_groups < 2 or not len(differences):
        return None
    beyond = min((differences <= 0).sum(), (differences >= 0).sum())
    tail = (1 + beyond) / (1 + len(differences))
    if not beyond:
        far = abs(differences.mean()) / max(differences.std(), EPSILON)
        tail = max(min(tail, stats.norm.sf(far)), EPSILON)
    reach = -stats.norm.ppf(min(tail, 0.5)) / np.sqrt(num_groups / (num_groups - 1))
    return float(2 * stats.t.sf(reach, num_groups - 1))


def mcnemar(first_right: np.ndarray, second_right: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """McNemar's exact test on which clips are predicted correctly, over clips and over groups.

    Over clips, it treats clips as independent. Over groups, all differences of a group change sign together, so it only
    assumes that groups are independent. Both are the same if each clip is its own group.

    Args:
        first_right, second_right: bool `[clips]`.
        groups: int64 `[clips]`.

    Returns:
        "only_first" and "only_second": clips that only one model predicts correctly; "p_clips" and "p_groups".
    """
    difference = np.asarray(first_right, dtype=np.int64) - np.asarray(second_right, dtype=np.int64)
    of_groups = np.bincount(numbered(groups), difference).round().astype(np.int64)
    return {
        "only_first": int((difference > 0).sum()),
        "only_second": int((difference < 0).sum()),
        "p_clips": sign_flip_p(difference),
        "p_groups": sign_flip_p(of_groups),
    }


def sign_flip_p(differences: np.ndarray) -> float:
    """The exact probability that integers with random signs have a sum at least as far from 0 as the given ones.

    For numbers -1 and 1 this is the two-sided binomial test, as in McNemar's.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    if not len(sizes):
        return 1.0
    chances = np.ones(1)  # probability of each sum of the positive ones, from 0
    for size, count in zip(sizes, counts, strict=True):
        own = np.zeros(size * count + 1)
        own[::size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chances = signal.convolve(chances, own) if len(chances) > 1 else own
    sums = 2 * np.arange(len(chances)) - (len(chances) - 1)
    reached = np.abs(sums) >= abs(int(differences.sum()))
    return float(np.clip(chances[reached].sum(), 0.0, 1.0))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p values corrected for several tests by Holm's method (Holm 1979), which bounds the family-wise error rate.

    None stays None, and does not count as a test.
    """
    tested = [number for number, value in enumerate(values) if value is not None]
    corrected: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, number in enumerate(sorted(tested, key=lambda one: values[one])):
        largest = max(largest, min(1.0, (len(tested) - rank) * values[number]))
        corrected[number] = largest
    return corrected
