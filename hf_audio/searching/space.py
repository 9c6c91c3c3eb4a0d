"""The space of a search: dimensions, each with the possible values of a flag."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_audio.errors import InputError

Params = dict[str, Any]  # the plain values of a trial by dimension name
Suggest = Callable[["Choice | Range"], Any]


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Attributes:
        name: name of the dimension, unique in the space.
        flag: the flag that it sets; "model_options.hidden_size" for a field.
        keys: the values as stored and shown: numbers, texts, and JSON of lists.
        values: the same values as flags take them.
        options: for an `either`, the dimensions of each alternative; otherwise empty.
    """

    name: str
    flag: str
    keys: tuple[Any, ...]
    values: tuple[Any, ...]
    options: tuple[tuple[Choice | Range, ...], ...] = ()

    def __str__(self) -> str:
        """Everything that decides a draw, in words."""
        inside = [f" ({', '.join(map(str, one))})" if one else "" for one in self.options]
        shown = [f"{key!r}{more}" for key, more in zip(self.keys, inside or [""] * len(self.keys), strict=True)]
        return f"{self.name} one of {', '.join(shown)}"

    def value_of(self, key: Any) -> Any:
        """The value of a key. Raises InputError if this dimension does not have it."""
        for known, value in zip(self.keys, self.values, strict=True):
            if known == key and isinstance(known, bool) == isinstance(key, bool):
                return value
        raise InputError(f"{self.name} is {key!r} in the stored trials, which the space does not have")

    @property
    def ladder(self) -> tuple[Any, ...]:
        """All possible values."""
        return self.keys

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values to check before the search: all."""
        return self.keys


@dataclass(frozen=True)
class Range:
    """A number in a closed interval.

    Attributes:
        name, flag: see Choice.
        low, high: its ends.
        log: whether its logarithm is drawn uniformly.
        step: distance of possible values; None if all numbers are possible.
    """

    name: str
    flag: str
    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __str__(self) -> str:
        """Everything that decides a draw, in words."""
        how = " (log)" if self.log else f" in steps of {self.step!r}" if self.step is not None else ""
        return f"{self.name} from {self.low!r} to {self.high!r}{how}"

    @property
    def is_whole(self) -> bool:
        """Whether its numbers are integers."""
        return isinstance(self.low, int)

    def value_of(self, key: Any) -> Any:
        """The value as a flag takes it. Raises InputError if it is not in the range."""
        is_number = isinstance(key, int | float) and not isinstance(key, bool)
        if not (is_number and self.low <= key <= self.high):
            raise InputError(f"{self.name} is {key!r} in the stored trials, which the space does not have")
        return int(key) if self.is_whole else float(key)

    @property
    def ladder(self) -> tuple[Any, ...] | None:
        """All possible values; None if there are infinitely many."""
        step = self.step or (1 if self.is_whole and not self.log else None)
        if step is None:
            return tuple(range(int(self.low), int(self.high) + 1)) if self.is_whole else None
        number = math.floor((self.high - self.low) / step + 1e-9) + 1
        values = (self.low + index * step for index in range(number))
        return tuple(int(value) if self.is_whole else float(f"{value:.12g}") for value in values)

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values to check before the search."""
        return self.low, self.high


Dimension = Choice | Range


@dataclass(frozen=True)
class Space:
    """All dimensions of a search. Those of an `either` are inside it."""

    dimensions: tuple[Dimension, ...]

    @property
    def all_dimensions(self) -> list[Dimension]:
        """All dimensions, including those of alternatives."""
        return list(_walk(self.dimensions))

    @property
    def is_flat(self) -> bool:
        """Whether every trial has every dimension."""
        return not any(isinstance(one, Choice) and one.options for one in self.dimensions)

    @property
    def size(self) -> int | None:
        """Number of combinations; None if it is infinite."""
        return _size(self.dimensions)

    def combinations(self) -> Iterator[Params]:
        """Every combination of a finite space."""
        return _combinations(self.dimensions)

    def draw(self, suggest: Suggest) -> Params:
        """The values that `suggest` returns for each dimension, including those of the chosen alternatives."""
        params: Params = {}
        _draw(self.dimensions, suggest, params)
        return params

    def is_drawn(self, params: Mapping[str, Any]) -> bool:
        """Whether a trial has all its values; a process may be killed between two draws."""
        try:
            return self.draw(lambda one: params[one.name]).keys() == params.keys()
        except (KeyError, ValueError):
            return False

    def flags(self, params: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
        """The flags of a trial, from its values.

        Args:
            params: the values.
            given: the recipe's values of the flags that contain JSON.

        Raises:
            InputError: the space does not have a value or dimension, for example because its file was changed.
        """
        flags: dict[str, Any] = {}
        known = {one.name: one for one in self.all_dimensions}
        for name, key in params.items():
            if name not in known:
                raise InputError(
                    f"The stored trials have {name!r}, which the space does not have: give another --study"
                )
            dimension = known[name]
            value = dimension.value_of(key)
            if isinstance(dimension, Choice) and dimension.options:
                continue
            flag, _, field = dimension.flag.partition(".")
            if field:
                flags.setdefault(flag, dict((given or {}).get(flag) or {}))[field] = value
            else:
                flags[flag] = value
        return flags


def _walk(dimensions: Sequence[Dimension]) -> Iterator[Dimension]:
    for one in dimensions:
        yield one
        for inside in one.options if isinstance(one, Choice) else ():
            yield from _walk(inside)


def _size(dimensions: Sequence[Dimension]) -> int | None:
    number = 1
    for one in dimensions:
        if isinstance(one, Choice) and one.options:
            sizes = [_size(inside) for inside in one.options]
            of_one = None if None in sizes else sum(sizes)
        else:
            of_one = len(one.ladder) if one.ladder else None
        if of_one is None:
            return None
        number *= of_one
    return number


def _combinations(dimensions: Sequence[Dimension]) -> Iterator[Params]:
    if not dimensions:
        yield {}
        return
    first, rest = dimensions[0], dimensions[1:]
    for index, key in enumerate(first.ladder):
        inside = first.options[index] if isinstance(first, Choice) and first.options else ()
        for of_option in _combinations(inside):
            for of_rest in _combinations(rest):
                yield {first.name: key, **of_option, **of_rest}


def _draw(dimensions: Sequence[Dimension], suggest: Suggest, params: Params) -> None:
    for one in dimensions:
        params[one.name] = suggest(one)
        if isinstance(one, Choice) and one.options:
            _draw(one.options[one.keys.index(params[one.name])], suggest, params)
