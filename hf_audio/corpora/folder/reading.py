"""What the user says of how a folder or table is to be read, and what was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hf_audio.data.index.table import Clip
from hf_audio.errors import InputError, unknown_name

LAYOUTS = ("folders", "table")
NONE = "none"
NO_GROUPS = "no grouping is known, so every file is a group of its own"
NO_SPLITS = "none given, to be drawn"


class UndecidedError(InputError):
    """It is a table of recordings, but could be read in several ways: only the user can say which."""


@dataclass(frozen=True)
class Reading:
    """Settings of the same names; all are optional, for most folders and tables say it themselves.

    Attributes:
        layout: "folders" or "table", where both are there.
        audio_column_name, split_column_name, group_column_name: columns of these meanings; "none" is not a column, for
            splits and groups.
        label_column_name: the column of classes; several are columns of 0 and 1, one for each class.
        label_separator: what stands between several labels of a cell; "none" takes a cell as one name.
        merge_classes: names that differ only in case, spaces or Unicode form are one class.
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
        """Settings that are given and that only a table can have."""
        return [name for name in vars(self) if name.endswith(("_column_name", "_separator")) and getattr(self, name)]

    @property
    def wants_table(self) -> bool:
        return self.layout == "table" or bool(self.of_table)


@dataclass
class Read:
    """What was read, by either way; see `Understanding` for the words.

    Attributes:
        columns: how the columns of a table are read, where their names do not say it.
        group_column: the column of a table that is the group.
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
