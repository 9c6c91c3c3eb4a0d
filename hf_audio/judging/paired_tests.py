"""Paired tests: whether one model is significantly better than another on the same clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import signal, stats

from hf_audio.judging.intervals import numbered

SMALLEST = 1e-12


def bootstrap_p(differences: np.ndarray, num_groups: int) -> float | None:
    """Two-sided p of a difference of 0: below 1 - confidence just where `interval` of that confidence leaves 0 out.

    Where no draw comes near 0, a normal distribution of the draws' standard deviation goes on behind the last of them,
    so that many pairs can be corrected for without many more draws.

    Args:
        differences: float64 `[draws]` between two models on the same draws; NaN where undefined.
        num_groups: that were drawn of.

    Returns:
        None where there is nothing to tell by: one group, or no draw.
    """
    differences = differences[~np.isnan(differences)]
    if num_groups < 2 or not len(differences):
        return None
    beyond = min((differences <= 0).sum(), (differences >= 0).sum())
    tail = (1 + beyond) / (1 + len(differences))
    if not beyond:
        far = abs(differences.mean()) / max(differences.std(), SMALLEST)
        tail = max(min(tail, stats.norm.sf(far)), SMALLEST)
    reach = -stats.norm.ppf(min(tail, 0.5)) / np.sqrt(num_groups / (num_groups - 1))
    return float(2 * stats.t.sf(reach, num_groups - 1))


def mcnemar(first_right: np.ndarray, second_right: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """McNemar's test of which clips are right, exact whatever their number, over clips and over groups.

    Over clips it takes each clip for a draw of its own. Over groups all differences of one group change sign together,
    which is the same where each clip is a group; it asks no more than that groups are independent.

    Args:
        first_right, second_right: bool `[clips]`.
        groups: int64 `[clips]`.

    Returns:
        "only_first" and "only_second": clips that one alone has right; "p_clips" and "p_groups".
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
    """The chance that whole numbers with random signs have a sum as far from 0 as theirs, or farther; exact.

    Of numbers -1 and 1 this is the two-sided binomial test, as in McNemar's.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    if not len(sizes):
        return 1.0
    chances = np.ones(1)  # of each sum of the positive ones, from 0 on
    for size, count in zip(sizes, counts, strict=True):
        own = np.zeros(size * count + 1)
        own[::size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chances = signal.convolve(chances, own) if len(chances) > 1 else own
    sums = 2 * np.arange(len(chances)) - (len(chances) - 1)
    reached = np.abs(sums) >= abs(int(differences.sum()))
    return float(np.clip(chances[reached].sum(), 0.0, 1.0))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p values of several questions, so that any wrong answer among all is as rare as each p says (Holm 1979).

    None stays None, and is no question.
    """
    asked = [number for number, value in enumerate(values) if value is not None]
    corrected: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, number in enumerate(sorted(asked, key=lambda one: values[one])):
        largest = max(largest, min(1.0, (len(asked) - rank) * values[number]))
        corrected[number] = largest
    return corrected
