"""Converts single rows, from JSON or a table of strings, to typed columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from datasets import Features

from hf_audio.data.index.table import type_of_texts
from hf_audio.errors import InputError

MAX_COLUMNS = 10_000


def columns_of(records: Sequence[Mapping[str, Any]], where: str) -> pa.Table:
    """Records as a table of numbers, booleans, strings, and lists of these; deeper nesting becomes JSON text.

    A column with values of different types becomes strings.

    Args:
        records: the rows.
        where: where they come from, for messages.

    Raises:
        InputError: too many columns.
    """
    names = dict.fromkeys(str(name).strip() for record in records for name in record)
    if len(names) > MAX_COLUMNS:
        raise InputError(
            f"{where} has {len(names):,} columns, expected at most {MAX_COLUMNS:,}: it is not a table of clips"
        )
    cells: dict[str, list[Any]] = {name: [None] * len(records) for name in names}
    for row, record in enumerate(records):
        for name, value in record.items():
            cells[str(name).strip()][row] = _plain(value)
    return pa.table({name: _column(values) for name, values in cells.items() if name})


def texts_of(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> pa.Table:
    """Rows of strings as a table; empty strings are null."""
    return pa.table({name: pa.array([row[name] or None for row in rows], pa.string()) for name in columns})


def typed(texts: pa.Table) -> pa.Schema:
    """The types of columns of strings: numbers if all values are written like numbers; 007 stays a string."""
    return pa.schema([(name, type_of_texts(texts[name])) for name in texts.column_names])


def features_of(schema: pa.Schema) -> Features:
    """The `datasets` types of columns; {}, which has no values, for types that it does not know (maps, unions)."""
    found = {}
    for field in schema:
        try:
            found |= Features.from_arrow_schema(pa.schema([field]))
        except (ValueError, TypeError, NotImplementedError):
            found[field.name] = {}
    return Features(found)


def _column(values: Sequence[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool} or kinds <= {int, float} or kinds <= {str} or kinds <= {list}:
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError):  # lists of different types, a number that is too large
            pass
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping) or (
        isinstance(value, list) and any(isinstance(one, list | Mapping) for one in value)
    ):
        return _text(value)
    return None if isinstance(value, float) and value != value else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
