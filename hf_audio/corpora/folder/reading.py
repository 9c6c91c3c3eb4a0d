"""The user's settings for reading a folder or table, and the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hf_audio.data.index.table import Clip
from hf_audio.errors import InputError, unknown_name

LAYOUTS = ("folders", "table")
NONE = "none"
NO_GROUPS = "no groups are known, so every file is a group of its own"
NO_SPLITS = "none given"


class UndecidedError(InputError):
    """A table of recordings could be read in several ways: the user must choose."""


@dataclass(frozen=True)
class Reading:
    """The settings with the same names as flags; all are optional, because most folders and tables are unambiguous.

    Attributes:
        layout: "folders" or "table", if both are present.
        audio_column_name, split_column_name, group_column_name: columns with these meanings; for splits and groups,
            "none" uses no column.
        label_column_name: the column of classes; several are columns of 0 and 1, one per class.
        label_separator: separator between several labels in a cell; "none" reads a cell as one name.
        merge_classes: merge classes whose names differ only in case, spaces or Unicode form.
    """

    layout: str | None = None
    audio_column_name: str | None = None
    label_column_name: Sequence[str] | None = None
    group_column_name: str | None = None
    split_column_name: str | None = None
    label_separator: str | None = None
    merge_classes: bool = False

    def __post_init__(self) -> None:
        if self.layout not in (None, *LAYOUTS):
            raise unknown_name("--layout", self.layout, LAYOUTS)
        if self.layout == "folders" and self.of_table:
            raise InputError(f"--{self.of_table[0]} is for tables; leave it out, or leave out --layout folders")

    @property
    def of_table(self) -> list[str]:
        """The given settings that only apply to tables."""
        return [name for name in vars(self) if name.endswith(("_column_name", "_separator")) and getattr(self, name)]

    @property
    def wants_table(self) -> bool:
        return self.layout == "table" or bool(self.of_table)


@dataclass
class Read:
    """The result of reading a folder or table; see `Understanding` for the other attributes.

    Attributes:
        columns: how the columns of a table are read, if their names do not say it.
        group_column: the column of a table that names the groups.
    """

    layout: str
    clips: list[Clip]
    groups: str
    splits: str
    num_without_group: int
    not_used: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    columns: str = ""
    group_column: str | None = None
