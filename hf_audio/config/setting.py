"""One setting: a field of a dataclass, a flag of the command line."""

from __future__ import annotations

from dataclasses import field


def setting(default, help_text: str):
    """A dataclass field whose help appears in `--help`."""
    return field(default=default, metadata={"help": help_text})
