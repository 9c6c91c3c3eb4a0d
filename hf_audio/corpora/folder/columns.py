"""Finds the meaning of a table's columns: from the user's settings, their names, and their values."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from hf_audio.corpora.folder.column_names import (
    GROUPS,
    LABELS,
    MORE_SPLITS,
    PATHS,
    SEVERAL_LABELS,
    SPLITS,
    is_an_identity,
    is_grouping,
    plain,
    says_one_split,
)
from hf_audio.corpora.folder.contents import AUDIO_SUFFIXES
from hf_audio.corpora.folder.idle import nothing_to_leave_out
from hf_audio.corpora.folder.label_cells import is_nothing, says_yes
from hf_audio.corpora.folder.locating import Located, Places, locate
from hf_audio.corpora.folder.reading import NONE, Reading, UndecidedError
from hf_audio.corpora.folder.split_names import is_fold, split_called
from hf_audio.corpora.folder.table_files import Table
from hf_audio.errors import InputError, nearest_name, unknown_name

OWN_COLUMNS = ("path", "label", "labels", "group", "split", "start_s", "end_s")
FLAGS = {"path": "audio", "label": "label"}  # names of columns in flags
MAX_CLASS_WORDS = 0.5  # maximum number of different values of a column of classes, as a share of its rows


class LabelColumns(NamedTuple):
    """The class columns: one for all classes, or one per class; `told` explains what is not obvious."""

    columns: tuple[str, ...]
    one_hot: bool = False
    several: bool = False
    told: str = ""


def path_column(table: Table, reading: Reading, places: Places) -> tuple[str, Located]:
    """The column of paths, and the files they refer to.

    Raises:
        InputError: no such column, or two that refer to different files.
    """
    _check_header(table)
    if reading.audio_column_name:
        column = _known(table, reading.audio_column_name)
        return column, locate(table.values(column), table.path, places)
    named = _named(table.columns, PATHS)
    candidates = [column for column in named if _holds_audio_names(table, column)]
    candidates = candidates or [column for column in table.columns if _holds_audio_names(table, column)]
    located = {column: locate(table.values(column), table.path, places) for column in candidates}
    if not any(one.num_found for one in located.values()):  # perhaps names without suffix, or in columns like id
        weaker = [column for column in named if column not in located]
        located |= {column: locate(table.values(column), table.path, places) for column in weaker}
    if not located:
        raise _lacking(table, ["path"] if _named(table.columns, (*LABELS, *SEVERAL_LABELS)) else ["path", "label"])
    best = max(located, key=lambda column: located[column].num_found)  # the first if equal
    full = [column for column in candidates if located[column].num_found == len(table.rows) and column != best]
    differing = next((column for column in full if _real(located[column]) != _real(located[best])), None)
    if differing and located[best].num_found == len(table.rows):
        raise UndecidedError(
            f"{table.path} has two columns that name different files, {best} and {differing}; choose one, e.g. "
            f"--audio_column_name {best}"
        )
    return best, located[best]


def label_columns(table: Table, reading: Reading, path: str) -> LabelColumns:
    """The column of classes, or one column of yes and no per class.

    Raises:
        InputError: no such column, or several candidates.
    """
    if reading.label_column_name:
        columns = tuple(_known(table, column) for column in reading.label_column_name)
        if len(columns) > 1:
            return LabelColumns(columns, one_hot=True)
        return LabelColumns(columns, several=plain(columns[0]) in SEVERAL_LABELS)
    others = [column for column in table.columns if column != path]
    exact = [column for column in others if column in ("label", "labels")] or [
        column for column in others if plain(column) in ("label", "labels")
    ]
    candidates = exact or _named(others, (*LABELS, *SEVERAL_LABELS))
    if not candidates:
        return _one_hot(table, others)
    names = [column for column in candidates if not _is_numeric(table, column)] or candidates
    for other in candidates:
        if not _same_classes(table, names[0], other):
            raise UndecidedError(
                f"{table.path} has two columns that could be the classes, {names[0]} and {other}; choose one, e.g. "
                f"--label_column_name {names[0]}"
            )
    same = [column for column in candidates if column != names[0]]
    told = f" (column {', '.join(same)} has the same meaning)" if same else ""
    return LabelColumns((names[0],), several=plain(names[0]) in SEVERAL_LABELS, told=told)


def split_column(table: Table, reading: Reading, taken: Iterable[str]) -> tuple[str | None, str]:
    """The column of splits or folds, and a remark on another candidate.

    Raises:
        InputError: several candidates; or the setting is "none" and there is no candidate.
    """
    chosen = reading.split_column_name
    if chosen and chosen != NONE:
        return _known(table, chosen), ""
    others = [column for column in table.columns if column not in taken]
    exact = _named(others, SPLITS)
    by_name = _named(others, MORE_SPLITS)
    more = [
        column
        for column in (*by_name, *(column for column in others if column not in (*by_name, *exact)))
        if hold_splits(column, set(table.values(column)))
    ]
    of_one = next((column for column in others if says_one_split(column)), None)
    if chosen == NONE:
        if not (exact or more or of_one):
            raise nothing_to_leave_out("split_column_name", "the splits", table.path.name)
        return None, ""
    if of_one and not exact and not more:
        raise InputError(
            f"{table.path} has no column split, but {of_one} says yes or no for one split: turn it into a column split "
            f"with train and test, or give --split_column_name {NONE} to draw other splits"
        )
    if not exact and len(more) > 1:
        raise InputError(
            f"{table.path} has two columns that could be the splits, {more[0]} and {more[1]}; choose one, e.g. "
            f"--split_column_name {more[0]}"
        )
    column = (exact or more or [None])[0]
    unused = [one for one in more if one != column]
    remark = f"column {unused[0]} could also be the splits: --split_column_name {unused[0]} uses it" if unused else ""
    return column, remark


def group_column(table: Table, reading: Reading, taken: Iterable[str], split: str | None) -> tuple[str | None, str]:
    """The column of groups, and a remark on a candidate.

    If official splits lack a validation split, it is drawn from the training rows, without dividing a speaker.

    Args:
        table: the table.
        reading: the user's settings.
        taken: columns with another meaning, the paths first.
        split: the column of official splits, if there is one.

    Raises:
        InputError: splits have to be drawn and there are candidates such as speaker or session; or the setting is
            "none" and there is no candidate.
    """
    chosen = reading.group_column_name
    if chosen and chosen != NONE:
        return _known(table, chosen), ""
    others = [column for column in table.columns if column not in taken]
    exact = [column for column in _named(others, GROUPS) if not all(map(is_nothing, table.values(column)))]
    files = len({row[next(iter(taken))] for _, row in table.rows})
    distinct = {column: len(set(table.values(column)) - {""}) for column in others if is_grouping(column)}
    offered = sorted((column for column, number in distinct.items() if 1 < number < files), key=distinct.get)
    identity = "" if exact or offered else _told_identity(table, others, list(taken)[1:], files)
    if chosen == NONE:
        if not (exact or offered or identity):
            raise nothing_to_leave_out("group_column_name", "the groups", table.path.name)
        return None, ""
    if exact or not offered:
        return next(iter(exact), None), identity
    flag = f"--group_column_name {offered[0]}"
    if split:
        if "validation" not in {split_called(value) for value in table.values(split)}:
            return offered[0], f"column {offered[0]} is used as the group: --group_column_name {NONE} prevents that"
        return None, f"column {', '.join(offered)} could be the groups: {flag} keeps each in one split"
    raise InputError(
        f"{table.path} has no column group, but column {' or '.join(offered)} could be it: give {flag}, so that no "
        f"{offered[0]} is in training and test, or --group_column_name {NONE} to make every file a group of its own"
    )


def _told_identity(table: Table, others: Sequence[str], labels: Sequence[str], num_files: int) -> str:
    """A remark on a column such as dog_id, which may be the group rather than just the number of the class."""
    for column in filter(is_an_identity, others):
        values = set(table.values(column)) - {""}
        of_classes = {tuple(row[name] for name in (*labels, column)) for _, row in table.rows}
        classes = {tuple(row[name] for name in labels) for _, row in table.rows}
        if 1 < len(values) < num_files and len(of_classes) > len(classes):
            return f"column {column} could be the groups: --group_column_name {column} keeps each in one split"
    return ""


def _check_header(table: Table) -> None:
    """Refuses a table without a header, or with columns separated by spaces."""
    if table.path.suffix.lower() in (".json", ".jsonl", ".ndjson", ".parquet"):
        return
    if any(Path(column).suffix.lower() in AUDIO_SUFFIXES for column in table.columns):
        raise InputError(
            f"{table.path} has no header: its first line names a file; add a first line with the names of the columns, "
            "such as path,label"
        )
    words = [plain(word) for word in table.columns[0].split()] if len(table.columns) == 1 else []
    if len(words) > 1 and set(words) & {*PATHS, *LABELS}:
        raise InputError(
            f"{table.path} has only one column, {table.columns[0]!r}: separate columns by commas or tabs, not spaces"
        )


def _known(table: Table, column: str) -> str:
    if column in table.columns:
        return column
    raise unknown_name(f"column of {table.path.name}", column, table.columns)


def _named(columns: Iterable[str], names: Sequence[str]) -> list[str]:
    """The columns with one of these names, in the order of the names."""
    columns = list(columns)
    return sorted((column for column in columns if plain(column) in names), key=lambda one: names.index(plain(one)))


def _holds_audio_names(table: Table, column: str) -> bool:
    values = table.values(column)
    return bool(values) and 2 * sum(Path(value).suffix.lower() in AUDIO_SUFFIXES for value in values) > len(values)


def _real(located: Located) -> list[str]:
    return [os.path.realpath(file) for file in located.files if file]


def _is_numeric(table: Table, column: str) -> bool:
    return all(value.lstrip("-").replace(".", "", 1).isdigit() for value in table.values(column))


def _same_classes(table: Table, first: str, second: str) -> bool:
    """Whether two columns correspond one to one, like class names and their numbers."""
    pairs = {(row[first], row[second]) for _, row in table.rows}
    return len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})


def _one_hot(table: Table, others: Sequence[str]) -> LabelColumns:
    binary = [column for column in others if _is_binary(table, column)]
    words = [column for column in others if _could_be_classes(table, column)]
    if len(binary) < 2 or words:
        raise _lacking(table, ["label (or labels)"], [*words, *binary])
    return LabelColumns(tuple(binary), one_hot=True)


def _is_binary(table: Table, column: str) -> bool:
    """Whether a column has yes and no for a class, which may well be called bird, person or song."""
    values = table.values(column)
    return not _has_own_role(column) and bool(values) and all(says_yes(value) is not None for value in values)


def _could_be_classes(table: Table, column: str) -> bool:
    """Whether a column without a known name has repeated words."""
    if _has_role(column) or _is_numeric(table, column) or _is_binary(table, column):
        return False
    words = {value for value in table.values(column) if not is_nothing(value)}
    return 1 < len(words) <= MAX_CLASS_WORDS * len(table.rows)


def _has_role(column: str) -> bool:
    return _has_own_role(column) or is_grouping(column)


def _has_own_role(column: str) -> bool:
    return plain(column) in (*GROUPS, *SPLITS, *MORE_SPLITS, *PATHS) or says_one_split(column)


def hold_splits(column: str, values: Collection[str]) -> bool:
    """Whether the values of a column with this name are splits, or numbers or names of folds."""
    values = {value for value in values if not is_nothing(value)}
    by_name = all(split_called(value) or is_fold(value) for value in values)
    name = plain(column)
    numbered = "fold" in name or "split" in name or name in ("set", "subset", "partition", "cv")
    return len(values) > 1 and (by_name or (numbered and all(fold_name(value).isdigit() for value in values)))


def fold_name(value: str) -> str:
    """A fold's number without the decimals that programs add: "1.0" is "1"."""
    return value.removesuffix(".0")


def _lacking(table: Table, missing: Sequence[str], offered: Sequence[str] = ()) -> InputError:
    """The error for missing columns, with likely candidates."""
    if offered:
        hint = f"; choose the column with the classes, e.g. --label_column_name {offered[0]}"
        if len(offered) > 1:
            hint += f", or one column of 0 and 1 per class: --label_column_name {' '.join(offered[:3])}"
    else:
        wanted = [name for name in OWN_COLUMNS if any(name in words for words in missing)]
        guesses = [(column, nearest_name(column, wanted)) for column in table.columns if column not in OWN_COLUMNS]
        hint = "".join(f"; should {column!r} be {guess!r}?" for column, guess in guesses if guess)
    flags = " and ".join(f"--{FLAGS[name.split()[0]]}_column_name" for name in missing)
    return InputError(
        f"{table.path} has columns {', '.join(table.columns) or '(none)'} but needs {' and '.join(missing)}"
        f"{hint or f'; rename a column, or choose it with {flags}'}"
    )
