"""Positions of a dimension's values on the axis of a figure: numbers to scale, choices side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_audio.figures.figures import short_name
from hf_audio.searching.space import Choice, Dimension

MAX_TICKS = 6


@dataclass(frozen=True)
class Axis:
    """An axis from 0 to 1.

    Attributes:
        dimension: the dimension.
        name: label of the axis.
        is_choice: whether the values are side by side, in the order of the file.
        ticks, texts: positions and labels of the ticks.
    """

    dimension: Dimension
    name: str
    is_choice: bool
    ticks: tuple[float, ...]
    texts: tuple[str, ...]

    @property
    def has_few(self) -> bool:
        """Whether each value has a tick, so that the trials with this value form a group."""
        return self.is_choice or len(self.dimension.ladder or ()) == len(self.ticks)

    def place(self, key: Any) -> float:
        """Position of a value."""
        if isinstance(self.dimension, Choice):
            return _of_choice(self.dimension.keys.index(key), len(self.dimension.keys))
        return _of_number(float(key), self.dimension)


def axis_of(dimension: Dimension) -> Axis:
    """The axis of a dimension."""
    name = short_name(dimension.name.rpartition(".")[2], 28)
    if isinstance(dimension, Choice):
        number = len(dimension.keys)
        places = tuple(_of_choice(index, number) for index in range(number))
        return Axis(dimension, name, True, places, tuple(short_name(_text(key), 12) for key in dimension.keys))
    values = _rungs(dimension)
    places = tuple(_of_number(value, dimension) for value in values)
    return Axis(dimension, name, False, places, tuple(f"{value:.3g}" for value in values))


def drawn(dimensions: Sequence[Dimension]) -> list[Axis]:
    """The axes of dimensions that have more than one value."""
    return [axis_of(one) for one in dimensions if len(one.ends) > 1]


def _of_choice(index: int, number: int) -> float:
    return (index + 0.5) / number


def _of_number(value: float, dimension: Any) -> float:
    low, high, value = (math.log(x) if dimension.log else x for x in (dimension.low, dimension.high, value))
    return (value - low) / (high - low)


def _rungs(dimension: Any) -> list[float]:
    """The numbers that get ticks."""
    if dimension.ladder and len(dimension.ladder) <= MAX_TICKS:
        return list(map(float, dimension.ladder))
    spaced = np.geomspace if dimension.log else np.linspace
    found = [float(value) for value in spaced(dimension.low, dimension.high, 4)]
    return sorted({float(round(value)) for value in found}) if dimension.is_whole else found


def _text(key: Any) -> str:
    return f"{key:.3g}" if isinstance(key, float) else str(key)
