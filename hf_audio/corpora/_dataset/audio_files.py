"""Audio files with a metadata.csv, .jsonl or .parquet, or in class folders: the format `audiofolder` of `datasets`."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hf_audio.corpora._dataset.class_folder_rows import class_folder_rows
from hf_audio.corpora._dataset.layout import Layout
from hf_audio.corpora._dataset.place import Place
from hf_audio.corpora._dataset.reading import DatasetReading
from hf_audio.corpora._dataset.records import columns_of, features_of, texts_of, typed
from hf_audio.corpora._dataset.rows import FileRows, Rows, file_places, joined
from hf_audio.data.index.understanding import counted
from hf_audio.data.tables import table_of
from hf_audio.errors import InputError, one_line

FILE_NAME = "file_name"
MAX_TABLE = 1 << 30  # bytes of a metadata table


def audio_file_rows(place: Place, layout: Layout, splits: Sequence[str], reading: DatasetReading) -> FileRows:
    """The rows of each split.

    Raises:
        InputError: a table has no file names or names files that do not exist; or there are no class folders.
    """
    if any(layout.metadata.get(split) for split in splits):
        return _by_tables(place, layout, splits, reading)
    return class_folder_rows(place, {split: layout.files[split] for split in splits}, reading)


def _by_tables(place: Place, layout: Layout, splits: Sequence[str], reading: DatasetReading) -> FileRows:
    found, unnamed, named_by = {}, [], {}
    every = {file for of_split in layout.files.values() for file in of_split}
    for split in splits:
        tables = layout.metadata.get(split) or []
        if not tables:
            raise InputError(
                f"{place.name} has metadata tables for some splits but not for {split}; add one, or choose the "
                "splits with --train_split_name and similar flags"
            )
        files = set(layout.files[split])
        for table in tables:
            if table not in named_by:
                named_by[table] = _table_rows(place, table, every, reading)
        found[split] = joined(place, [_only(named_by[table], files) for table in tables])
        named = set(found[split].places["audio"].to_pylist())
        unnamed += [place.shown(file) for file in layout.files[split] if file not in named]
    whole = joined(place, list(found.values())).values
    if all(table.endswith(".csv") for split in splits for table in layout.metadata[split]):
        schema = typed(whole)
        found = {split: Rows(one.places, _cast(one.values, schema)) for split, one in found.items()}
        whole = whole.cast(schema)
    features = features_of(whole.schema)
    not_used = (
        [counted(unnamed, "audio file not named in any row", "audio files not named in any row")] if unnamed else []
    )
    return FileRows(found, features, tuple(not_used))


def _only(rows: Rows, files: set[str]) -> Rows:
    """The rows for the files of one split; a table above the split folders also lists other splits."""
    mask = pa.array([file in files for file in rows.places["audio"].to_pylist()], pa.bool_())
    return Rows(rows.places.filter(mask), rows.values.filter(mask))


def _cast(values: pa.Table, schema: pa.Schema) -> pa.Table:
    return values.cast(pa.schema([schema.field(name) for name in values.column_names]))


def _table_rows(place: Place, address: str, files: set[str], reading: DatasetReading) -> Rows:
    table, where = _read_table(place, address), f"{place.shown(address)} of {place.name}"
    column = _file_column(table, reading, where)
    folder = address.rpartition("/")[0]
    written = table[column].cast(pa.string()).to_pylist()
    addresses = [f"{folder}/{PurePosixPath(name)}" if name else None for name in written]
    missing = [row for row, one in enumerate(addresses) if one not in files]
    if missing:
        raise InputError(
            f"{where}: {len(missing):,} of {len(written):,} files do not exist, first "
            f"{str(written[missing[0]])[:200]!r} in row {missing[0]:,}; expected paths relative to its own folder"
        )
    return Rows(file_places(place, addresses), table.drop_columns([column]))


def _file_column(table: pa.Table, reading: DatasetReading, where: str) -> str:
    found = [name for name in table.column_names if name == FILE_NAME or name.endswith(f"_{FILE_NAME}")]
    chosen = reading.audio_column_name
    if chosen:
        named = {name.removesuffix(FILE_NAME).rstrip("_") or "audio": name for name in found}
        column = chosen if chosen in table.column_names else named.get(chosen)
        if column is None:
            raise InputError(f"{where} has no column {chosen!r}; it has {', '.join(table.column_names[:12])}")
        return column
    if len(found) == 1:
        return found[0]
    listed = ", ".join((found or table.column_names)[:12])
    if found:
        raise InputError(
            f"{where} has {len(found)} columns of file names ({listed}); choose one, e.g. "
            f"--audio_column_name {found[0]}"
        )
    raise InputError(f"{where} has no column file_name, which names the file of each row; it has {listed}")


def _read_table(place: Place, address: str) -> pa.Table:
    where, suffix = f"{place.shown(address)} of {place.name}", PurePosixPath(address).suffix.lower()
    content = place.read(address, MAX_TABLE)
    if suffix == ".csv":
        columns, rows = table_of(content, where)
        columns = [name for name in columns if name]
        return texts_of(columns, [row for _, row in rows])
    if suffix == ".jsonl":
        return columns_of(_json_lines(content, where), where)
    try:
        parquet = pq.ParquetFile(io.BytesIO(content))
        flat = [one.name for one in parquet.schema_arrow if not pa.types.is_struct(one.type)]
        return parquet.read(flat, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{where} is damaged ({one_line(error)}); download it again, or report it to its authors"
        ) from error


def _json_lines(content: bytes, where: str) -> list[dict[str, Any]]:
    records = []
    for number, line in enumerate(content.decode("utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise InputError(
                f'{where} line {number} is not a JSON object such as {{"file_name": "a.wav", "label": "x"}}'
            )
        records.append(record)
    return records
