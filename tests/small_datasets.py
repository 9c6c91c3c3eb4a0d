"""Small audio datasets like those on the Hub: real files, made by `datasets` and by hand."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from datasets import Audio, ClassLabel, Dataset, Features, Value
from datasets.table import InMemoryTable

GENRES = ["blues", "jazz", "rock"]


def tone(number: int, kind: str = "WAV") -> bytes:
    """A recording of 0.2 s, different for each number."""
    time_s = np.arange(1_600) / 8_000
    file = io.BytesIO()
    soundfile.write(file, 0.2 * np.sin(2 * np.pi * (200 + 10 * number) * time_s), 8_000, format=kind)
    return file.getvalue()


def sound(number: int, name: str | None = None) -> dict[str, Any]:
    return {"bytes": tone(number), "path": name or f"{number}.wav"}


def dataset(features: Mapping[str, Any], **columns: Sequence) -> pa.Table:
    """A dataset with one recording per row, named 0.wav, 1.wav ... unless a column `audio` is given."""
    number = len(next(iter(columns.values())))
    columns = {"audio": [sound(row) for row in range(number)]} | columns
    return pa.table(columns, Features({"audio": Audio(), **features}).arrow_schema)


def parquet(made: pa.Table, first: int = 0, last: int | None = None, rows_a_group: int = 2) -> bytes:
    """Some rows as a Parquet file like those of push_to_hub."""
    file = io.BytesIO()
    pq.write_table(made.slice(first, None if last is None else last - first), file, row_group_size=rows_a_group)
    return file.getvalue()


def as_dataset(made: pa.Table) -> Dataset:
    """The same as a `datasets.Dataset`, which can be saved to disk."""
    return Dataset(InMemoryTable(made))


def gtzan_like(number: int = 12) -> pa.Table:
    """One split, a ClassLabel, and paths of another machine."""
    return dataset(
        {"file": Value("string"), "genre": ClassLabel(names=GENRES)},
        file=[f"/home/ann/.cache/genres/{GENRES[row % 3]}.{row:05d}.wav" for row in range(number)],
        genre=[row % 3 for row in range(number)],
        audio=[sound(row, f"{GENRES[row % 3]}.{row:05d}.wav") for row in range(number)],
    )


def tar(members: Mapping[str, bytes]) -> bytes:
    """A tar file with its members in the given order."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as written:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            written.addfile(info, io.BytesIO(content))
    return file.getvalue()


def write(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    """Writes files below a folder, and returns the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder
