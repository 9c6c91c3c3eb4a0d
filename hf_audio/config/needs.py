"""A rule about settings that have no effect without others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, NamedTuple


def names_of(*groups: type) -> frozenset[str]:
    """The names of the settings of some groups."""
    return frozenset(field.name for group in groups for field in dataclasses.fields(group))


class Needs(NamedTuple):
    """Settings that have no effect unless `holds` is true for a run; a run that lacks a setting that `holds` reads is
    not checked. `otherwise` says why there is no effect, and what to do."""

    settings: Collection[str]
    holds: Callable[[Any], Any]
    otherwise: str


def as_typed(choice: Any) -> str:
    """A choice as the user types it; TrainingArguments converts some to enumerations."""
    return getattr(choice, "value", choice)
