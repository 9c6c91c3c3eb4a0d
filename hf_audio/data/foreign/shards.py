"""Shards of a feature dataset, which may be a stranger's: what `build_features` writes is read, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hf_audio.data.feature_format import LABEL_COLUMNS, NAME_COLUMNS
from hf_audio.data.foreign.index import MOST_GROUP
from hf_audio.data.foreign.rows import RowRules
from hf_audio.errors import InputError, one_line

# Ours are 16 MB, or one window
MOST_GROUP_BYTES = 1 << 29
# What a writer may say of how it packed values: each takes as much of the file as of the memory
PLAIN_ENCODINGS = {"PLAIN", "RLE", "BIT_PACKED"}
NAME_ENCODINGS = PLAIN_ENCODINGS | {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}


def checked_groups(file: BinaryIO, shard: str, rules: RowRules) -> Iterator[tuple[pq.RowGroupMetaData, pa.Table]]:
    """The row groups of a shard, one after the other, each with where its columns lie.

    Raises:
        InputError: no Parquet file, other columns, or values packed otherwise than `build_features` does; or see
            `RowRules.check`.
    """
    schema, first = rules.features.arrow_schema, 0
    parquet = _in_words(shard, lambda: pq.ParquetFile(file, read_dictionary=NAME_COLUMNS, pre_buffer=True))
    _check_columns(parquet.schema_arrow, schema, shard)
    _check_class_names(parquet.schema_arrow, schema, shard)
    for group in range(parquet.num_row_groups):
        _check_packing(parquet.metadata.row_group(group), shard)
        table = _in_words(shard, lambda group=group: parquet.read_row_group(group, schema.names, use_threads=False))
        table = _with_plain_names(table, schema, shard)
        for rows in table.combine_chunks().to_batches():
            rules.check(rows, shard, first)
            first += len(rows)
        yield parquet.metadata.row_group(group), table


def _in_words(shard: str, read: Callable[[], pa.Table | pq.ParquetFile]) -> pa.Table | pq.ParquetFile:
    try:
        return read()
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and type(error) is not OSError:
            raise  # of the file system or the connection
        raise InputError(f"{shard} is damaged ({one_line(error)}); download or build the dataset again") from error


def _check_columns(found: pa.Schema, wanted: pa.Schema, shard: str) -> None:
    for name in wanted.names:
        if name in NAME_COLUMNS:
            wanted = wanted.set(wanted.get_field_index(name), pa.field(name, pa.dictionary(pa.int32(), pa.string())))
    kinds = [{field.name: field.type for field in schema} for schema in (found, wanted)]
    if kinds[0] != kinds[1] or len(found) != len(wanted):
        others = [name for name in (*found.names, *wanted.names) if kinds[0].get(name) != kinds[1].get(name)]
        name = next(iter(others), found.names[0])
        raise InputError(
            f"{shard} has other columns than its manifest says: {name[:100]!r} is {str(kinds[0].get(name))[:100]}, "
            f"expected {kinds[1].get(name)}; it was not built by this program, or for another dataset"
        )


def _check_class_names(found: pa.Schema, wanted: pa.Schema, shard: str) -> None:
    """Raises InputError where the names of classes that travel in a shard are others, or in another order."""
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
            f"{shard} was built with other classes than manifest.json names, or with the same in another order; "
            "download or build the dataset again"
        )


def _check_packing(group: pq.RowGroupMetaData, shard: str) -> None:
    """Raises InputError where a little file could become much memory: what is read is as large as what is stored."""
    columns = [group.column(number) for number in range(group.num_columns)]
    for column in columns:
        may_repeat = column.path_in_schema in NAME_COLUMNS
        if column.compression != "UNCOMPRESSED" or not set(column.encodings) <= (
            NAME_ENCODINGS if may_repeat else PLAIN_ENCODINGS
        ):
            raise InputError(
                f"{shard} has {column.path_in_schema[:100]} packed by {column.compression} and "
                f"{', '.join(column.encodings)}, and feature shards are not packed; build the dataset again"
            )
    num_bytes = sum(max(column.total_compressed_size, column.total_uncompressed_size) for column in columns)
    if num_bytes > MOST_GROUP_BYTES or group.num_rows > MOST_GROUP_BYTES:
        raise InputError(
            f"{shard} has a row group of {num_bytes:,} bytes and {group.num_rows:,} rows, expected at most "
            f"{MOST_GROUP_BYTES:,} bytes; build the dataset again"
        )


def _with_plain_names(table: pa.Table, schema: pa.Schema, shard: str) -> pa.Table:
    """Names that were read once each, as a value of each row; long ones would take the memory of all rows."""
    for name in NAME_COLUMNS:
        for chunk in table[name].chunks:
            longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
            if longest > 4 * MOST_GROUP or longest * len(chunk) > MOST_GROUP_BYTES:
                raise InputError(f"{shard} has a {name} of {longest:,} bytes in its rows; build the dataset again")
    return _in_words(shard, lambda: table.cast(schema))
