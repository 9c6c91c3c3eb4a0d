"""Building one shard of a feature dataset: decode, resample, features of windows, rows, parquet."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import FeatureExtractionMixin

from hf_audio.data.audio import AudioError
from hf_audio.data.feature_plan import Shard
from hf_audio.data.feature_storage import FeatureStorage, feature_schema, storage_of
from hf_audio.data.index import Clip, rows_of
from hf_audio.data.labels import LabelSpace
from hf_audio.data.mixing_audio import read_clip
from hf_audio.errors import InputError
from hf_audio.files import read_json, write_atomically

# clips gathered for one call of the extractor: about 27 of 3 s
BATCH_S = 80.0
# A reader that streams must fetch a whole row group before its first row. Groups are at least so large, where a shard
# is, and less than twice as large.
ROW_GROUP_BYTES = 16 << 20
# which hold the same value in many rows, and so store it once
NAME_COLUMNS = ["clip_id", "group"]


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_sums(value: Any) -> bool:
    """One number, or one of each channel or feature."""
    return all(type(number) in (int, float) for number in (value if isinstance(value, list) else [value]))


def _are_exclusions(value: Any) -> bool:
    """Pairs of a clip and the reason why it is left out."""
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in value
    )


# of a shard's note: what each fact must be
NOTED = {
    "num_windows": _is_count,
    "excluded": _are_exclusions,
    "count": _is_count,
    "sum": _are_sums,
    "sum_of_squares": _are_sums,
}


class WindowExtractor(Protocol):
    """What makes the features of a dataset: one of the classes in hf_audio/features/.

    Attributes:
        sample_rate: of the waveforms it wants, in Hz.
        frame_samples: samples of the shortest clip that can be used.
        hop_samples: samples from one frame to the next.
        times_real_time: about how many seconds of sound one core gets through in one second.
        is_stereo: whether it wants left and right, `[2, samples]`, in place of mono `[samples]`.
        slow_imports: modules that it imports at its first window, which worker processes shall share.
        parameters: everything that decides the values: `feature_type`, `sampling_rate` and more.
    """

    sample_rate: int
    frame_samples: int
    hop_samples: int
    times_real_time: float
    is_stereo: bool
    slow_imports: tuple[str, ...]
    parameters: dict[str, Any]

    def window_frames(self, window_s: float) -> int:
        """Frames (samples, steps) of a full window; 0 where it is too short to have any."""

    def windows(
        self, waveforms: Sequence[np.ndarray], window_s: float, hop_s: float
    ) -> Iterable[Iterable[tuple[float, np.ndarray]]]:
        """The windows of each waveform, by `window_starts`: (start in seconds, float32 `[frames, ...]`)."""

    def to_feature_extractor(self, max_length: int, mean: Any, std: Any) -> FeatureExtractionMixin:
        """What makes the same of a waveform without hf_audio, for windows of `max_length` frames."""


@dataclass(frozen=True)
class ShardBuilder:
    """Builds shards of one dataset; goes to worker processes as a whole."""

    folder: Path
    extractor: WindowExtractor
    labels: LabelSpace
    window_s: float
    hop_s: float
    strict: bool = False
    is_partial: bool = False

    def is_built(self, shard: Shard) -> bool:
        """Whether the shard's file and the note written after it are there; with `strict`, without exclusions."""
        written = self._note_path(shard).exists() and self._shard_path(shard).exists()
        return written and not (self.strict and self.notes(shard)["excluded"])

    def notes(self, shard: Shard) -> dict[str, Any]:
        """What `build` noted of a finished shard: num_windows, excluded, and sums over all values.

        Raises:
            InputError: it is not what `build` writes; somebody else may have begun the build.
        """
        path = self._note_path(shard)
        note = read_json(path)
        if not (note.keys() == NOTED.keys() and all(holds(note[name]) for name, holds in NOTED.items())):
            raise InputError(f"{path} is damaged: remove it, and run the same build again")
        return note

    def build(self, shard: Shard, report: Callable[[int], object] = lambda clips: None) -> None:
        """Write the shard's parquet file, then its note; `report` is told of finished clips.

        Raises:
            InputError: a file is unusable and `strict` is set.
            OSError: the file system refuses to write.
        """
        rows = _Rows(storage_of(self.extractor.parameters), self.extractor.sample_rate)
        with _one_torch_thread():
            for batch in self._batches(shard, rows, report):
                waveforms = [waveform for _, waveform in batch]
                windows = self.extractor.windows(waveforms, self.window_s, self.hop_s)
                for (clip, _), of_clip in zip(batch, windows, strict=True):
                    self._add_windows(rows, clip, of_clip)
        scratch = self.folder / ".build"
        write_atomically(self._shard_path(shard), _parquet(rows, self._schema()), scratch)
        note = {
            "num_windows": len(rows.values),
            "excluded": rows.excluded,
            "count": rows.count,
            "sum": np.asarray(rows.sum).tolist(),
            "sum_of_squares": np.asarray(rows.sum_of_squares).tolist(),
        }
        write_atomically(self._note_path(shard), json.dumps(note), scratch)

    def _batches(
        self, shard: Shard, rows: _Rows, report: Callable[[int], object]
    ) -> Iterator[list[tuple[Clip, np.ndarray]]]:
        batch, batch_samples = [], 0
        for clip in rows_of(shard.clips):
            try:
                waveform = self._waveform(clip)
            except AudioError as error:
                self._exclude(rows, clip, error.reason)
            else:
                batch.append((clip, waveform))
                batch_samples += waveform.shape[-1]
            report(1)
            if batch_samples >= BATCH_S * self.extractor.sample_rate:
                yield batch
                batch, batch_samples = [], 0
        if batch:
            yield batch

    def _waveform(self, clip: Clip) -> np.ndarray:
        wanted = self.extractor
        waveform = read_clip(clip, wanted.sample_rate, self.window_s, stereo=wanted.is_stereo)
        if waveform.shape[-1] < wanted.frame_samples:
            raise AudioError(
                f"too short: {waveform.shape[-1]} samples at {wanted.sample_rate} Hz, "
                f"one frame takes {wanted.frame_samples}"
            )
        return waveform

    def _add_windows(self, rows: _Rows, clip: Clip, windows: Iterable[tuple[float, np.ndarray]]) -> None:
        label_values, before = self._label_values(clip), rows.mark()
        for start_s, window in windows:  # made one at a time: overlapping ones of an hour would take gigabytes
            if not np.isfinite(window.max()):
                rows.take_back(before)
                return self._exclude(rows, clip, "non-finite features: samples far outside [-1, 1]")
            rows.add(clip, clip.start_s + start_s, window, label_values)

    def _label_values(self, clip: Clip) -> tuple:
        """What the columns of labels hold, see `feature_schema`."""
        given, unknown = self.labels.indices(clip.labels), self.labels.indices(clip.unknown)
        return (given, *((unknown,) if self.is_partial else ()), *(() if self.labels.is_multi_label else given))

    def _exclude(self, rows: _Rows, clip: Clip, reason: str) -> None:
        if self.strict:
            what = f"Mixture {clip.clip_id}" if clip.parts else clip.path
            raise InputError(f"{what} is {reason}; mend or remove it, or build without --strict")
        rows.excluded.append([clip.clip_id, reason])

    def _schema(self) -> pa.Schema:
        """Carries what `datasets` knows of the columns (pictures, audio, names of classes) as metadata."""
        return feature_schema(self.labels, self.extractor.parameters, self.is_partial).arrow_schema

    def _shard_path(self, shard: Shard) -> Path:
        return self.folder / "data" / f"{shard.name}.parquet"

    def _note_path(self, shard: Shard) -> Path:
        return self.folder / ".build" / f"{shard.name}.json"


