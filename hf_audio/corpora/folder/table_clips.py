"""Converts a table to clips: uses each column according to its meaning, and lists unused columns."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import defaultdict
from collections.abc import Sequence
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
from hf_audio.corpora.folder.locating import Located, Places
from hf_audio.corpora.folder.reading import NO_GROUPS, NO_SPLITS, NONE, Read, Reading, UndecidedError
from hf_audio.corpora.folder.split_names import split_called
from hf_audio.corpora.folder.stretches import TimeColumns, stretches, time_columns
from hf_audio.corpora.folder.table_files import Table
from hf_audio.data.index.table import Clip
from hf_audio.data.index.understanding import counted, some
from hf_audio.errors import InputError

_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\\w")
_AROUND_PATHS = re.compile(r"""[\s"'`()\[\]{}<>,;|=]+""")  # in lists, logs and remarks
_TOP_FOLDERS = frozenset(("home", "Users", "Volumes", "mnt", "media", "data", "root", "scratch", "content", "kaggle"))


class Meaning(NamedTuple):
    """The columns of paths and classes, which every table of recordings has."""

    path: str
    located: Located
    labels: LabelColumns

    @property
    def share_found(self) -> float:
        return self.located.num_found / max(1, len(self.located.files))


class Roles(NamedTuple):
    """The meaning of the other columns, None if missing; columns without a meaning become metadata."""

    split: str | None
    group: str | None
    times: TimeColumns
    metadata: list[str]
    machine_paths: list[str]
    remarks: list[str]


def meaning_of(table: Table, reading: Reading, places: Places) -> Meaning:
    """The columns of paths and classes, and the files.

    Raises:
        InputError: there are no such columns.
        UndecidedError: there are several candidates.
    """
    path, located = path_column(table, reading, places)
    try:
        return Meaning(path, located, label_columns(table, reading, path))
    except UndecidedError as error:
        if located.num_found:
            raise
        raise InputError(str(error)) from None  # the paths name other files: not a table of these recordings


def read_table_clips(table: Table, meaning: Meaning, reading: Reading) -> Read:
    """The clips of a table, one per row.

    Raises:
        InputError: no rows, missing files, duplicate rows, or cells that do not fit their column.
    """
    if not table.rows:
        raise InputError(f"{table.path} has a header but no rows; expected one row per clip")
    _check_files(table, meaning)
    roles = _roles(table, meaning, reading)
    labels, told_labels = _labels(table, meaning.labels, reading)
    clips = _clips(table, meaning, roles, labels)
    _check_once(table, clips)
    shared = "" if reading.group_column_name or roles.group in (None, "group") else _shared(clips, roles.group)
    if shared:
        clips = [_within_its_split(clip) for clip in clips]
    columns = _told_columns(meaning, roles, told_labels)
    read = Read(
        f"the table {table.path.name}" + (f" ({columns})" if columns else ""),
        clips,
        _told_groups(clips, roles.group),
        _told_splits(clips, roles.split),
        sum(clip.is_group_of_its_file for clip in clips),
        remarks=roles.remarks,
        columns=columns,
        group_column=roles.group,
    )
    if roles.group and not reading.group_column_name and _is_a_group_a_file(clips):
        read.num_without_group = len(clips)
        read.remarks.append(f"column {roles.group} has a different group for each file, so it keeps nothing together")
    if shared:
        read.num_without_group = len(clips)
        read.remarks.append(shared)
    _name_the_rest(read, roles)
    return read


def _roles(table: Table, meaning: Meaning, reading: Reading) -> Roles:
    taken = [meaning.path, *meaning.labels.columns]
    split, split_remark = split_column(table, reading, taken)
    taken += [split] if split else []
    group, group_remark = group_column(table, reading, taken, split)
    taken += [group] if group else []
    times = time_columns(table, taken)
    others = [column for column in table.columns if column not in (*taken, *times.columns)]
    machine_paths = [column for column in others if any(map(is_of_a_machine, table.values(column)))]
    metadata = [column for column in others if column not in machine_paths]
    return Roles(split, group, times, metadata, machine_paths, [*filter(None, (split_remark, group_remark))])


def _clips(table: Table, meaning: Meaning, roles: Roles, labels: Labels) -> list[Clip]:
    files, split, group = meaning.located.files, roles.split, roles.group
    found = stretches(table, roles.times, files)
    return [
        Clip(
            path=file,
            labels=of_row,
            group=name if group is None or is_nothing(row[group]) else row[group],
            clip_id=name + stretch.name,
            start_s=stretch.start_s or 0.0,
            end_s=stretch.end_s,
            split=None if split is None or is_nothing(row[split]) else _split(row[split]),
            metadata={column: row[column] for column in roles.metadata},
        )
        for (_, row), name, file, of_row, stretch in zip(
            table.rows, meaning.located.names, files, labels, found, strict=True
        )
    ]


