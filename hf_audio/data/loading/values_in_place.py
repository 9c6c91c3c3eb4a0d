"""Columns whose values stay in their Parquet files: located once, then read in place, so the dataset is not copied.

Feature shards are not compressed, so their values are in the file one after the other, unchanged. To read a row, a
dataset only needs the place of its value: a few bytes, however large the window.
"""

from __future__ import annotations

import mmap
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import InitVar, dataclass, field
from functools import lru_cache
from itertools import repeat
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Features, List, Value
from datasets.features.features import register_feature

from hf_audio.errors import InputError
from hf_audio.files import open_regular

PLACE = pa.struct({"shard": pa.int32(), "offset": pa.int64(), "length": pa.int64(), "path": pa.string()})
# PLAIN encoding writes the length before each value of variable length
LENGTH_BYTES = 4
# A large dataset has thousands of files, and systems let a process open about 1,000.
MAX_OPEN = 256


@dataclass
class ValueInPlace:
    """A `datasets` feature that stores the place of a value and decodes to the value, like `undecoded` columns.

    Args:
        are_numbers: whether it is a list of float32; otherwise it is the bytes of an image or a sound.
        files: the files of the shards, each with its `file_version`. Paths of this machine are not written to metadata.
    """

    are_numbers: bool = False
    files: InitVar[Sequence[tuple[str, str]]] = ()
    decode: ClassVar[bool] = True
    dtype: ClassVar[str] = "dict"
    pa_type: ClassVar[Any] = PLACE
    _type: str = field(default="ValueInPlace", init=False, repr=False)

    def __post_init__(self, files: Sequence[tuple[str, str]]) -> None:
        self._files = files

    def __call__(self) -> pa.DataType:
        return self.pa_type

    def decode_example(self, place: dict[str, int], token_per_repo_id: object = None) -> Any:
        """The value at a place.

        Raises:
            InputError: its file has changed since it was loaded.
        """
        offset = place["offset"]
        value = _opened(*self._files[place["shard"]])[offset : offset + place["length"]]
        return np.frombuffer(value, "<f4").tolist() if self.are_numbers else {"bytes": value, "path": place["path"]}


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # every user of this package would see "experimental"
    register_feature(ValueInPlace, "ValueInPlace")


def file_version(path: str) -> str:
    """A string that changes if the file changes."""
    facts = os.stat(path)
    return f"{facts.st_size}:{facts.st_mtime_ns}"


def with_places(features: Features, files: Sequence[tuple[str, str]] = ()) -> Features:
    """The same columns; large ones are read in place."""
    return Features({name: _in_place(kind, files) or kind for name, kind in features.items()})


def _in_place(kind: Any, files: Sequence[tuple[str, str]]) -> ValueInPlace | None:
    if isinstance(kind, dict):
        return ValueInPlace(files=files)
    if kind == List(Value("float32")):
        return ValueInPlace(are_numbers=True, files=files)
    return None


def placed(table: pa.Table, group: pq.RowGroupMetaData, shard: int, path: str, features: Features) -> pa.Table:
    """The rows of a row group, with places instead of values in columns that are read in place.

    Args:
        table: the rows.
        group: metadata of the row group.
        shard: number of the file.
        path: of the file.
        features: the columns, from `with_places`.

    Raises:
        InputError: a value is not found in the file.
    """
    columns = [group.column(number) for number in range(group.num_columns)]
    stored = {column.path_in_schema: column for column in columns}
    for number, (name, kind) in enumerate(features.items()):
        if isinstance(kind, ValueInPlace):
            part, before = ("list.element", 0) if kind.are_numbers else ("bytes", LENGTH_BYTES)
            values, paths = _values_and_paths(table[name], kind)
            places = zip(_places(values, before, stored[f"{name}.{part}"], path), paths, strict=True)
            found = [{"shard": shard, "offset": at, "length": length, "path": told} for (at, length), told in places]
            table = table.set_column(number, name, pa.array(found, PLACE))
    return table


def _values_and_paths(column: pa.ChunkedArray, kind: ValueInPlace) -> tuple[Iterator[bytes], Iterator[str | None]]:
    if kind.are_numbers:
        return (numbers.values.to_numpy().tobytes() for numbers in column), repeat(None, len(column))
    values, paths = (pc.struct_field(column, name) for name in ("bytes", "path"))
    return (value.as_py() for value in values), (name.as_py() for name in paths)


def _places(
    values: Iterable[bytes], before: int, chunk: pq.ColumnChunkMetaData, path: str
) -> Iterator[tuple[int, int]]:
    """Offset and length of each value in the file. At page headers, the next value is searched for.

    Values are compared, so that a place has exactly the bytes that were read and checked, whatever the file claims.
    """
    first, end = chunk.data_page_offset, 0
    with open_regular(path) as file:
        file.seek(first)
        stored = file.read(chunk.total_compressed_size)
    for value in values:
        place = end + before
        if not stored.startswith(value, place):
            place = stored.find(value, end)
        if place < 0:
            raise InputError(f"{path} is damaged: its values are not at the stated offset; download or build it again")
        end = place + len(value)
        yield first + place, len(value)


@lru_cache(maxsize=MAX_OPEN)
def _opened(path: str, version: str) -> mmap.mmap:
    with open_regular(path) as file:
        facts = os.fstat(file.fileno())
        if f"{facts.st_size}:{facts.st_mtime_ns}" != version:
            raise InputError(f"{path} has changed since it was loaded: load its dataset again")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
