"""Checks Parquet files that may be untrusted: they must have our columns and take no more memory than disk space.

A page of a few bytes can expand to gigabytes, by compression, dictionaries or runs of one value. So our files are not
compressed, and compressed files are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hf_audio.errors import InputError, one_line

# Our row groups have 16 to 32 MB, or one window; those of an index have 32,768 clips
MAX_GROUP_BYTES = 1 << 29
VALUE_BYTES = 8  # of a value in memory; a null may take no space in the file
# Encodings with about the same size in the file and in memory
PLAIN_ENCODINGS = {"PLAIN", "RLE", "BIT_PACKED"}
NAME_ENCODINGS = PLAIN_ENCODINGS | {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}


def in_words(file: str, read: Callable[[], Any]) -> Any:
    """The result of `read`, with errors of damaged files explained.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return read()
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and type(error) is not OSError:
            raise  # of the file system or the connection
        raise InputError(f"{file} is damaged ({one_line(error)}); download or build the dataset again") from error


def check_columns(found: pa.Schema, wanted: pa.Schema, file: str) -> None:
    """Refuses columns other than those wanted, or columns with other types.

    Raises:
        InputError: there is such a column; the message names the first one.
    """
    kinds = [{field.name: (field.type, field.nullable) for field in schema} for schema in (found, wanted)]
    if kinds[0] != kinds[1] or len(found) != len(wanted):
        others = [name for name in (*found.names, *wanted.names) if kinds[0].get(name) != kinds[1].get(name)]
        name = next(iter(others), found.names[0] if found.names else "")
        there, expected = (_described(*columns[name]) if name in columns else "missing" for columns in kinds)
        raise InputError(
            f"{file} does not have the columns of its manifest: {name[:100]!r} is {there[:200]}, expected "
            f"{expected}; it was built by another program or for another dataset"
        )


def _described(kind: pa.DataType, nullable: bool) -> str:
    return str(kind) if nullable else f"{kind} not null"


def check_packing(group: pq.RowGroupMetaData, file: str, may_repeat: Collection[str] = ()) -> None:
    """Refuses a row group that could take much more memory than disk space.

    Args:
        group: the row group.
        file: its name, for the message.
        may_repeat: columns that may be dictionary-encoded.

    Raises:
        InputError: it could; the message names the column or the size.
    """
    columns = [group.column(number) for number in range(group.num_columns)]
    for column in columns:
        allowed = NAME_ENCODINGS if column.path_in_schema in may_repeat else PLAIN_ENCODINGS
        if column.compression != "UNCOMPRESSED" or not set(column.encodings) <= allowed:
            raise InputError(
                f"{file} has column {column.path_in_schema[:100]} with compression {column.compression} and encodings "
                f"{', '.join(column.encodings)}, expected none and plain; build the dataset again"
            )
    num_bytes = sum(max(column.total_compressed_size, column.total_uncompressed_size) for column in columns)
    if max(num_bytes, VALUE_BYTES * len(columns) * group.num_rows) > MAX_GROUP_BYTES:
        raise InputError(
            f"{file} has a row group of {num_bytes:,} bytes and {group.num_rows:,} rows, expected at most "
            f"{MAX_GROUP_BYTES:,} bytes; build the dataset again"
        )
