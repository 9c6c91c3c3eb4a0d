"""One setting: a field of a dataclass, a flag of the command line."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import Field, field
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hf_audio.errors import InputError, unknown_name

# What a setting names, where it is no plain value. Reports say less of it, see reported.py.
PATH = "path"
HUB_OR_PATH = "hub or path"
NAMES: dict[Field, str] = {}  # apart from the fields' metadata, all of which goes to argparse


def setting(default, help_text: str, names: str | None = None):
    """A dataclass field whose help appears in `--help`.

    Args:
        names: PATH where its value is a file or folder, HUB_OR_PATH where it may be a Hub name as well.
    """
    made = field(default=default, metadata={"help": help_text})
    if names:
        NAMES[made] = names
    return made


@cache
def choices_of(group: type) -> dict[str, tuple[Any, ...]]:
    """What each setting of a group may be, of those whose type is a Literal, or one of a Literal and None."""
    found = {}
    for name, hint in get_type_hints(group).items():
        for one in (hint, *get_args(hint)):
            if get_origin(one) is Literal:
                found[name] = get_args(one)
    return found


def require_choices(group: Any) -> None:
    """Refuses a setting of a group that is none of its choices; None is left alone.

    Raises:
        InputError: names the nearest choice.
    """
    kind: type = type(group)
    for name, choices in choices_of(kind).items():
        value = getattr(group, name)
        if value is not None and value not in choices:
            raise unknown_name(f"--{name}", str(value), choices)


def require_within(group: Any, names: Iterable[str], least: float, most: float = math.inf) -> None:
    """Refuses settings of a group that are no numbers between `least` and `most`, both included; None is left alone.

    Raises:
        InputError: the first of them.
    """
    expected = f"{least:g} or more" if most == math.inf else f"between {least:g} and {most:g}"
    for name in names:
        value = getattr(group, name)
        if value is not None and not (math.isfinite(value) and least <= value <= most):
            raise InputError(f"--{name} must be a number, {expected}, found {value:g}")


def require_span(group: Any, name: str, least: float, most: float) -> None:
    """Refuses a setting of a group that is not two numbers, the least and the most, both between two bounds.

    Raises:
        InputError: says what was found and expected.
    """
    value = getattr(group, name)
    fits = len(value) == 2 and all(math.isfinite(one) for one in value) and least <= value[0] <= value[1] <= most
    if not fits:
        found = " ".join(f"{one:g}" for one in value)
        raise InputError(
            f"--{name} must be two numbers, the least and the most, between {least:g} and {most:g}, found {found}: try "
            f"--{name} {' '.join(f'{one:g}' for one in type(group)().__dict__[name])}"
        )
