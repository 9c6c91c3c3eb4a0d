"""From a table to clips: each column in the meaning that was found for it, and a word on every other."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hf_audio.corpora.folder.columns import (
    LabelColumns,
    fold_name,
    group_column,
    label_columns,
    path_column,
    split_column,
)
from hf_audio.corpora.folder.label_cells import Labels, is_nothing, one_hot_labels, one_label, several_labels
from hf_audio.corpora.folder.locating import Located
from hf_audio.corpora.folder.reading import NONE, Read, Reading, UndecidedError
from hf_audio.corpora.folder.split_names import split_called
from hf_audio.corpora.folder.stretches import stretches, time_columns
from hf_audio.corpora.folder.table_files import Table
from hf_audio.data.index import Clip
from hf_audio.data.understanding import counted, some
from hf_audio.errors import InputError

_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\\w")
_TOP_FOLDERS = frozenset(("home", "Users", "Volumes", "mnt", "media", "data", "root", "scratch", "content", "kaggle"))


class Meaning(NamedTuple):
    """What the first columns of a table mean, which decides whether it is one of recordings at all."""

    path: str
    located: Located
    labels: LabelColumns

    @property
    def share_found(self) -> float:
        return self.located.num_found / max(1, len(self.located.files))


def meaning_of(table: Table, reading: Reading, bases: Sequence[Path]) -> Meaning:
    """Columns of paths and classes, and the files that are named.

    Raises:
        InputError: there are no such columns.
        UndecidedError: it cannot be told which they are.
    """
    path, located = path_column(table, reading, bases)
    try:
        return Meaning(path, located, label_columns(table, reading, path))
    except UndecidedError as error:
        if located.num_found:
            raise
        raise InputError(str(error)) from None  # of other files: not a table of these recordings


def read_table_clips(table: Table, meaning: Meaning, reading: Reading) -> Read:
    """The clips of a table, one a row.

    Raises:
        InputError: no rows, files that do not exist, a row twice, or cells that are not what their column is for.
    """
    if not table.rows:
        raise InputError(f"{table.path} has a header but no rows; expected one row a clip")
    _check_files(table, meaning)
    taken = [meaning.path, *meaning.labels.columns]
    split, split_remark = split_column(table, reading, taken)
    group, group_remark = group_column(table, reading, [*taken, *filter(None, [split])], split is not None)
    taken += filter(None, (split, group))
    times = time_columns(table, taken)
    labels, told_labels = _labels(table, meaning.labels, reading)
    names, files = meaning.located.names, meaning.located.files
    kept, machine_paths = _metadata_columns(table, [*taken, *times.columns])
    clips = [
        Clip(
            path=files[number],
            labels=labels[number],
            group=names[number] if group is None or is_nothing(row[group]) else row[group],
            clip_id=names[number] + stretch.name,
            start_s=stretch.start_s or 0.0,
            end_s=stretch.end_s,
            split=None if split is None or is_nothing(row[split]) else _split(row[split]),
            metadata={column: row[column] for column in kept},
        )
        for number, ((_, row), stretch) in enumerate(zip(table.rows, stretches(table, times, files), strict=True))
    ]
    _check_once(table, clips)
    roles = {meaning.path: "the path", **dict.fromkeys(filter(None, [group]), "the group")}
    told = [f"{column} {role}" for column, role in roles.items() if column != role.split()[-1]]
    told += [
        part for part in (meaning.located.told and f"paths {meaning.located.told}", told_labels, times.told) if part
    ]
    without_group = sum(group is None or is_nothing(row[group]) for _, row in table.rows)
    read = Read(
        f"the table {table.path.name}" + (f" ({'; '.join(told)})" if told else ""),
        clips,
        _told_groups(clips, group, without_group),
        _told_splits(clips, split),
        without_group,
        remarks=[remark for remark in (split_remark, group_remark) if remark],
    )
    _name_the_rest(read, table, kept, machine_paths, clips)
    return read


def _labels(table: Table, columns: LabelColumns, reading: Reading) -> tuple[Labels, str]:
    """The labels of each row, and how they were read where that is not plain."""
    if columns.one_hot:
        return one_hot_labels(table, columns.columns), f"columns {some(columns.columns)} a class each"
    column, separator = columns.columns[0], reading.label_separator
    told = "" if column in ("label", "labels") else f"{column} the class{columns.told}"
    if separator == NONE or (separator is None and not columns.several):
        return one_label(table, column, separator), told
    labels, how = several_labels(table, column, separator)
    return labels, "; ".join(filter(None, [told, how and f"several labels {how}"]))


def _split(written: str) -> str:
    return split_called(written) or fold_name(written)


def _metadata_columns(table: Table, taken: Sequence[str]) -> tuple[list[str], list[str]]:
    """Columns that travel on as facts of clips, and those that do not because they hold paths of this machine."""
    others = [column for column in table.columns if column and column not in taken]
    machine_paths = [column for column in others if any(_is_of_a_machine(value) for value in table.values(column))]
    return [column for column in others if column not in machine_paths], machine_paths


def _is_of_a_machine(value: str) -> bool:
    """Whether a value is the path of a file on some machine, and not, like AudioSet's /m/04rlf, a name with slashes."""
    if value.startswith("file://") or _DRIVE.match(value):
        return True
    top = value.split("/")[1:2]
    return value.startswith("/") and bool(top[0]) and (top[0] in _TOP_FOLDERS or os.path.isdir(f"/{top[0]}"))


