"""Files that hold many recordings: Parquet and Arrow files of `datasets`, and tar files of WebDataset.

They are read from beginning to end, because a single recording costs as much as its whole row group, or everything
before it in a tar. They may be untrusted, so sizes in their headers are checked against limits first.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hf_audio.data.recordings.arrow_streams import Batch, stream_batches
from hf_audio.data.recordings.hub_files import BLOCK_BYTES, held
from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import InputError, one_line

CONTAINERS = (".parquet", ".arrow", ".tar")
# The list of row groups at the end of a Parquet file: about 1 kB per group
MAX_FOOTER_BYTES = 64 << 20
# The sound in one row group, which may be a single page. It is held both compressed and decompressed, or decompressed
# and as a dictionary, so it takes about twice this much memory
MAX_GROUP_BYTES = 2 << 30
MAX_RECORDING_BYTES = 4 << 30
# The extended header of a tar member, which holds its name
MAX_TAR_HEADER_BYTES = 1 << 20
# Recordings of a row group that are decompressed together
MAX_ROWS, ROWS_BYTES = 16, 4 << 20
# Python's BytesIO reads faster than Arrow's buffers, but copies the bytes
MAX_COPIED_BYTES = 16 << 20
NO_SOUND = "missing: its row has no sound"

OpenFile = Callable[[str], BinaryIO]


class Part(NamedTuple):
    """A part of a container that can be read without the parts before it.

    Attributes:
        first_row, num_rows: its recordings; `num_rows` is None if it is unknown before reading.
        num_bytes: their approximate size.
    """

    first_row: int
    num_rows: int | None
    num_bytes: int


def parts_of(path: str, field: str, open_file: OpenFile) -> list[Part]:
    """The row groups of a Parquet file; any other container is one part.

    Raises:
        InputError: it is damaged, or has no such column.
    """
    with open_file(path) as file:
        if _suffix(path) != ".parquet":
            return [Part(0, None, file.seek(0, io.SEEK_END))]
        with _damage_in_words(path):
            parquet, columns = _parquet(path, file, field)
            parts, first = [], 0
            for number in range(parquet.num_row_groups):
                num_rows = parquet.metadata.row_group(number).num_rows
                parts.append(Part(first, num_rows, _checked_size(path, parquet, number, columns[0])))
                first += num_rows
            return parts


def sounds(
    path: str, field: str, rows: Sequence[int], open_file: OpenFile, scratch: Path | None = None
) -> Iterator[tuple[int, BinaryIO | AudioError]]:
    """The recordings in some rows of a container, with their row numbers, in ascending order.

    Rows that the container lacks are skipped.

    Args:
        path: of the container; `open_file` opens it.
        field: the column with the sound, or the suffix of the tar members with the sound.
        rows: the row numbers.
        open_file: returns a seekable file.
        scratch: a folder for recordings that are too long to be held in memory.

    Returns:
        For each row a file with the recording's bytes, or why there is none.

    Raises:
        InputError: the container is damaged.
    """
    read = READERS[_suffix(path)]
    wanted = np.unique(np.asarray(rows, dtype=np.int64))
    with open_file(path) as file, _damage_in_words(path):
        for row, content in read(path, file, field, wanted):
            if content is None:
                yield row, AudioError(NO_SOUND)
            elif isinstance(content, tarfile.TarInfo):
                yield row, _member(file, content, scratch)
            else:
                yield row, pa.BufferReader(content) if content.size > MAX_COPIED_BYTES else io.BytesIO(content)


def _parquet_sounds(
    path: str, file: BinaryIO, field: str, wanted: np.ndarray
) -> Iterator[tuple[int, pa.Buffer | None]]:
    parquet, columns = _parquet(path, file, field)
    first = 0
    for number in range(parquet.num_row_groups):
        end = first + parquet.metadata.row_group(number).num_rows
        here = wanted[(wanted >= first) & (wanted < end)] - first
        if len(here):
            num_bytes = _checked_size(path, parquet, number, columns[0])
            at_a_time = max(1, min(MAX_ROWS, ROWS_BYTES // max(1, num_bytes // (end - first))))
            batches = parquet.iter_batches(at_a_time, row_groups=[number], columns=columns, use_threads=False)
            for row, value in _values(batches, field, here):
                yield first + row, value
        first = end


def _arrow_sounds(path: str, file: BinaryIO, field: str, wanted: np.ndarray) -> Iterator[tuple[int, pa.Buffer | None]]:
    content = io.BufferedReader(file, BLOCK_BYTES) if isinstance(file, io.RawIOBase) else file
    first, last = 0, int(wanted[-1])
    for batch in stream_batches(content):
        if field not in batch.rows.schema.names:
            raise _no_column(path, field, batch.rows.schema.names)
        end = first + len(batch.rows)
        here = wanted[(wanted >= first) & (wanted < end)] - first
        if len(here):
            for row, value in _values_of_batch(batch, field, here):
                yield first + row, value
        first = end
        if first > last:
            return


def _values_of_batch(batch: Batch, field: str, wanted: np.ndarray) -> Iterator[tuple[int, pa.Buffer | None]]:
    """The bytes in some rows of a batch that is not read yet, one after the other."""
    column = batch.rows.column(field)
    is_struct = pa.types.is_struct(column.type)
    sounds = column
    if is_struct and column.type.get_field_index("bytes") >= 0:
        sounds = column.field("bytes")
    kind = sounds.type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        yield from ((row, None) for row in wanted.tolist())  # text or paths, not sound
        return
    valid, offsets, values = sounds.buffers()
    batch.read([column.buffers()[0] if is_struct else None, valid, offsets])
    number = np.int64 if pa.types.is_large_binary(kind) else np.int32
    if len(column) and (offsets is None or offsets.size < (len(column) + 1) * number().itemsize):
        raise pa.ArrowInvalid(f"fewer offsets than its {len(column):,} values")
    places = np.frombuffer(offsets, number)
    is_there = (column.is_valid().to_numpy(False) if is_struct else True) & sounds.is_valid().to_numpy(False)
    for row in wanted.tolist():
        if is_there[row]:
            begin, end = int(places[row]), int(places[row + 1])
            yield row, pa.py_buffer(batch.stretch(values, begin, end) if end != begin else b"")
        else:
            yield row, None


def _tar_sounds(
    path: str, file: BinaryIO, field: str, wanted: np.ndarray
) -> Iterator[tuple[int, tarfile.TarInfo | None]]:
    """The members with a suffix, counted in their order."""
    row, rows = 0, set(wanted.tolist())
    content = io.BufferedReader(file, BLOCK_BYTES) if isinstance(file, io.RawIOBase) else file
    with tarfile.open(fileobj=content, mode="r|", tarinfo=_Member) as members:
        member: Any
        for member in members:
            if not member.isfile() or PurePosixPath(member.name).suffix.removeprefix(".").lower() != field:
                continue
            if row in rows:
                rows.discard(row)
                member.content = members.extractfile(member)
                yield row, member
            if not rows:
                return
            row += 1


READERS = {".parquet": _parquet_sounds, ".arrow": _arrow_sounds, ".tar": _tar_sounds}


def _suffix(path: str) -> str:
    suffix = next((one for one in CONTAINERS if path.endswith(one)), None)
    if suffix is None:
        raise InputError(f"{path} has no rows: expected a name that ends in {', '.join(CONTAINERS)}")
    return suffix


class _Member(tarfile.TarInfo):
    """A tar member with a limited header size, because tarfile reads the header with the name at once."""

    content: Any

    def _proc_member(self, members: tarfile.TarFile) -> tarfile.TarInfo:
        if not self.isfile() and self.size > MAX_TAR_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes, expected at most {MAX_TAR_HEADER_BYTES:,}")
        return super()._proc_member(members)  # type: ignore[misc]  # private, and so not in its stubs


def _member(file: BinaryIO, member: Any, scratch: Path | None) -> BinaryIO | AudioError:
    if member.size > MAX_RECORDING_BYTES:
        return AudioError(f"too large: {member.size:,} bytes, expected at most {MAX_RECORDING_BYTES:,} in a container")
    return held(member.content, member.size, scratch)


def _values(
    batches: Iterator[pa.RecordBatch], field: str, wanted: np.ndarray
) -> Iterator[tuple[int, pa.Buffer | None]]:
    """The bytes in the wanted rows of consecutive batches; None for a row without bytes."""
    first, last = 0, int(wanted[-1])
    for batch in batches:
        end = first + len(batch)
        for row in wanted[(wanted >= first) & (wanted < end)].tolist():
            value = batch.column(field)[row - first]
            if isinstance(value, pa.StructScalar):
                value = value.get("bytes")
            is_sound = type(value) in (pa.BinaryScalar, pa.LargeBinaryScalar) and value.is_valid  # text is not sound
            yield row, value.as_buffer() if is_sound else None
        first = end
        if first > last:
            return


def _parquet(path: str, file: BinaryIO, field: str) -> tuple[pq.ParquetFile, list[str]]:
    """A Parquet file, opened to be read in blocks, and the columns that hold the bytes of the sound.

    A file on this disk is memory-mapped, so that pages without compression are not copied. All others are decompressed
    page by page, and a page may be as large as its row group.
    """
    _check_footer(path, file)
    if isinstance(file, io.BufferedReader):
        parquet = pq.ParquetFile(pa.memory_map(path), pre_buffer=False)
    else:
        parquet = pq.ParquetFile(file, buffer_size=BLOCK_BYTES, pre_buffer=False)
    if field not in parquet.schema_arrow.names:
        raise _no_column(path, field, parquet.schema_arrow.names)
    kind = parquet.schema_arrow.field(field).type
    return parquet, [f"{field}.bytes" if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else field]


def _check_footer(path: str, file: BinaryIO) -> None:
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 8))
    end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != b"PAR1" or not 0 < length <= min(size, MAX_FOOTER_BYTES):
        raise pa.ArrowInvalid(f"no Parquet footer at its end, or a footer of {length:,} bytes")


def _checked_size(path: str, parquet: pq.ParquetFile, group: int, column: str) -> int:
    """Bytes of the sound in a row group, compressed or decompressed, whichever is more."""
    metadata = parquet.metadata.row_group(group)
    named = (metadata.column(number) for number in range(metadata.num_columns))
    chunks = [one for one in named if one.path_in_schema == column or one.path_in_schema.startswith(f"{column}.")]
    num_bytes = sum(max(one.total_compressed_size, one.total_uncompressed_size) for one in chunks)
    if not 0 <= num_bytes <= MAX_GROUP_BYTES:
        raise InputError(
            f"{path} has a row group with {num_bytes:,} bytes of sound, expected at most {MAX_GROUP_BYTES:,}: write "
            "it again with smaller row groups"
        )
    return num_bytes


@contextmanager
def _damage_in_words(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and type(error) is not OSError:
            raise  # of the file system; Arrow raises plain OSError for damage
        raise InputError(
            f"{path} is damaged ({one_line(error)}); download it again, or report it to its authors"
        ) from error


def _no_column(path: str, field: str, names: Sequence[str]) -> InputError:
    return InputError(f"{path} has no audio column {field!r}; its columns are {', '.join(names[:12])}")
