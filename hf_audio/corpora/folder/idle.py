"""Refuses settings for reading data that have no effect on any of the corpora or tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from hf_audio.errors import InputError

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class IdleError(InputError):
    """The setting named `setting` would have no effect on the data that is read."""

    def __init__(self, setting: str, value: str, why: str) -> None:
        super().__init__(f"--{setting} {value} would have no effect here: {why}; leave it out")
        self.setting = setting


def nothing_to_leave_out(setting: str, meaning: str, place: str) -> IdleError:
    """The error for a setting "none" if no column would have been used anyway."""
    return IdleError(setting, "none", f"no column of {place} looks like {meaning}")


def each_read(settings: Mapping[Key, Any], read: Callable[[Key, Any], Found]) -> dict[Key, Found]:
    """Reads several corpora or tables, each with its settings; a setting may have no effect for some of them.

    Args:
        settings: a dataclass for each.
        read: reads one of them with its settings.

    Raises:
        IdleError: a setting has no effect for any of them.
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
