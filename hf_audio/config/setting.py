"""One setting: a dataclass field that is also a command-line flag, and checks of its value."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import Field, field
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hf_audio.errors import InputError, unknown_name

# What a setting's value refers to, unless it is a plain value. Reports leave out parts of such names, see reported.py.
PATH = "path"
HUB_OR_PATH = "hub or path"
NAMES: dict[Field, str] = {}  # not in the fields' metadata, since argparse gets all of that


def setting(default, help_text: str, names: str | None = None):
    """A dataclass field whose help appears in `--help`.

    Args:
        names: PATH if its value is a file or folder, HUB_OR_PATH if it may also be a Hub name.
    """
    made = field(default=default, metadata={"help": help_text})
    if names:
        NAMES[made] = names
    return made


@cache
def choices_of(group: type) -> dict[str, tuple[Any, ...]]:
    """The choices of each setting of a group whose type is a Literal, or a Literal or None."""
    found = {}
    for name, hint in get_type_hints(group).items():
        for one in (hint, *get_args(hint)):
            if get_origin(one) is Literal:
                found[name] = get_args(one)
    return found


def require_choices(group: Any) -> None:
    """Refuses a setting of a group that is not one of its choices. None is allowed.

    Raises:
        InputError: names the nearest choice.
    """
    kind: type = type(group)
    for name, choices in choices_of(kind).items():
        value = getattr(group, name)
        if value is not None and value not in choices:
            raise unknown_name(f"--{name}", str(value), choices)


def require_within(group: Any, names: Iterable[str], minimum: float, maximum: float = math.inf) -> None:
    """Refuses settings of a group that are not numbers from `minimum` to `maximum`, both included. None is allowed.

    Raises:
        InputError: names the first such setting.
    """
    expected = f"{minimum:g} or more" if maximum == math.inf else f"between {minimum:g} and {maximum:g}"
    for name in names:
        value = getattr(group, name)
        if value is not None and not (math.isfinite(value) and minimum <= value <= maximum):
            raise InputError(f"--{name} must be a number, {expected}, found {value:g}")


def require_span(group: Any, name: str, minimum: float, maximum: float) -> None:
    """Refuses a setting of a group that is not a pair of numbers, the lower first, from `minimum` to `maximum`.

    Raises:
        InputError: says what was found and expected.
    """
    value = getattr(group, name)
    fits = len(value) == 2 and all(math.isfinite(one) for one in value) and minimum <= value[0] <= value[1] <= maximum
    if not fits:
        found = " ".join(f"{one:g}" for one in value)
        raise InputError(
            f"--{name} must be two numbers, the lower first, between {minimum:g} and {maximum:g}, found {found}: try "
            f"--{name} {' '.join(f'{one:g}' for one in type(group)().__dict__[name])}"
        )
