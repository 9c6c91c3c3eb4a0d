"""A rule that settings do nothing without others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, NamedTuple


def names_of(*groups: type) -> frozenset[str]:
    """The settings of some groups."""
    return frozenset(field.name for group in groups for field in dataclasses.fields(group))


class Needs(NamedTuple):
    """Settings that do nothing unless others hold; where a run has none of those others, nothing is asked."""

    settings: Collection[str]
    holds: Callable[[Any], Any]
    otherwise: str


def as_typed(choice: Any) -> str:
    """A choice as it is typed; TrainingArguments make enumerations of some."""
    return getattr(choice, "value", choice)
