"""One table per split: train.csv and test.csv, or train/metadata.csv and test/metadata.csv."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hf_audio.corpora.folder.reading import NO_GROUPS, Read
from hf_audio.corpora.folder.split_names import is_fold, split_within
from hf_audio.data.index.table import Clip
from hf_audio.errors import InputError


def are_splits(tables: Sequence[Path], root: Path) -> bool:
    """Whether the names of tables, or of their folders, are all different splits."""
    splits = [_split(table, root) for table in tables]
    return None not in splits and len(set(splits)) == len(splits)


def joined_splits(reads: Mapping[Path, Read], root: Path) -> Read:
    """Joins tables of one split each.

    Raises:
        InputError: a file in two tables, or columns that are read in different ways.
    """
    _check_apart(reads, root)
    _check_alike(reads, root)
    clips = [_clip_of_split(clip, table, root) for table, read in reads.items() for clip in read.clips]
    found = dict.fromkeys(clip.split for clip in clips)
    first = next(iter(reads.values()))
    return Read(
        f"the tables {', '.join(_name(table, root) for table in reads)}"
        + (f" ({first.columns})" if first.columns else ""),
        clips,
        NO_GROUPS if first.group_column is None else f"column {first.group_column}",
        f"from the names of the tables ({', '.join(found)})",
        sum(read.num_without_group for read in reads.values()),
        **{
            name: list(dict.fromkeys(told for read in reads.values() for told in getattr(read, name)))
            for name in ("not_used", "left_out", "remarks")
        },
        columns=first.columns,
        group_column=first.group_column,
    )


def _split(table: Path, root: Path) -> str | None:
    within = table.relative_to(root)
    names = (within.stem, *reversed(within.parts[:-1]))
    return next((split_within(name) or name for name in names if split_within(name) or is_fold(name)), None)


def _name(table: Path, root: Path) -> str:
    return table.relative_to(root).as_posix()


def _clip_of_split(clip: Clip, table: Path, root: Path) -> Clip:
    """A clip with a name that is unique among all tables, in the split of its table."""
    folder = table.parent.relative_to(root).as_posix()
    before = "" if folder == "." else f"{folder}/"
    return dataclasses.replace(
        clip,
        clip_id=before + clip.clip_id,
        group=before + clip.group if clip.is_group_of_its_file else clip.group,
        split=clip.split or _split(table, root),
    )


def _check_apart(reads: Mapping[Path, Read], root: Path) -> None:
    table_of: dict[str, Path] = {}
    for table, read in reads.items():
        for clip in read.clips:
            first = table_of.setdefault(os.path.realpath(clip.path), table)
            if first != table:
                raise InputError(
                    f"{clip.clip_id!r} is listed in {_name(first, root)} and in {_name(table, root)}, which are two "
                    "splits, so this is leakage; list it in only one of them"
                )


def _check_alike(reads: Mapping[Path, Read], root: Path) -> None:
    """Refuses tables whose columns are read in different ways: one description must fit all."""
    ways = {table: (read.columns, read.group_column) for table, read in reads.items()}
    first, *others = ways
    for table in others:
        if ways[table] != ways[first]:
            raise InputError(
                f"{_name(first, root)} and {_name(table, root)} are tables of two splits, but their columns would be "
                f"read in different ways ({reads[first].layout}; {reads[table].layout}); give them the same columns"
            )
