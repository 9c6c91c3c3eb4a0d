"""Reads tables as rows of strings: CSV in all its forms, JSON, JSON lines, Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hf_audio.data.tables import Row, read_table
from hf_audio.errors import InputError, one_line
from hf_audio.files import MAX_TABLE_BYTES, read_whole


class Table(NamedTuple):
    """Columns in order, and each non-empty row with its line number (JSON, Parquet: row number).

    All values are stripped strings; a list is written as JSON, so that its elements can be separated again.
    """

    path: Path
    columns: list[str]
    rows: list[tuple[int, Row]]

    def values(self, column: str) -> list[str]:
        return [row[column] for _, row in self.rows]


def read_any_table(path: Path) -> Table:
    """A table, read according to its suffix; anything but JSON and Parquet is read as CSV.

    Raises:
        InputError: see `hf_audio.data.tables.read_table`; not valid JSON or Parquet; audio in its cells.
    """
    suffix = path.suffix.lower()
    if suffix in (".json", ".jsonl", ".ndjson"):
        return _of_records(path, _json_records(path))
    if suffix == ".parquet":
        return _of_records(path, _parquet_records(path))
    columns, rows = read_table(path)
    return Table(path, [column for column in columns if column], rows)  # row numbers have no column name


def _json_records(path: Path) -> list[Mapping[str, Any]]:
    """Rows of JSON in any of the usual forms."""
    try:
        text = read_whole(path, MAX_TABLE_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    try:
        records = _records(json.loads(text))
    except (ValueError, RecursionError) as error:
        records = _json_lines(path, text, error)
    if records is None or not all(isinstance(record, Mapping) for record in records):
        raise InputError(f'{path} is not a table; expected a list of rows such as [{{"path": "a.wav", "label": "x"}}]')
    return records


def _json_lines(path: Path, text: str, error: Exception) -> list[Any]:
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            records += [json.loads(line)] if line.strip() else []
        except (ValueError, RecursionError):
            said = f"line {number} is" if records else f"({one_line(error)}) is"
            raise InputError(f"{path} {said} not valid JSON; fix it, or save the table as CSV") from None
    return records


def _records(content: Any) -> list[Any] | None:
    """Rows from a list of rows, {"rows": [...]}, columns (lists or by row number), {file: label} or {file: row}."""
    if isinstance(content, list):
        return content
    if not isinstance(content, Mapping) or not content:
        return None
    values = list(content.values())
    lists = [value for value in values if isinstance(value, list)]
    if len(lists) == 1 and lists[0] and all(isinstance(row, Mapping) for row in lists[0]):
        return lists[0]
    if len(lists) == len(values) and len({len(value) for value in lists}) == 1:
        return [dict(zip(content, row, strict=True)) for row in zip(*lists, strict=True)]
    if all(isinstance(value, Mapping) for value in values):
        if len({tuple(value) for value in values}) == 1 and all(key.isdigit() for key in values[0]):
            return [{name: column[key] for name, column in content.items()} for key in values[0]]
        return [{"path": name, **row} for name, row in content.items()]
    if not any(isinstance(value, Mapping) for value in values) and any("." in key for key in content):
        several = any(isinstance(value, list) for value in values)
        return [{"path": name, "labels" if several else "label": value} for name, value in content.items()]
    return [content]


def _parquet_records(path: Path) -> list[Mapping[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(path)  # the file may contain all the audio of a dataset
        sounds = [one.name for one in schema if pyarrow.types.is_struct(one.type) or _is_binary(one.type)]
        if sounds:
            raise InputError(
                f"{path} contains audio, in its column {sounds[0]!r}, and is not a table of files; give its folder "
                "instead, which is read as a dataset if it has no audio files"
            )
        return pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} cannot be read as Parquet: {one_line(error)}; save it as CSV") from None


def _is_binary(kind: Any) -> bool:
    import pyarrow

    return pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)


def _of_records(path: Path, records: Iterable[Mapping[str, Any]]) -> Table:
    records = list(records)
    columns = list(dict.fromkeys(str(name).strip() for record in records for name in record))
    rows = []
    for number, record in enumerate(records, start=1):
        row = {column: "" for column in columns}
        row |= {str(name).strip(): _as_text(value) for name, value in record.items()}
        if any(row.values()):
            rows.append((number, row))
    return Table(path, columns, rows)


def _as_text(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value).strip()
