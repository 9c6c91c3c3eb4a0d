"""Embeddings of many recordings, and the Parquet file that they end in; resumed as tags are."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import one_line
from hf_audio.files import atomic_file
from hf_audio.tagging.formats import Format
from hf_audio.tagging.found_files import FoundFile
from hf_audio.tagging.many import answered
from hf_audio.tagging.results import InFile
from hf_audio.tagging.settings import TagSettings, rule_of
from hf_audio.tagging.sounds import Recording
from hf_audio.tagging.tagger import Tagger, unreadable

if TYPE_CHECKING:
    import pandas

OF_NOTHING = {"file": pa.string(), "start_s": pa.float64(), "end_s": pa.float64(), "embedding": pa.list_(pa.float32())}
ROWS_OF_A_GROUP = 10_000


class Embeddings(NamedTuple):
    """What a model's classifier is given of each window of a recording.

    Attributes:
        file: the recording's name.
        starts_s, ends_s: float64 `[windows]`.
        values: float32 `[windows, size]`.
    """

    file: str
    starts_s: np.ndarray
    ends_s: np.ndarray
    values: np.ndarray

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each window: file, start_s, end_s, embedding; the columns of `hf-audio embed`."""
        return _table(self).to_pandas()


def embedding_of(tagger: Tagger, recording: Recording, settings: TagSettings) -> Embeddings:
    """Embeddings of one recording. Raises InputError where it cannot be read."""
    _, found = next(embedded(tagger, [recording], settings, num_threads=1))
    if isinstance(found, str):
        raise unreadable(recording, AudioError(found))
    return found


def embedded(
    tagger: Tagger,
    recordings: Sequence[Recording],
    settings: TagSettings,
    *,
    num_threads: int | None = None,
    heard: Callable[[float], object] = lambda seconds: None,
) -> Iterator[tuple[int, Embeddings | str]]:
    """The place of each recording, and its embeddings or why it cannot be read; as they get ready.

    Args:
        num_threads, heard: see `answered`.
    """
    length_s = rule_of(tagger.predictor, settings).window / tagger.sample_rate

    def vectors(inputs: dict[str, Tensor]) -> np.ndarray:
        return tagger.predictor.embed(inputs).float().cpu().numpy()

    for number, found in answered(tagger, vectors, recordings, settings, num_threads=num_threads, heard=heard):
        if isinstance(found, str):
            yield number, found
        else:
            ends_s = np.minimum(found.starts_s + length_s, found.duration_s)
            yield number, Embeddings(found.recording.name, found.starts_s, ends_s, found.values)


class InParquet(InFile):
    """A Parquet file with one row for each window; see `InPlace` for what is given, but the format."""

    def __init__(self, output: Path, files: Sequence[FoundFile], facts: Mapping[str, Any]) -> None:
        super().__init__(output, Format(_packed), files, facts)

    def finish(self) -> None:
        """Writes the table, with no row where no recording could be read."""
        tables = (_table(self._unpacked(text)) for text in self._texts())
        with atomic_file(self.output) as file:
            first = next(tables, pa.schema(OF_NOTHING).empty_table())
            with pq.ParquetWriter(file, first.schema) as writer:
                for group in _groups(first, tables):
                    writer.write_table(group)
        self.partial.unlink()

    def _unpacked(self, text: str) -> Embeddings:
        try:
            file, starts_s, ends_s, values = json.loads(text)
            begins, ends = (np.frombuffer(b64decode(one), np.float64) for one in (starts_s, ends_s))
            return Embeddings(file, begins, ends, np.frombuffer(b64decode(values), np.float32).reshape(len(begins), -1))
        except (ValueError, TypeError) as error:
            raise self._damaged(one_line(error)) from error


def _packed(found: Embeddings) -> str:
    """Embeddings as a text, the numbers as they are."""
    return json.dumps([found.file, *(b64encode(np.ascontiguousarray(one).data).decode() for one in found[1:])])


def _table(found: Embeddings) -> pa.Table:
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(found.values.ravel()), found.values.shape[1])
    columns = {"file": [found.file] * len(found.values), "start_s": found.starts_s, "end_s": found.ends_s}
    return pa.table({**columns, "embedding": embedding})


def _groups(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables of short recordings joined, so that each is worth a row group."""
    held, num_rows = [first], len(first)
    for table in rest:
        if num_rows >= ROWS_OF_A_GROUP:
            yield pa.concat_tables(held)
            held, num_rows = [], 0
        held.append(table)
        num_rows += len(table)
    yield pa.concat_tables(held)