def _shared(clips: Sequence[Clip], group: str) -> str:
    """A remark on groups in more than one official split, empty if there are none."""
    splits_of: dict[str, set[str | None]] = defaultdict(set)
    for clip in clips:
        splits_of[clip.group].add(clip.split)
    several = [name for name, splits in splits_of.items() if len(splits) > 1]
    if not several:
        return ""
    return (
        f"{counted(several, 'group')} of column {group} are in more than one of the official splits, which is leakage: "
        "each counts as a separate group in each split"
    )


def _within_its_split(clip: Clip) -> Clip:
    return dataclasses.replace(clip, group=f"{clip.split or 'train'}/{clip.group}")


def _labels(table: Table, columns: LabelColumns, reading: Reading) -> tuple[Labels, str]:
    """The labels of each row, and how they were read if that is not obvious."""
    if columns.one_hot:
        return one_hot_labels(table, columns.columns), f"columns {some(columns.columns)} one class each"
    column, separator = columns.columns[0], reading.label_separator
    told = "" if column in ("label", "labels") else f"{column} the class{columns.told}"
    if separator == NONE or (separator is None and not columns.several):
        return one_label(table, column, separator), told
    labels, how = several_labels(table, column, separator)
    return labels, "; ".join(filter(None, [told, how and f"several labels {how}"]))


def _split(written: str) -> str:
    return split_called(written) or fold_name(written)


def is_of_a_machine(value: str) -> bool:
    """Whether a value contains a local file path, not just slashes like AudioSet's /m/04rlf."""
    if "/" not in value and "\\" not in value:
        return False
    return any(map(_is_machine_path, _AROUND_PATHS.split(value)))


def _is_machine_path(value: str) -> bool:
    if value.startswith("file://") or _DRIVE.match(value):
        return True
    top = value.split("/")[1:2]
    return value.startswith("/") and bool(top[0]) and (top[0] in _TOP_FOLDERS or os.path.isdir(f"/{top[0]}"))


def _check_files(table: Table, meaning: Meaning) -> None:
    located = meaning.located
    unknown = [number for number, file in enumerate(located.files) if file is None]
    if unknown:
        raise InputError(
            f"{table.path}: {len(unknown)} of {len(located.files)} files do not exist, first "
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
                "clip in one row of a column labels, separated by semicolons, or distinguish stretches by start_s and "
                "end_s"
            )


def _told_columns(meaning: Meaning, roles: Roles, told_labels: str) -> str:
    """How columns are read, if their names do not say it."""
    told = [
        f"{meaning.path} the path" if meaning.path != "path" else "",
        f"paths {meaning.located.told}" if meaning.located.told else "",
        told_labels,
        f"{roles.group} the group" if roles.group not in (None, "group") else "",
        roles.times.told,
    ]
    return "; ".join(filter(None, told))


def _told_groups(clips: Sequence[Clip], group: str | None) -> str:
    if group is None:
        return NO_GROUPS
    known = {clip.group for clip in clips if not clip.is_group_of_its_file}
    without = sum(clip.is_group_of_its_file for clip in clips)
    told = f"column {group} ({len(known):,} groups)"
    return f"{told}; rows without a group, each a group of its own: {without:,}" if without else told


def _told_splits(clips: Sequence[Clip], split: str | None) -> str:
    if split is None:
        return NO_SPLITS
    without = sum(clip.split is None for clip in clips)
    told = f"column {split} ({some(sorted({clip.split for clip in clips if clip.split}))})"
    return f"{told}; rows without a split, used for training: {without:,}" if without else told


def _is_a_group_a_file(clips: Sequence[Clip]) -> bool:
    return len({clip.group for clip in clips}) == len({clip.path for clip in clips})


def _name_the_rest(read: Read, roles: Roles) -> None:
    """Adds unused columns and unlabeled rows to a reading."""
    if roles.metadata:
        read.not_used.append(counted(roles.metadata, "column kept as metadata only", "columns kept as metadata only"))
    if roles.machine_paths:
        paths = counted(roles.machine_paths, "column of local file paths", "columns of local file paths")
        read.not_used.append(paths)
    unlabeled = sum(not clip.labels for clip in read.clips)
    if unlabeled:
        read.remarks.append(f"{unlabeled:,} rows have no label and are negative examples of every class")
