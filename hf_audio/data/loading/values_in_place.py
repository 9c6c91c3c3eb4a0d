"""Values of a column that stay in their Parquet files: found once, then read there, without a copy of the dataset.

Feature shards are not packed, so every value lies in its file as it is, one behind the other. What a dataset needs to
read a row is the place of its value: a few bytes, however large the window.
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
# in front of a value of variable length, PLAIN encoding writes its length
LENGTH_BYTES = 4
# A process opens files by the thousand for a large dataset, and systems allow it about 1,000.
MAX_OPEN = 256


@dataclass
class ValueInPlace:
    """A `datasets` feature: stored is where a value lies, given is the value as `undecoded` columns have it.

    Args:
        are_numbers: a list of float32; else the bytes of an image or a sound.
        files: of the shards, each with its `file_version`. They are of this machine, and go into no metadata.
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
        """The value that lies at a place.

        Raises:
            InputError: its file is no longer the one that was loaded.
        """
        offset = place["offset"]
        value = _opened(*self._files[place["shard"]])[offset : offset + place["length"]]
        return np.frombuffer(value, "<f4").tolist() if self.are_numbers else {"bytes": value, "path": place["path"]}


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # "experimental", for every user of this package
    register_feature(ValueInPlace, "ValueInPlace")


def file_version(path: str) -> str:
    """Changes where the file does."""
    facts = os.stat(path)
    return f"{facts.st_size}:{facts.st_mtime_ns}"


def with_places(features: Features, files: Sequence[tuple[str, str]] = ()) -> Features:
    """The same columns, the large ones of which are in place."""
    return Features({name: _in_place(kind, files) or kind for name, kind in features.items()})


def _in_place(kind: Any, files: Sequence[tuple[str, str]]) -> ValueInPlace | None:
    if isinstance(kind, dict):
        return ValueInPlace(files=files)
    if kind == List(Value("float32")):
        return ValueInPlace(are_numbers=True, files=files)
    return None


def placed(table: pa.Table, group: pq.RowGroupMetaData, shard: int, path: str, features: Features) -> pa.Table:
    """The rows of a row group, with the places of the values that are in place.

    Args:
        table: what was read of the group.
        shard: the number of its file, and `path` the file.
        features: the columns, as `with_places` has them.

    Raises:
        InputError: a value does not lie in its file as it was read.
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
    """Offset in the file and bytes of each value; pages have heads between them, behind which the next one is sought.

    What is found is compared, so that a place has the very bytes that were read and checked, whatever a file says.
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
