"""CMA-ES over ranges of numbers. Its state is recomputed from the stored trials each time.

Optuna's own sampler stores its state as a pickle, which could contain malicious code.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from hf_audio.errors import InputError
from hf_audio.searching.space import Params, Range, Space
from hf_audio.searching.trials import Trial

SIGMA = 1 / 6  # initial standard deviation in the unit cube


def drawn_by_evolution(space: Space, trials: Sequence[Trial], maximized: bool, seed: int) -> Params:
    """The next combination, from the complete trials so far in the order of their numbers, by generations.

    Args:
        space: consists only of ranges.
        trials: all trials.
        maximized: whether more is better.
        seed: of the search.

    Raises:
        InputError: the package cmaes is missing.
    """
    try:
        from cmaes import CMA
    except ImportError:
        raise InputError('--sampler cmaes needs cmaes: pip install "hf_audio[search]"') from None
    ranges = [one for one in space.dimensions if isinstance(one, Range)]
    drawn = zlib.crc32(f"{seed} {len(trials)}".encode())
    bounds = np.tile([0.0, 1.0], (len(ranges), 1))
    evolution = CMA(mean=np.full(len(ranges), 0.5), sigma=SIGMA, bounds=bounds, seed=drawn)
    sign, size = -1.0 if maximized else 1.0, evolution.population_size
    told = [(_position(one.params, ranges), sign * one.values[0]) for one in trials if one.state == "complete"]
    for start in range(0, len(told) - size + 1, size):
        evolution.tell(told[start : start + size])
    return {one.name: _value(one, place) for one, place in zip(ranges, evolution.ask(), strict=True)}


def _position(params: Params, ranges: Sequence[Range]) -> np.ndarray:
    """Position of a combination in the unit cube."""

    def place(one: Range) -> float:
        low, high, value = (math.log(x) if one.log else x for x in (one.low, one.high, params[one.name]))
        return (value - low) / (high - low)

    return np.array([place(one) for one in ranges])


def _value(one: Range, place: float) -> Any:
    """The number of a range at a position from 0 to 1, rounded to its ladder if it has one."""
    low, high = (math.log(x) if one.log else x for x in (one.low, one.high))
    value = low + float(place) * (high - low)
    value = min(one.high, max(one.low, math.exp(value) if one.log else value))
    return min(one.ladder, key=lambda rung: abs(rung - value)) if one.ladder else value
