"""Tables as people and programs write them: commas, semicolons, tabs or bars, with a byte-order mark or without."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from hf_audio.errors import InputError

Row = dict[str, str]


def read_table(table: Path, required: Sequence[str] = ()) -> tuple[list[str], list[tuple[int, Row]]]:
    """Column names, and the number of its last line with each row that is not empty; all values are stripped.

    Raises:
        InputError: no such file, not UTF-8, not a table, two columns of one name, more values in a row than columns,
            a quotation mark that is never closed, or a required column is missing.
    """
    text = _read_text(table)
    before = 0
    if text.lower().startswith("sep="):  # how spreadsheets are told the separator
        text, before = text.partition("\n")[2], 1
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t|", key=header.count))
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        rows = []
        for row in reader:
            line = before + reader.line_num
            _check_row(table, line, row, text)
            rows.append((line, {key: (value or "").strip() for key, value in row.items() if key}))
    except csv.Error as error:
        raise InputError(f"{table} line {before + reader.line_num} cannot be read as a table: {error}") from None
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{table} has {columns.count(twice)} columns called {twice!r}; rename or remove all but one")
    missing = [name for name in required if name not in columns]
    if missing:
        raise InputError(f"{table} has columns {', '.join(columns) or '(none)'} but needs {', '.join(required)}")
    return columns, [(line, row) for line, row in rows if any(row.values())]


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """The text of a table, column names first."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _read_text(table: Path) -> str:
    try:
        content = table.read_bytes()
    except OSError as error:
        raise InputError(f"{table} cannot be read: {error.strerror}; expected a CSV") from None
    if content.startswith(b"PK\x03\x04"):
        raise InputError(f"{table} is a spreadsheet or an archive, not a text; save it as CSV in UTF-8")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:1000]:
        raise InputError(f"{table} is UTF-16 text or no text at all; save it as CSV in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{table} is not UTF-8 text; save it as UTF-8") from None


def _check_row(table: Path, line: int, row: dict[str | None, str | list[str] | None], text: str) -> None:
    """Refuse rows that would lose something: what is behind the last column, or what a quotation mark swallowed."""
    surplus = [value for value in row.get(None) or () if value.strip()]
    if surplus:
        raise InputError(
            f"{table} line {line} has {len(row) - 1 + len(row[None])} values for {len(row) - 1} columns; "
            "put values that hold a separator in quotation marks"
        )
    last = [value for value in row.values() if isinstance(value, str)][-1:]
    if last and "\n" in last[0] and text.rstrip().endswith(last[0].rstrip()):
        raise InputError(f"{table} has a quotation mark before line {line} that is never closed; close or remove it")


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
