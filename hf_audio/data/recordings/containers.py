"""Files that hold many recordings: Parquet and Arrow files of `datasets`, and tar files of WebDataset.

They are read from their beginning to their end, for one recording alone costs as much as its whole row group, or all
that lies before it in a tar.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CONTAINERS = (".parquet", ".arrow", ".tar")


class Sound(NamedTuple):
    """A recording as its container has it: the bytes of an audio file, or None where a row has none, and its name."""

    content: bytes | None
    name: str | None


def first_rows(path: str, open_file: Callable[[str], BinaryIO]) -> list[int]:
    """The rows at which reading can begin without the rows before them: of each row group; of a tar, 0 alone."""
    if path.endswith(".tar"):
        return [0]
    with open_file(path) as file, _batches_of(path, file, None) as (counts, _):
        return np.cumsum([0, *counts])[:-1].tolist()


def sounds(
    path: str, field: str, rows: Sequence[int], open_file: Callable[[str], BinaryIO]
) -> Iterator[tuple[int, Sound]]:
    """The recordings in some rows of a container, with their rows, in rising order of these.

    Args:
        path: where the container is; `open_file` opens it.
        field: the column with the sound, or the suffix of a tar's members that have it.
        rows: which ones.
        open_file: gives a file to read from and to seek in.
    """
    with open_file(path) as file:
        if path.endswith(".tar"):
            yield from _tar_sounds(file, field, set(rows))
            return
        wanted = np.unique(np.asarray(rows, dtype=np.int64))
        with _batches_of(path, file, field) as (counts, read):
            ends = np.cumsum(counts)
            for number, end in enumerate(ends):
                here = wanted[(wanted >= end - counts[number]) & (wanted < end)]
                if len(here):
                    column = read(number)
                    for row in here.tolist():
                        yield row, _sound(column[row - int(end - counts[number])].as_py())


def _sound(value: object) -> Sound:
    if isinstance(value, dict):
        return Sound(value.get("bytes"), value.get("path"))
    return Sound(value if isinstance(value, bytes) else None, value if isinstance(value, str) else None)


@contextmanager
def _batches_of(path: str, file: BinaryIO, field: str | None) -> Iterator[tuple[list[int], Callable[[int], pa.Array]]]:
    """How many rows each part of a Parquet or Arrow file has, and what reads a column of one part."""
    if path.endswith(".parquet"):
        parquet = pq.ParquetFile(file)
        counts = [parquet.metadata.row_group(number).num_rows for number in range(parquet.num_row_groups)]
        yield counts, lambda number: parquet.read_row_group(number, columns=[field])[field].combine_chunks()
        return
    batches = list(pa.ipc.open_stream(file))  # of a file on this disk: only the pages that are looked at are read
    yield [len(batch) for batch in batches], lambda number: batches[number][field]


def _tar_sounds(file: BinaryIO, field: str, rows: set[int]) -> Iterator[tuple[int, Sound]]:
    """The members with a suffix, counted in their order."""
    row = 0
    with tarfile.open(fileobj=file, mode="r|") as members:
        for member in members:
            if not member.isfile() or PurePosixPath(member.name).suffix.removeprefix(".").lower() != field:
                continue
            if row in rows:
                content = members.extractfile(member)
                yield row, Sound(content.read() if content else None, member.name)
            row += 1