def _check_files(table: Table, meaning: Meaning) -> None:
    located = meaning.located
    unknown = [number for number, file in enumerate(located.files) if file is None]
    if unknown:
        raise InputError(
            f"{table.path} names {len(unknown)} of {len(located.files)} files that do not exist, first "
            f"{table.rows[unknown[0]][1][meaning.path]!r} in line {table.rows[unknown[0]][0]}; paths are read relative "
            f"to {table.path.parent}"
        )


def _check_once(table: Table, clips: Sequence[Clip]) -> None:
    lines: dict[tuple, int] = {}
    for (line, _), clip in zip(table.rows, clips, strict=True):
        first = lines.setdefault((os.path.abspath(clip.path), clip.start_s, clip.end_s), line)
        if first != line:
            raise InputError(
                f"{table.path} lists {clip.clip_id!r} twice, in lines {first} and {line}; give several labels of one "
                "clip in one row of a column labels, separated by semicolons, or tell stretches apart by start_s and "
                "end_s"
            )


def _told_groups(clips: Sequence[Clip], group: str | None, without_group: int) -> str:
    if group is None:
        return "no grouping is known, so every file is a group of its own"
    number = len({clip.group for clip in clips}) - without_group
    told = f"column {group} ({number:,} groups)"
    return f"{told}; {without_group:,} rows have none and are groups of their own" if without_group else told


def _told_splits(clips: Sequence[Clip], split: str | None) -> str:
    if split is None:
        return "none given, to be drawn"
    without = sum(clip.split is None for clip in clips)
    told = f"column {split} ({some(sorted({clip.split for clip in clips if clip.split}))})"
    return f"{told}; {without:,} rows have none and are trained on" if without else told


def _name_the_rest(
    read: Read, table: Table, kept: Sequence[str], machine_paths: Sequence[str], clips: Sequence[Clip]
) -> None:
    if kept:
        read.not_used.append(counted(kept, "column kept as metadata only", "columns kept as metadata only"))
    if machine_paths:
        read.not_used.append(
            counted(machine_paths, "column of paths of this machine", "columns of paths of this machine")
        )
    unlabelled = sum(not clip.labels for clip in clips)
    if unlabelled:
        read.remarks.append(f"{unlabelled:,} rows have no label and are examples of no class")
    groups = len({clip.group for clip in clips})
    if not read.num_without_group and groups == len({clip.path for clip in clips}):
        read.remarks.append("the column of groups names another group for each file, so that it keeps nothing together")
