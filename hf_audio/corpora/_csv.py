"""Tables as people and programs write them: commas, semicolons or tabs, with a byte-order mark or without."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from hf_audio.errors import InputError

Row = dict[str, str]


def read_table(table: Path, required: Sequence[str] = ()) -> tuple[list[str], list[tuple[int, Row]]]:
    """Column names, and the number of its last line with each row that is not empty; all values are stripped.

    Raises:
        InputError: no such file, not UTF-8, not a table, or a required column is missing.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{table} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{table} cannot be read: {error.strerror}") from None
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        rows = [(reader.line_num, {key: (value or "").strip() for key, value in row.items() if key}) for row in reader]
    except csv.Error as error:
        raise InputError(f"{table} line {reader.line_num} cannot be read as a table: {error}") from None
    missing = [name for name in required if name not in columns]
    if missing:
        raise InputError(f"{table} has columns {', '.join(columns) or '(none)'} but needs {', '.join(required)}")
    return columns, [(line, row) for line, row in rows if any(row.values())]


def read_stretch(table: Path, line: int, row: Row) -> tuple[float | None, float | None]:
    """`start_s` and `end_s` of a row in seconds, None where there is none.

    Raises:
        InputError: not a number of seconds, or the end is not after the start.
    """
    start_s, end_s = (_seconds(table, line, row, column) for column in ("start_s", "end_s"))
    if end_s is not None and end_s <= (start_s or 0.0):
        raise InputError(f"{table} line {line}: end_s {end_s:g} is not after start_s {start_s or 0.0:g}")
    return start_s, end_s


def _seconds(table: Path, line: int, row: Row, column: str) -> float | None:
    written = row.get(column)
    if not written:
        return None
    try:
        seconds = float(written.replace(",", "."))  # spreadsheets that write semicolons write decimal commas
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError(f"{table} line {line}: {column} {written!r} is not a number of seconds")
    return seconds
