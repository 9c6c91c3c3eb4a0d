"""Reads the label cells of a table: one name, several names, or yes and no for each class."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Sequence

from hf_audio.corpora.folder.column_names import SEVERAL_LABELS, plain
from hf_audio.corpora.folder.idle import IdleError
from hf_audio.corpora.folder.reading import NONE
from hf_audio.corpora.folder.table_files import Table
from hf_audio.errors import InputError

Labels = list[tuple[str, ...]]

# How programs such as pandas and R write an empty value; lower-case "none" may well be a class.
_NOTHING = frozenset(("", "nan", "<na>", "n/a", "#n/a", "null", "nat"))
_NOTHING_AS_WRITTEN = frozenset(("None", "NA", "NULL"))
YES, NO = frozenset(("1", "true", "yes", "y", "t")), frozenset(("0", "false", "no", "n", "f"))
_LIST = re.compile(r"[\[({].*[\])}]", re.DOTALL)
_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""")


def is_nothing(cell: str) -> bool:
    """Whether a cell is empty or contains what programs write for an empty value: nan, null, N/A ..."""
    return cell.casefold() in _NOTHING or cell in _NOTHING_AS_WRITTEN


def one_label(table: Table, column: str, separator: str | None) -> Labels:
    """The single label of each row.

    Raises:
        InputError: a row without a label; `separator` is None and cells look like several labels; or `separator` is
            NONE and no cell does.
    """
    empty = [(line, row[column]) for line, row in table.rows if is_nothing(row[column])]
    if empty:
        line, found = empty[0]
        if len(empty) == len(table.rows):
            raise InputError(f"{table.path}: no row has a label in column {column!r}; write a class in each")
        raise InputError(
            f"{table.path} line {line}: {len(empty):,} of {len(table.rows):,} rows have no label in column {column!r} "
            f"(found {found!r}), expected exactly one in each; label or remove these rows, or rename the column to "
            "labels, which may be empty"
        )
    joined = _joined_cells(set(table.values(column)))
    if separator is None:
        _refuse_several(table, column, joined)
    elif not joined and not (plain(column) in SEVERAL_LABELS and any("," in cell for cell in table.values(column))):
        raise no_several(separator, column, table.path.name)
    return [(cell,) for cell in table.values(column)]


def several_labels(table: Table, column: str, separator: str | None) -> tuple[Labels, str]:
    """All labels of each row, and how they are written; an empty cell means no class.

    Raises:
        InputError: no row has a label, or no cell has the given separator.
    """
    cells = ["" if is_nothing(cell) else cell for cell in table.values(column)]
    if separator is not None:
        told, split = f"separated by {separator!r}", lambda cell: cell.split(separator)
        if not any(separator in cell for cell in cells):
            raise no_several(separator, column, table.path.name)
    elif any(_LIST.fullmatch(cell) for cell in cells):
        told, split = "as lists", _of_list
    elif any(mark in cell for cell in cells for mark in ";|"):
        told, split = "separated by semicolons", lambda cell: cell.replace("|", ";").split(";")
    else:
        told, split = "separated by commas", lambda cell: cell.split(",")
    labels = [
        tuple(dict.fromkeys(name.strip() for name in split(cell) if not is_nothing(name.strip()))) for cell in cells
    ]
    if not any(labels):
        raise InputError(
            f"{table.path}: no row has a label in column {column!r}; write classes there, several in a row separated "
            "by semicolons"
        )
    return labels, told if any(len(row) > 1 for row in labels) else ""


def one_hot_labels(table: Table, columns: Sequence[str]) -> Labels:
    """The columns with a yes in each row.

    Raises:
        InputError: a cell that is neither yes nor no, or no cell with a yes.
    """
    for line, row in table.rows:
        for column in columns:
            if says_yes(row[column]) is None:
                raise InputError(
                    f"{table.path} line {line}: column {column!r} has {row[column]!r}, but each of the class "
                    f"columns ({', '.join(columns[:3])} ...) must have 0 or 1 in every row"
                )
    labels = [tuple(column for column in columns if says_yes(row[column])) for _, row in table.rows]
    if not any(labels):
        raise InputError(
            f"{table.path}: no row has a label, because none of the columns {', '.join(columns[:3])} ... has a 1"
        )
    return labels


def says_yes(cell: str) -> bool | None:
    """True for a cell like 1, 1.0, True or yes; False for the opposite; None for anything else."""
    plain = cell.casefold()
    plain = plain.rstrip("0").rstrip(".") or "0" if re.fullmatch(r"[01]\.0*", plain) else plain
    return True if plain in YES else False if plain in NO else None


def no_several(separator: str, column: str, place: str) -> IdleError:
    """The error for a separator flag if no cell has several labels."""
    held = "looks like several labels" if separator == NONE else f"contains {separator!r}"
    return IdleError("label_separator", repr(separator), f"no value of column {column!r} of {place} {held}")


def _joined_cells(cells: set[str]) -> set[str]:
    """The cells that look like several labels."""
    joined = {cell for cell in cells if any(mark in cell for mark in ";|") or _LIST.fullmatch(cell)}
    return joined | _joined_by_commas(cells)


def _refuse_several(table: Table, column: str, joined: set[str]) -> None:
    """Refuses cells that look like several labels in a column for one label."""
    found = next(((line, row[column]) for line, row in table.rows if row[column] in joined), None)
    if found:
        line, cell = found
        raise InputError(
            f"{table.path} line {line}: {cell!r} in column {column!r} looks like several labels, but the column is for "
            f"exactly one; rename it to labels or give --label_separator {_separator_in(cell)!r} to read several, or "
            f"give --label_separator {NONE} if this is one name"
        )


def _joined_by_commas(names: set[str]) -> set[str]:
    """Names with commas whose parts are names or parts of other names: "digit,d0" if there is "d0" or "digit,d1"."""
    parts_of = {name: [part.strip() for part in name.split(",")] for name in names if "," in name}
    times = Counter(part for parts in parts_of.values() for part in set(parts))
    return {name for name, parts in parts_of.items() if any(part in names or times[part] > 1 for part in parts)}


def _separator_in(cell: str) -> str:
    return next((mark for mark in ";|" if mark in cell), ",")


def _of_list(cell: str) -> list[str]:
    """Names in a list that JSON, Python or numpy wrote; a cell that is not a list is one name."""
    if not _LIST.fullmatch(cell):
        return [cell]
    with contextlib.suppress(ValueError):
        found = json.loads(cell)
        if isinstance(found, list):
            return [str(name) for name in found if name is not None]
    quoted = [first or second for first, second in _QUOTED.findall(cell)]
    inner = cell[1:-1]
    return quoted or (inner.split(",") if "," in inner else inner.split())
