"""Parquet files that may be untrusted: what is read of them is as large as what is stored, and of our own types.

A page of a few bytes can stand for gigabytes, by compression, by a dictionary or by runs of one value. So files of ours
are not packed, and others are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hf_audio.errors import InputError, one_line

# Ours are 16 MB, or one window; of an index, 32,768 clips
MAX_GROUP_BYTES = 1 << 29
VALUE_BYTES = 8  # of a value in memory, which may take no byte of a file where it is empty
# What a writer may say of how it packed values: each takes as much of the file as of the memory
PLAIN_ENCODINGS = {"PLAIN", "RLE", "BIT_PACKED"}
NAME_ENCODINGS = PLAIN_ENCODINGS | {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}


def in_words(file: str, read: Callable[[], Any]) -> Any:
    """What `read` gives of a file.

    Raises:
        InputError: it is damaged.
    """
    try:
        return read()
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and type(error) is not OSError:
            raise  # of the file system or the connection
        raise InputError(f"{file} is damaged ({one_line(error)}); download or build the dataset again") from error


def check_columns(found: pa.Schema, wanted: pa.Schema, file: str) -> None:
    """Refuse other columns than those wanted, or columns of other types.

    Raises:
        InputError: names the first.
    """
    kinds = [{field.name: (field.type, field.nullable) for field in schema} for schema in (found, wanted)]
    if kinds[0] != kinds[1] or len(found) != len(wanted):
        others = [name for name in (*found.names, *wanted.names) if kinds[0].get(name) != kinds[1].get(name)]
        name = next(iter(others), found.names[0] if found.names else "")
        there, expected = (_described(*columns[name]) if name in columns else "missing" for columns in kinds)
        raise InputError(
            f"{file} has other columns than its manifest says: {name[:100]!r} is {there[:200]}, expected "
            f"{expected}; it was not built by this program, or for another dataset"
        )


def _described(kind: pa.DataType, nullable: bool) -> str:
    return str(kind) if nullable else f"{kind} not null"


def check_packing(group: pq.RowGroupMetaData, file: str, may_repeat: Collection[str] = ()) -> None:
    """Refuse a row group of which little could become much memory.

    Args:
        may_repeat: columns that may store values once and point to them.

    Raises:
        InputError: names the column, or the size.
    """
    columns = [group.column(number) for number in range(group.num_columns)]
    for column in columns:
        allowed = NAME_ENCODINGS if column.path_in_schema in may_repeat else PLAIN_ENCODINGS
        if column.compression != "UNCOMPRESSED" or not set(column.encodings) <= allowed:
            raise InputError(
                f"{file} has {column.path_in_schema[:100]} packed by {column.compression} and "
                f"{', '.join(column.encodings)}, and files of features are not packed; build the dataset again"
            )
    num_bytes = sum(max(column.total_compressed_size, column.total_uncompressed_size) for column in columns)
    if max(num_bytes, VALUE_BYTES * len(columns) * group.num_rows) > MAX_GROUP_BYTES:
        raise InputError(
            f"{file} has a row group of {num_bytes:,} bytes and {group.num_rows:,} rows, expected at most "
            f"{MAX_GROUP_BYTES:,} bytes; build the dataset again"
        )
