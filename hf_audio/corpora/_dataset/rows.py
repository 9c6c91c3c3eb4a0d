"""Reads rows of Parquet and Arrow files without the audio itself: its location and all small columns."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Features

from hf_audio.corpora._dataset.layout import PARQUET
from hf_audio.corpora._dataset.place import Place
from hf_audio.data.recordings.arrow_streams import stream_batches, stream_schema
from hf_audio.errors import InputError, one_line

FILES_AT_A_TIME = 16
MAX_ROWS = 100_000_000
MAX_TEXT = 1 << 20  # bytes of one text in a row
MAX_BYTES = 4 << 30  # of all columns that are read from one file
PLACES = pa.schema(
    [
        pa.field("audio", pa.string()),
        pa.field("audio_row", pa.int64()),
        pa.field("audio_field", pa.string()),
        pa.field("name", pa.string()),
    ]
)


class Rows(NamedTuple):
    """Rows of a dataset.

    Attributes:
        places: the columns PLACES: the location of each recording, and its file name or null.
        values: the other columns, as they are stored.
    """

    places: pa.Table
    values: pa.Table


class FileRows(NamedTuple):
    """Rows of a dataset of audio files.

    Attributes:
        of_split: the rows of each split.
        features: the types of their columns.
        not_used: files that have no effect, a phrase each.
        how: how their folders were read.
        remarks: what looks like a mistake, a sentence each.
    """

    of_split: dict[str, Rows]
    features: Features
    not_used: tuple[str, ...] = ()
    how: str = ""
    remarks: tuple[str, ...] = ()


def schemas(place: Place, kind: str, files: Sequence[str]) -> list[pa.Schema]:
    """The schemas of some files, with the types that `datasets` wrote.

    Raises:
        InputError: a file is damaged, or cannot be read.
    """
    with ThreadPoolExecutor(FILES_AT_A_TIME) as threads:
        return list(threads.map(lambda file: place.patiently(_schema, place, kind, file), files))


def rows(place: Place, kind: str, files: Sequence[str], audio: str, columns: Sequence[str]) -> Rows:
    """The rows of files, in order; of Parquet files, only footers and the requested columns are transferred.

    Args:
        place: the dataset.
        kind: PARQUET or ARROW.
        files: the addresses of the files.
        audio: the column with the audio, which is not read.
        columns: the columns to read, if a file has them.

    Raises:
        InputError: a file is damaged, lacks the audio column, or has other column types than the files before it.
    """
    read = _parquet_rows if kind == PARQUET else _arrow_rows
    with ThreadPoolExecutor(FILES_AT_A_TIME) as threads:
        found = list(threads.map(lambda file: place.patiently(read, place, file, audio, columns), files))
    return joined(place, found)


def joined(place: Place, found: Sequence[Rows]) -> Rows:
    """Rows, concatenated; a column that some lack is null there.

    Raises:
        InputError: a column has different types.
    """
    try:
        values = pa.concat_tables([one.values for one in found], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(
            f"The files of {place.name} have columns of different types ({one_line(error)}); ask its authors to fix "
            "them, or choose a configuration with --dataset_config_name"
        ) from error
    return Rows(pa.concat_tables([one.places for one in found]), values)


def places_of(address: str, field: str, names: pa.Array | pa.ChunkedArray) -> pa.Table:
    """PLACES of all rows of one container."""
    number = len(names)
    return pa.table(
        [
            pa.repeat(pa.scalar(address, pa.string()), number),
            pa.array(range(number), pa.int64()),
            pa.repeat(pa.scalar(field, pa.string()), number),
            names.cast(pa.string()),
        ],
        schema=PLACES,
    )


def file_places(place: Place, addresses: Sequence[str]) -> pa.Table:
    """PLACES of files with one recording each."""
    number = len(addresses)
    nothing = (pa.nulls(number, pa.int64()), pa.nulls(number, pa.string()))
    names = [place.shown(address) for address in addresses]
    return pa.table([pa.array(addresses, pa.string()), *nothing, pa.array(names, pa.string())], schema=PLACES)


def _schema(place: Place, kind: str, file: str) -> pa.Schema:
    with _in_words(place, file):
        if kind == PARQUET:
            with place.open(file) as opened:
                return pq.ParquetFile(opened).schema_arrow
        with place.open(file) as opened:
            _require_content(place, file, opened)
            return stream_schema(opened)


def _parquet_rows(place: Place, file: str, audio: str, columns: Sequence[str]) -> Rows:
    with _in_words(place, file), place.open(file) as opened:
        footer = pq.read_metadata(opened)
        schema = footer.schema.to_arrow_schema()
        _require_audio(place, file, schema, audio)
        names = [name for name in columns if name in schema.names]
        leaves = [*names, *([f"{audio}.path"] if _has_path(schema.field(audio).type) else [])]
        _check_size(place, file, footer, leaves)
        texts = [name for name in leaves if name not in schema.names or _is_text(schema.field(name).type)]
        filled = [number for number in range(footer.num_row_groups) if footer.row_group(number).num_rows]
        groups = [_group(opened, footer, number, leaves, texts) for number in filled]
        paths = [_member(group[audio], "path") for group in groups if audio in group.column_names]
        names_of_files = _plain(place, file, pa.chunked_array(paths)) if paths else pa.nulls(footer.num_rows)
        values = [_plain(place, file, pa.chunked_array([*_chunks(groups, name)])) for name in names if groups]
        return Rows(places_of(file, audio, names_of_files), _table(names if groups else [], values, footer.num_rows))


def _group(
    opened: BinaryIO, footer: pq.FileMetaData, number: int, leaves: Sequence[str], texts: Sequence[str]
) -> pa.Table:
    """Some leaf columns of a row group; strings are read as dictionaries if they are stored so."""
    if not leaves:
        return pa.table({})
    for once in (list(texts), []):
        try:
            parquet = pq.ParquetFile(opened, metadata=footer, read_dictionary=once)
            return parquet.read_row_group(number, leaves, use_threads=False)
        except pa.ArrowNotImplementedError:  # strings in a struct that are partly stored without dictionary
            if not once:
                raise


def _arrow_rows(place: Place, file: str, audio: str, columns: Sequence[str]) -> Rows:
    with _in_words(place, file), place.open(file) as opened:
        _require_content(place, file, opened)
        schema = stream_schema(opened)
        _require_audio(place, file, schema, audio)
        names = [name for name in columns if name in schema.names]
        has_path, num_bytes = _has_path(schema.field(audio).type), 0
        batches: list[list[pa.Array]] = []
        for batch in stream_batches(opened):
            sound = batch.rows[audio]
            paths = [sound.buffers()[0], *sound.field("path").buffers()] if has_path else []
            num_bytes += batch.read([*paths, *(one for name in names for one in batch.rows[name].buffers())])
            if num_bytes > MAX_BYTES:
                num_rows = len(sound) + sum(len(columns_read[0]) for columns_read in batches)
                raise _too_large(place, file, num_rows, num_bytes)
            columns_of_batch = [batch.rows[name] for name in names]
            columns_of_batch += [_member(sound, "path") if has_path else pa.nulls(len(sound), pa.string())]
            for column in columns_of_batch:
                column.validate(full=True)  # offsets may be untrusted
            # copied, because the batch has memory reserved for its sound
            batches.append([pa.concat_arrays([column]) for column in columns_of_batch])
        *values, paths = (
            map(pa.chunked_array, zip(*batches, strict=True)) if batches else [pa.chunked_array([], pa.string())]
        )
        number = len(paths)
        return Rows(places_of(file, audio, paths), _table(names if batches else [], values, number))


def _require_content(place: Place, file: str, opened: BinaryIO) -> None:
    if not opened.seek(0, io.SEEK_END):
        raise InputError(f"{place.shown(file)} of {place.name} is empty; save or download the dataset again")


def _chunks(groups: Sequence[pa.Table], name: str) -> Iterator[pa.Array]:
    return (chunk for group in groups for chunk in group[name].chunks)


def _table(names: Sequence[str], columns: Sequence[pa.Array | pa.ChunkedArray], number: int) -> pa.Table:
    """A table that has rows even without columns."""
    if names:
        return pa.table(list(columns), names=list(names))
    return pa.table({"": pa.nulls(number)}).select([])


def _member(column: pa.Array | pa.ChunkedArray, name: str) -> pa.Array | pa.ChunkedArray:
    """A field of a struct, null if the struct is null."""
    return pc.struct_field(column, name)


def _has_path(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and any(field.name == "path" and _is_text(field.type) for field in kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _plain(place: Place, file: str, column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Dictionaries as plain strings; long strings are refused, because they would be copied to all rows."""
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        if pa.types.is_dictionary(chunk.type):
            longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
            if longest > MAX_TEXT or longest * len(chunk) > MAX_BYTES:
                raise InputError(
                    f"{place.shown(file)} of {place.name} has a string of {longest:,} bytes in its rows, expected at "
                    f"most {MAX_TEXT:,} for labels and names"
                )
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _check_size(place: Place, file: str, footer: pq.FileMetaData, leaves: Sequence[str]) -> None:
    """Refuses a file whose columns are too large for labels and metadata, before any of them is read."""
    num_bytes = 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for column in (group.column(leaf) for leaf in range(group.num_columns)):
            path = column.path_in_schema
            if path in leaves or path.partition(".")[0] in leaves:
                num_bytes += max(column.total_uncompressed_size, column.total_compressed_size)
    if not 0 <= footer.num_rows <= MAX_ROWS or num_bytes > MAX_BYTES:
        raise _too_large(place, file, footer.num_rows, num_bytes)


def _too_large(place: Place, file: str, num_rows: int, num_bytes: int) -> InputError:
    return InputError(
        f"{place.shown(file)} of {place.name} has {num_rows:,} rows and {num_bytes:,} bytes without its sound, "
        f"expected at most {MAX_ROWS:,} and {MAX_BYTES:,}: it cannot be what its name says"
    )


def _require_audio(place: Place, file: str, schema: pa.Schema, audio: str) -> None:
    if audio not in schema.names:
        raise InputError(
            f"{place.shown(file)} of {place.name} has no column {audio!r}, unlike the other files (it has "
            f"{', '.join(schema.names[:8])}); choose one configuration with --dataset_config_name"
        )


@contextmanager
def _in_words(place: Place, file: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and type(error) is not OSError:
            raise  # of the file system or the connection
        raise InputError(
            f"{place.shown(file)} of {place.name} is damaged ({one_line(error)}); download it again, or "
            "report it to its authors"
        ) from error
