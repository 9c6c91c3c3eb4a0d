"""Rows of a shard, written one row group at a time, and their sums for the shard's note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hf_audio.data.building.clip_windows import StoredWindow
from hf_audio.data.feature_format import NAME_COLUMNS
from hf_audio.data.index.table import Clip

# A streaming reader must fetch a whole row group before its first row. Groups have at least this size, if the shard
# has, and less than twice this size.
ROW_GROUP_BYTES = 16 << 20


class UnusableClipError(Exception):
    """A clip turns out to be unusable after some of its rows were written."""

    def __init__(self, clip_id: str, reason: str) -> None:
        super().__init__(clip_id, reason)
        self.clip_id, self.reason = clip_id, reason


@dataclass
class ShardRows:
    """Rows that are not written yet, each a tuple of the schema's columns, and sums over all rows that were added."""

    writer: pq.ParquetWriter
    waiting: list[tuple] = field(default_factory=list)
    waiting_bytes: list[int] = field(default_factory=list)
    num_bytes: int = 0
    num_written: int = 0
    count: int = 0
    sum: np.ndarray | float = 0.0
    sum_of_squares: np.ndarray | float = 0.0
    begun: tuple[str, tuple] | None = None

    @property
    def num_rows(self) -> int:
        return self.num_written + len(self.waiting)

    def begin(self, clip: Clip) -> None:
        """Starts a clip; the rows added next belong to it."""
        self.begun = (clip.clip_id, (self.num_rows, self.count, self.sum, self.sum_of_squares))

    def add(self, clip: Clip, window: StoredWindow, clip_values: tuple) -> None:
        row = (clip.clip_id, clip.group, window.start_s, *window.values, window.num_frames, *clip_values)
        self.waiting.append(row)
        self.waiting_bytes.append(stored_bytes(window))
        self.num_bytes += self.waiting_bytes[-1]
        self.count += window.count
        self.sum = self.sum + window.sum
        self.sum_of_squares = self.sum_of_squares + window.sum_of_squares
        if self.num_bytes >= 2 * ROW_GROUP_BYTES:
            self._write_group()

    def take_back(self, clip: Clip, reason: str) -> None:
        """Removes the rows of a clip, if it is the last one started.

        Raises:
            UnusableClipError: some of them are already written.
        """
        if self.begun is None or self.begun[0] != clip.clip_id:
            return
        length = self.begun[1][0] - self.num_written
        if length < 0:
            raise UnusableClipError(clip.clip_id, reason)
        _, self.count, self.sum, self.sum_of_squares = self.begun[1]
        del self.waiting[length:], self.waiting_bytes[length:]
        self.num_bytes, self.begun = sum(self.waiting_bytes), None

    def finish(self) -> None:
        """Writes the remaining rows; no group if there are none, because `datasets` fails on empty row groups."""
        if self.waiting:
            self._write(len(self.waiting))

    def _write_group(self) -> None:
        """Writes as many rows as make up a group; the rest wait for more."""
        num_rows = 1 + int(np.searchsorted(np.cumsum(self.waiting_bytes), ROW_GROUP_BYTES))
        self._write(min(num_rows, len(self.waiting)))

    def _write(self, num_rows: int) -> None:
        schema = self.writer.schema
        columns = zip(*self.waiting[:num_rows], strict=True)
        arrays = [pa.array(values, column.type) for values, column in zip(columns, schema, strict=True)]
        self.writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=num_rows)
        del self.waiting[:num_rows], self.waiting_bytes[:num_rows]
        self.num_written, self.num_bytes = self.num_written + num_rows, sum(self.waiting_bytes)


def shard_writer(file: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer in the format of shards: not compressed, with a page index."""
    return pq.ParquetWriter(file, schema, compression="none", use_dictionary=NAME_COLUMNS, write_page_index=True)


def stored_bytes(window: StoredWindow) -> int:
    """Approximate bytes of a window in a file."""
    return sum(map(_num_bytes, window.values))


def _num_bytes(value: Any) -> int:
    """Approximate bytes of a stored value."""
    if isinstance(value, Mapping):
        return len(value["bytes"])
    return 4 * len(value) if isinstance(value, Sequence | np.ndarray) else 4
