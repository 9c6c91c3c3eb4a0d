"""Partial reading of Arrow files that `datasets` wrote: the small columns of a batch, or one recording at a time.

A batch has a header and a body. The body holds the buffers of all columns, one after the other, including the sound,
and Arrow reads it as a whole. This module gives Arrow a body of zeros, which takes no memory until it is touched, and
Arrow locates each buffer in it. Only the buffers that are needed are then read from the file into their places.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa

AHEAD_BYTES = 1 << 15  # read ahead for headers, which take about 1 kB for a few columns
GAP_BYTES = 1 << 16  # a smaller gap between two buffers is read along with them
MAX_BODY_BYTES = 64 << 30
COMPRESSED = "compressed batches, which are not supported; save the dataset again with datasets"
_GOES_ON = b"\xff\xff\xff\xff"  # before the length of each header, except in files from before 2019


class Batch:
    """Rows of a stream, with zeros where nothing was read.

    Attributes:
        rows: the batch; a column is valid once its buffers were `read`.
    """

    def __init__(self, file: BinaryIO, rows: pa.RecordBatch, body: np.ndarray, start: int) -> None:
        self.rows = rows
        self._file, self._body, self._start = file, body, start

    def read(self, buffers: Sequence[pa.Buffer | None]) -> int:
        """Reads buffers of columns of `rows` into their places, and returns the number of bytes read.

        Raises:
            pa.ArrowInvalid: a buffer is outside the batch, or the file is truncated.
        """
        ranges = sorted(self._range(one) for one in buffers if one is not None and one.size)
        joined: list[list[int]] = []
        for first, last in ranges:
            if joined and first <= joined[-1][1] + GAP_BYTES:
                joined[-1][1] = max(joined[-1][1], last)
            else:
                joined.append([first, last])
        for first, last in joined:
            self._body[first:last] = np.frombuffer(_read(self._file, self._start + first, last - first), np.uint8)
        return sum(last - first for first, last in joined)

    def stretch(self, buffer: pa.Buffer, first: int, last: int) -> bytes:
        """Some bytes of a buffer, directly from the file.

        Raises:
            pa.ArrowInvalid: they are outside the buffer.
        """
        begin, end = self._range(buffer)
        if not 0 <= first <= last <= end - begin:
            raise pa.ArrowInvalid(f"a value at {first:,} to {last:,} of a buffer of {end - begin:,} bytes")
        return _read(self._file, self._start + begin + first, last - first)

    def _range(self, buffer: pa.Buffer) -> tuple[int, int]:
        first = buffer.address - self._body.ctypes.data
        if not 0 <= first <= first + buffer.size <= len(self._body):
            raise pa.ArrowInvalid(COMPRESSED)
        return first, first + buffer.size


def stream_schema(file: BinaryIO) -> pa.Schema:
    """The columns of a stream."""
    return pa.ipc.open_stream(_Headers(file)).schema


def stream_batches(file: BinaryIO) -> Iterator[Batch]:
    """The batches of a stream, of which only the headers were read.

    Raises:
        pa.ArrowInvalid: it is damaged, or has features that `datasets` does not write.
    """
    headers = _Headers(file)
    stream = pa.ipc.open_stream(headers)
    if any(map(_has_dictionary, stream.schema.types)):
        raise pa.ArrowInvalid("dictionary-encoded columns, which are not supported; save it again with datasets")
    while True:
        try:
            rows = stream.read_next_batch()
        except StopIteration:
            return
        except OSError as error:
            raise pa.ArrowInvalid(COMPRESSED) if "compress" in str(error).lower() else error from None
        yield Batch(file, rows, headers.body, headers.body_start)
        headers.body = np.zeros(0, np.uint8)


class _Headers:
    """A stream for Arrow to read forwards: real headers, and bodies of zeros."""

    def __init__(self, file: BinaryIO) -> None:
        self.body, self.body_start, self.closed = np.zeros(0, np.uint8), 0, False
        self._file, self._place, self._size = file, 0, file.seek(0, io.SEEK_END)
        self._ahead, self._ahead_start, self._header_bytes = b"", 0, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int) -> bytes | memoryview:
        """The next `size` bytes: for each batch, Arrow requests a length (4 bytes), a header and a body."""
        start = self._place
        if size == 4:
            found: bytes | memoryview = self._bytes(start, 4)
            self._header_bytes = 0 if found == _GOES_ON else int.from_bytes(found, "little")
        elif size == self._header_bytes:
            found, self._header_bytes = self._bytes(start, size), 0
        else:
            if not 0 <= size <= min(self._size - start, MAX_BODY_BYTES):
                raise pa.ArrowInvalid(f"a batch of {size:,} bytes, and only {self._size - start:,} bytes are left")
            self.body, self.body_start = np.zeros(size, np.uint8), start
            found = self.body.data
        self._place += len(found)
        return found

    def _bytes(self, start: int, size: int) -> bytes:
        if not self._ahead_start <= start <= start + size <= self._ahead_start + len(self._ahead):
            length = max(0, min(max(size, AHEAD_BYTES), self._size - start))
            if size > length:
                size = length
            self._ahead, self._ahead_start = _read(self._file, start, length), start
        first = start - self._ahead_start
        return bytes(self._ahead[first : first + size])


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    found = file.read(size)
    if len(found) < size:
        raise pa.ArrowInvalid(f"it is truncated at {start + len(found):,} bytes")
    return found


def _has_dictionary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return True
    return any(_has_dictionary(kind.field(number).type) for number in range(kind.num_fields))
