"""Rows of a piece: windows in the order of the source, in an Arrow file from which any clip can be read on its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from datasets import Features

from hf_audio.data.building.clip_windows import StoredWindow
from hf_audio.data.building.shard_rows import ROW_GROUP_BYTES, stored_bytes
from hf_audio.data.building.shards import require_usable
from hf_audio.data.index.table import Clip
from hf_audio.errors import InputError, one_line
from hf_audio.kinds import Kind

MAX_OPEN = 32  # pieces open at a time


def piece_schema(kind: Kind, sample_rate: int) -> pa.Schema:
    """Columns of a window: the values that its kind stores, and the sums for statistics."""
    stored = list(Features(kind.columns(sample_rate)).arrow_schema.remove_metadata())
    sums = pa.list_(pa.float64())
    facts = [("start_s", pa.float64()), ("num_frames", pa.int32()), ("count", pa.int64())]
    of_all = [pa.field(name, one) for name, one in (*facts, ("sum", sums), ("sum_of_squares", sums))]
    return pa.schema([pa.field(f"value_{number}", one.type) for number, one in enumerate(stored)] + of_all)


@dataclass
class PieceRows:
    """Collects the windows of clips and writes them to the file of a piece.

    Attributes:
        first, number: by clip_id: the row of a clip's first window, and its number of windows.
        excluded: by clip_id: why a clip was left out.
        batches: number of rows of each batch of the file.
    """

    writer: pa.ipc.RecordBatchFileWriter
    schema: pa.Schema
    strict: bool
    first: dict[str, int] = field(default_factory=dict)
    number: dict[str, int] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)
    waiting: list[tuple] = field(default_factory=list)
    waiting_bytes: int = 0
    num_rows: int = 0

    def begin(self, clip: Clip) -> None:
        """See `ClipRows`."""
        self.first[clip.clip_id], self.number[clip.clip_id] = self.num_rows, 0

    def add(self, clip: Clip, window: StoredWindow) -> None:
        """See `ClipRows`."""
        sums = (np.atleast_1d(window.sum), np.atleast_1d(window.sum_of_squares))
        self.waiting.append((*window.values, window.start_s, window.num_frames, window.count, *sums))
        self.waiting_bytes += stored_bytes(window)
        self.num_rows += 1
        self.number[clip.clip_id] += 1
        if self.waiting_bytes >= ROW_GROUP_BYTES:
            self.finish()

    def exclude(self, clip: Clip, reason: str) -> None:
        """See `ClipRows`; rows that are already written stay in the file and are never read.

        Raises:
            InputError: the build is strict.
        """
        require_usable(clip, reason, self.strict)
        self.excluded[clip.clip_id] = reason
        self.number.pop(clip.clip_id, None)

    def is_excluded(self, clip: Clip) -> bool:
        """See `ClipRows`."""
        return clip.clip_id in self.excluded

    def finish(self) -> None:
        """Writes the waiting rows."""
        if self.waiting:
            columns = zip(*self.waiting, strict=True)
            arrays = [pa.array(values, one.type) for values, one in zip(columns, self.schema, strict=True)]
            self.writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
            self.batches.append(len(self.waiting))
            self.waiting, self.waiting_bytes = [], 0


def piece_writer(file: BinaryIO, schema: pa.Schema) -> pa.ipc.RecordBatchFileWriter:
    """A writer in the format of pieces."""
    return pa.ipc.new_file(file, schema)


class _OpenPiece:
    """The file of a piece, memory-mapped: only what is read takes memory."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file, self._batches = pa.memory_map(str(path)), {}
        self._reader = pa.ipc.open_file(self._file)
        if self._reader.schema != schema:
            raise pa.ArrowInvalid("it has other columns")

    def batch(self, place: int) -> pa.RecordBatch:
        """One of its batches; each is looked up only once."""
        if place not in self._batches:
            self._batches[place] = self._reader.get_batch(place)
        return self._batches[place]

    def close(self) -> None:
        """Closes the file."""
        self._batches.clear()
        self._file.close()


class PieceReader:
    """Reads windows of any clip from pieces, of which a few are open at a time; only what is read takes memory."""

    def __init__(self, kind: Kind, sample_rate: int) -> None:
        self._schema, self._is_one_sum = piece_schema(kind, sample_rate), kind.statistics_axis is None
        self._open: OrderedDict[Path, _OpenPiece] = OrderedDict()

    def close(self) -> None:
        """Closes all pieces."""
        while self._open:
            self._open.popitem()[1].close()

    def windows(self, path: Path, ends: np.ndarray, first: int, number: int) -> Iterator[StoredWindow]:
        """The windows of a clip.

        Args:
            path: of the piece.
            ends: the rows at which its batches end.
            first, number: first row and number of rows.

        Raises:
            InputError: the file is damaged.
        """
        last = first + number
        try:
            for place in range(int(np.searchsorted(ends, first, "right")), len(ends)):
                begins = int(ends[place - 1]) if place else 0
                if begins >= last:
                    return
                rows = self._piece(path).batch(place).slice(max(0, first - begins), last - max(first, begins))
                rows.validate(full=True)
                yield from map(self._window, rows.to_pylist())
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and type(error) is not OSError:
                raise
            raise InputError(f"{path} is damaged ({one_line(error)}): remove its folder and rebuild") from error

    def _piece(self, path: Path) -> _OpenPiece:
        if path not in self._open:
            while len(self._open) >= MAX_OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[path] = _OpenPiece(path, self._schema)
        self._open.move_to_end(path)
        return self._open[path]

    def _window(self, row: dict[str, Any]) -> StoredWindow:
        *values, start_s, num_frames, count, total, squares = row.values()
        if self._is_one_sum:
            return StoredWindow(start_s, tuple(values), num_frames, count, total[0], squares[0])
        return StoredWindow(start_s, tuple(values), num_frames, count, np.array(total), np.array(squares))
