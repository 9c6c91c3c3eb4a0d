"""The Parquet file of the embeddings of many recordings; an interrupted run is resumed as for tags."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hf_audio.errors import one_line
from hf_audio.files import atomic_file
from hf_audio.tagging.embeddings import Embeddings
from hf_audio.tagging.formats import Format
from hf_audio.tagging.found_files import FoundFile
from hf_audio.tagging.results import InFile

EMPTY = {"file": pa.string(), "start_s": pa.float64(), "end_s": pa.float64(), "embedding": pa.list_(pa.float32())}
ROW_GROUP_SIZE = 10_000


class InParquet(InFile):
    """A Parquet file with one row per window. See `InPlace` for the arguments; there is no choice of format."""

    def __init__(self, output: Path, files: Sequence[FoundFile], facts: Mapping[str, Any]) -> None:
        super().__init__(output, Format(_encoded), files, facts)

    def finish(self) -> None:
        """Writes the table, without rows if no recording could be read."""
        tables = (self._decoded(text).to_table() for text in self._texts())
        with atomic_file(self.output) as file:
            first = next(tables, pa.schema(EMPTY).empty_table())
            with pq.ParquetWriter(file, first.schema) as writer:
                for group in _groups(first, tables):
                    writer.write_table(group)
        self.partial.unlink()

    def _decoded(self, text: str) -> Embeddings:
        try:
            file, starts_s, ends_s, values = json.loads(text)
            starts, ends = (np.frombuffer(b64decode(one), np.float64) for one in (starts_s, ends_s))
            return Embeddings(file, starts, ends, np.frombuffer(b64decode(values), np.float32).reshape(len(starts), -1))
        except (ValueError, TypeError) as error:
            raise self._damaged(one_line(error)) from error


def _encoded(found: Embeddings) -> str:
    """Embeddings as text, with their numbers in base64, so that they are exact."""
    return json.dumps([found.file, *(b64encode(np.ascontiguousarray(one).data).decode() for one in found[1:])])


def _groups(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Joins the tables of short recordings into row groups of a useful size."""
    held, num_rows = [first], len(first)
    for table in rest:
        if num_rows >= ROW_GROUP_SIZE:
            yield pa.concat_tables(held)
            held, num_rows = [], 0
        held.append(table)
        num_rows += len(table)
    yield pa.concat_tables(held)
