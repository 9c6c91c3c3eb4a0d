"""What the user says of how data are read, where it would change nothing: an error, unless it does so elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from hf_audio.errors import InputError

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class IdleError(InputError):
    """A setting, `setting`, would do nothing for what is read."""

    def __init__(self, setting: str, value: str, why: str) -> None:
        super().__init__(f"--{setting} {value} would do nothing here: {why}; leave it out")
        self.setting = setting


def nothing_to_leave_out(setting: str, meaning: str, place: str) -> IdleError:
    """The error for a setting that says none where no column would have been taken."""
    return IdleError(setting, "none", f"no column of {place} could be {meaning}")


def each_read(settings: Mapping[Key, Any], read: Callable[[Key, Any], Found]) -> dict[Key, Found]:
    """What is read of several corpora or tables, each with its settings; one may do nothing for some of them.

    Args:
        settings: of each, a dataclass.
        read: makes of one and its settings what is found.

    Raises:
        IdleError: a setting that does nothing for any of them.
    """
    found: dict[Key, Found] = {}
    idle: dict[str, list[IdleError]] = {}
    for key, own in settings.items():
        while key not in found:
            try:
                found[key] = read(key, own)
            except IdleError as error:
                its = idle.setdefault(error.setting, [])
                its.append(error)
                if len(its) == len(settings):
                    raise its[0] from None
                own = dataclasses.replace(own, **{error.setting: None})
    return found