@dataclass
class _Rows:
    """Rows of a shard, each a tuple of the schema's columns, and what the shard's note says."""

    storage: FeatureStorage
    sample_rate: int
    values: list[tuple] = field(default_factory=list)
    excluded: list[list[str]] = field(default_factory=list)
    count: int = 0
    sum: np.ndarray | float = 0.0
    sum_of_squares: np.ndarray | float = 0.0

    def add(self, clip: Clip, start_s: float, window: np.ndarray, label_values: tuple) -> None:
        stored, axis = self.storage.encode(window, self.sample_rate), self.storage.statistics_axis
        self.values.append((clip.clip_id, clip.group, start_s, *stored, len(window), *label_values))
        sums = window.sum(axis=axis, dtype=np.float64)
        self.count += window.size // sums.size
        self.sum = self.sum + sums
        self.sum_of_squares = self.sum_of_squares + np.square(window, dtype=np.float64).sum(axis=axis)

    def mark(self) -> tuple:
        """What `take_back` needs to remove the rows that are added from here on."""
        return len(self.values), self.count, self.sum, self.sum_of_squares

    def take_back(self, mark: tuple) -> None:
        length, self.count, self.sum, self.sum_of_squares = mark
        del self.values[length:]


def _parquet(rows: _Rows, schema: pa.Schema) -> memoryview:
    """The shard's file: written to memory first, so that a full disk is an error of one plain write."""
    columns = zip(*rows.values, strict=True) if rows.values else ([] for _ in schema)
    table = pa.Table.from_arrays(
        [pa.array(values, kind.type) for values, kind in zip(columns, schema, strict=True)], schema=schema
    )
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, schema, compression="none", use_dictionary=NAME_COLUMNS, write_page_index=True
    ) as writer:
        if len(table):  # a shard that lost all its clips has no row group: `datasets` stumbles over empty ones
            num_groups = max(1, table.nbytes // ROW_GROUP_BYTES)
            writer.write_table(table, row_group_size=-(-len(table) // num_groups))
    return memoryview(sink.getvalue())


@contextlib.contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Processes are the parallel unit; threads inside them would only fight over the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
