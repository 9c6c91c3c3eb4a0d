"""One setting: a field of a dataclass, a flag of the command line."""

from __future__ import annotations

from dataclasses import Field, field

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
