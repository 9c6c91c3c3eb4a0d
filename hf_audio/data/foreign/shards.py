"""Reads shards of a feature dataset, which may be untrusted: what `build_features` does not write is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hf_audio.data.feature_format import LABEL_COLUMNS, NAME_COLUMNS
from hf_audio.data.foreign.parquet import MAX_GROUP_BYTES, check_columns, check_packing, in_words
from hf_audio.data.foreign.rows import RowRules
from hf_audio.errors import InputError

MAX_NAME_BYTES = 1 << 18


def checked_groups(
    file: BinaryIO, shard: str, rules: RowRules, num_windows: int, start: int = 0
) -> Iterator[tuple[pq.RowGroupMetaData, pa.Table]]:
    """The row groups of a shard, one after the other, each with its Parquet metadata.

    Args:
        file: the shard.
        shard: its name, for messages.
        rules: the rules for its rows.
        num_windows: its number of rows according to the manifest.
        start: the first row to return; row groups before it are not read.

    Raises:
        InputError: not a Parquet file, other columns, another number of rows, or other encodings than `build_features`
            writes; or see `RowRules.check`.
    """
    schema, first = rules.features.arrow_schema, 0
    parquet = in_words(shard, lambda: pq.ParquetFile(file, read_dictionary=NAME_COLUMNS, pre_buffer=True))
    check_columns(parquet.schema_arrow, _with_names_once(schema), shard)
    _check_class_names(parquet.schema_arrow, schema, shard)
    _check_count(parquet.metadata.num_rows, num_windows, shard)
    for group in range(parquet.num_row_groups):
        told = parquet.metadata.row_group(group)
        if first + told.num_rows <= start:
            first += told.num_rows
            continue
        before = max(0, start - first)
        check_packing(told, shard, NAME_COLUMNS)
        table = in_words(shard, partial(parquet.read_row_group, group, schema.names, use_threads=False))
        _check_count(len(table), told.num_rows, shard)
        table = _with_plain_names(table, schema, shard)
        for rows in table.combine_chunks().to_batches():
            rules.check(rows, shard, first)
            first += len(rows)
        yield told, table.slice(before)
    _check_count(first, num_windows, shard)


def _check_count(found: int, counted: int, shard: str) -> None:
    """Raises InputError if a shard or row group has another number of windows than its manifest or footer says."""
    if found != counted:
        raise InputError(
            f"{shard} is damaged: it has {found:,} windows, expected {counted:,}; download or build the dataset again"
        )


def _check_class_names(found: pa.Schema, wanted: pa.Schema, shard: str) -> None:
    """Raises InputError if a shard has other class names, or has them in another order."""
    try:
        told, expected = (
            {name: columns[name] for name in LABEL_COLUMNS if name in wanted.names}
            for columns in (
                json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"] for schema in (found, wanted)
            )
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        told, expected = None, {}
    if told != expected:
        raise InputError(
            f"{shard} was built with other classes than those in manifest.json, or in another order; "
            "download or build the dataset again"
        )


def _with_plain_names(table: pa.Table, schema: pa.Schema, shard: str) -> pa.Table:
    """The table with names as plain strings instead of dictionaries; checks first that they are short enough."""
    for name in NAME_COLUMNS:
        for chunk in table[name].chunks:
            longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
            if longest > MAX_NAME_BYTES or longest * len(chunk) > MAX_GROUP_BYTES:
                raise InputError(f"{shard} has a {name} of {longest:,} bytes in its rows; build the dataset again")
    return in_words(shard, lambda: _validated(table.cast(schema)))


def _validated(table: pa.Table) -> pa.Table:
    table.validate(full=True)  # checks UTF-8
    return table


def _with_names_once(schema: pa.Schema) -> pa.Schema:
    """The columns as they are read: repeated names are dictionaries."""
    for name in NAME_COLUMNS:
        schema = schema.set(schema.get_field_index(name), pa.field(name, pa.dictionary(pa.int32(), pa.string())))
    return schema
