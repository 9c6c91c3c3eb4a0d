"""Reads and writes CSV tables: separated by commas, semicolons, tabs or bars, with or without a byte-order mark.

Names of files and classes may be untrusted, and spreadsheets run cells that begin like a formula. Such cells are
written with a leading apostrophe, as spreadsheets themselves mark text, and read without it.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hf_audio.errors import InputError
from hf_audio.files import MAX_TABLE_BYTES, read_whole

Row = dict[str, str]

# Where a cell begins, including where a spreadsheet that splits at semicolons or tabs would begin one.
_CELL = r"(?<![^;\t\r\n])"
_FORMULA = r"(?=[' ]*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r])"  # including the full-width signs
_NUMBER = re.compile(r"[-+](?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|inf)?")  # or only a sign, which is harmless
_TO_MARK = re.compile(_CELL + _FORMULA)
_MARK = re.compile(f"{_CELL}'{_FORMULA}")


def read_table(table: Path, required: Sequence[str] = ()) -> tuple[list[str], list[tuple[int, Row]]]:
    """Column names, and each non-empty row with the number of its last line; all values are stripped.

    Raises:
        InputError: no such file, not UTF-8, not a table, two columns with the same name, more values in a row than
            columns, a quotation mark that is never closed, or a required column is missing.
    """
    return table_of(read_whole(table, MAX_TABLE_BYTES), table, required)


def table_of(
    content: bytes, table: str | Path, required: Sequence[str] = ()
) -> tuple[list[str], list[tuple[int, Row]]]:
    """The same from the bytes of a table; errors call it `table`.

    Raises:
        InputError: see `read_table`.
    """
    text = _text_of(content, table)
    before = 0
    if text[:4].lower() == "sep=":  # tells spreadsheets the separator
        text, before = text.partition("\n")[2], 1
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t|", key=header.count))
    rows, row = [], {}
    try:
        columns = [_unmarked(name.strip()) for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        for row in reader:
            line = before + reader.line_num
            _check_width(table, line, row)
            rows.append((line, {key: _unmarked((row[key] or "").strip()) for key in columns if key}))
    except csv.Error as error:
        raise InputError(f"{table} line {before + reader.line_num} cannot be read as a table: {error}") from None
    _check_is_closed(table, before + reader.line_num, row, text)
    _check_columns(table, columns, required)
    return columns, [(line, row) for line, row in rows if any(row.values())]


def written_rows(table: Path, required: Sequence[str] = ()) -> Iterator[Row]:
    """The rows that `csv_text` wrote, with exactly the same values.

    Raises:
        InputError: no such file, not UTF-8, not such a table, two columns with the same name, a row of another length
            than the first, or a required column is missing.
    """
    reader = csv.reader(io.StringIO(_read_text(table), newline=""), strict=True)
    try:
        columns = [_unmarked(name) for name in next(reader, ())]
        _check_columns(table, columns, required)
        for row in filter(None, reader):
            if len(row) != len(columns):
                raise InputError(
                    f"{table} line {reader.line_num} has {len(row)} values for {len(columns)} columns: it is damaged "
                    "or was edited; get it again"
                )
            yield dict(zip(columns, map(_unmarked, row), strict=True))
    except csv.Error as error:
        raise InputError(f"{table} line {reader.line_num} cannot be read as a table: {error}") from None


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """The text of a table, column names first; spreadsheets do not run any of it as a formula."""
    text = _Lines()
    # The default of Python 3.10 for escapechar is NUL, which it then cannot write; a lone surrogate is in no text
    writer = csv.writer(text, lineterminator="\r\n", escapechar="\ud800")
    writer.writerows(map(_marked, row) for row in rows)
    return text.getvalue()


def names_cell(names: Iterable[str]) -> str:
    """A cell with several names: separated by semicolons, or as a JSON list if a name could be split or stripped."""
    names = list(names)
    if any(name != name.strip() or not name or name[0] == "[" or set(name) & set(";|") for name in names):
        return json.dumps(names, ensure_ascii=False)
    return ";".join(names)


def names_in_cell(cell: str) -> tuple[str, ...]:
    """The names in a cell that `names_cell` wrote; bars work like semicolons.

    Raises:
        InputError: it begins like a JSON list but is not one.
    """
    if cell.startswith("["):
        try:
            found = json.loads(cell)
        except (ValueError, RecursionError):
            found = None
        if not (isinstance(found, list) and all(isinstance(name, str) and name for name in found)):
            raise InputError(f'{cell[:100]!r} is not a JSON list of names, such as ["one; two", "three"]')
        return tuple(dict.fromkeys(found))
    return tuple(dict.fromkeys(name.strip() for name in cell.replace("|", ";").split(";") if name.strip()))


class _Lines(io.StringIO):
    """Ends lines with a line feed only, while the writer still quotes cells with a carriage return."""

    def write(self, line: str) -> int:
        return super().write(line.removesuffix("\r\n") + "\n")


def _marked(cell: object) -> object:
    if cell is None or isinstance(cell, int | float) or _NUMBER.fullmatch(text := str(cell)):
        return cell
    return _TO_MARK.sub("'", text)


def _unmarked(cell: str) -> str:
    return _MARK.sub("", cell) if "'" in cell else cell


def _read_text(table: Path) -> str:
    return _text_of(read_whole(table, MAX_TABLE_BYTES), table)


def _text_of(content: bytes, table: str | Path) -> str:
    if content.startswith(b"PK\x03\x04"):
        raise InputError(f"{table} is a spreadsheet or an archive, not text; save it as CSV in UTF-8")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:1000]:
        raise InputError(f"{table} is UTF-16 or not text at all; save it as CSV in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{table} is not UTF-8 text; save it as UTF-8") from None


def _check_columns(table: str | Path, columns: Sequence[str], required: Sequence[str]) -> None:
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{table} has {columns.count(twice)} columns called {twice!r}; rename or remove all but one")
    missing = [name for name in required if name not in columns]
    if missing:
        raise InputError(f"{table} has columns {', '.join(columns) or '(none)'} but needs {', '.join(required)}")


def _check_width(table: str | Path, line: int, row: dict[str | None, str | list[str] | None]) -> None:
    """Refuses a row with values beyond the last column, which would be lost."""
    if any(value.strip() for value in row.get(None) or ()):
        raise InputError(
            f"{table} line {line} has {len(row) - 1 + len(row[None])} values for {len(row) - 1} columns; "
            "put values that contain a separator in quotation marks"
        )


def _check_is_closed(table: str | Path, line: int, row: dict[str | None, str | list[str] | None], text: str) -> None:
    """Refuses a last row that swallowed following rows because of an open quotation mark."""
    last = [value for value in row.values() if isinstance(value, str)][-1:]
    if last and "\n" in last[0] and text.rstrip().endswith(last[0].rstrip()):
        raise InputError(f"{table} has a quotation mark before line {line} that is never closed; close or remove it")


def read_stretch(table: Path, line: int, row: Row) -> tuple[float | None, float | None]:
    """`start_s` and `end_s` of a row in seconds, None for an empty cell.

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
