"""Building one shard of a feature dataset: decode, resample, features, windows, pictures, parquet."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from hf_audio.data.audio import AudioError, read_audio
from hf_audio.data.feature_plan import Shard
from hf_audio.data.feature_storage import encode_features, feature_schema, write_atomically
from hf_audio.data.index import Clip
from hf_audio.data.labels import LabelSpace
from hf_audio.data.windows import window_starts
from hf_audio.errors import InputError

# clips gathered for one call of the extractor: about 27 of 3 s
BATCH_S = 80.0
# a reader that streams must fetch a whole row group before its first row
ROW_GROUP_BYTES = 16 << 20


@dataclass(frozen=True)
class ShardBuilder:
    """Builds shards of one dataset; goes to worker processes as a whole."""

    folder: Path
    extractor: Any
    labels: LabelSpace
    window_frames: int
    hop_frames: int
    strict: bool = False

    def is_built(self, shard: Shard) -> bool:
        """Whether the shard's file and the note written after it are there; with `strict`, without exclusions."""
        written = self._note_path(shard).exists() and self._shard_path(shard).exists()
        return written and not (self.strict and self.notes(shard)["excluded"])

    def notes(self, shard: Shard) -> dict[str, Any]:
        """What `build` noted of a finished shard: num_windows, excluded, and sums over all values."""
        return json.loads(self._note_path(shard).read_text(encoding="utf-8"))

    def build(self, shard: Shard, report: Callable[[int], object] = lambda clips: None) -> None:
        """Write the shard's parquet file, then its note; `report` is told of finished clips.

        Raises:
            InputError: a file is unusable and `strict` is set.
            OSError: the file system refuses to write.
        """
        rows = _Rows()
        with _one_torch_thread():
            for batch in self._batches(shard, rows, report):
                features = self.extractor([torch.from_numpy(waveform) for _, waveform in batch])
                for (clip, _), clip_features in zip(batch, features, strict=True):
                    self._add_windows(rows, clip, clip_features.numpy())
        scratch = self.folder / ".build"
        write_atomically(self._shard_path(shard), _parquet(rows, self.labels), scratch)
        note = {
            "num_windows": len(rows.columns["clip_id"]),
            "excluded": rows.excluded,
            "count": rows.count,
            "sum": rows.sum,
            "sum_of_squares": rows.sum_of_squares,
        }
        write_atomically(self._note_path(shard), json.dumps(note), scratch)

    def _batches(
        self, shard: Shard, rows: _Rows, report: Callable[[int], object]
    ) -> Iterator[list[tuple[Clip, np.ndarray]]]:
        batch, batch_samples = [], 0
        for clip in shard.clips:
            try:
                waveform = self._waveform(clip)
            except AudioError as error:
                self._exclude(rows, clip, error.reason)
            else:
                batch.append((clip, waveform))
                batch_samples += len(waveform)
            report(1)
            if batch_samples >= BATCH_S * self.extractor.sample_rate:
                yield batch
                batch, batch_samples = [], 0
        if batch:
            yield batch

    def _waveform(self, clip: Clip) -> np.ndarray:
        waveform = read_audio(clip.path, self.extractor.sample_rate, clip.start_s, clip.end_s)
        if len(waveform) < self.extractor.frame_samples:
            raise AudioError(
                f"too short: {len(waveform)} samples at {self.extractor.sample_rate} Hz, "
                f"one frame takes {self.extractor.frame_samples}"
            )
        return waveform

    def _add_windows(self, rows: _Rows, clip: Clip, features: np.ndarray) -> None:
        """Cut the `[frames, bins]` of a clip into rows."""
        if not np.isfinite(features.max()):
            self._exclude(rows, clip, "non-finite features: samples far outside [-1, 1]")
            return
        label_indices = self.labels.indices(clip.labels)
        frame_s = self.extractor.hop_samples / self.extractor.sample_rate
        for start in window_starts(len(features), self.window_frames, self.hop_frames):
            window = features[start : start + self.window_frames]
            start_s = clip.start_s + start * frame_s
            rows.add(clip, start_s, window, label_indices)

    def _exclude(self, rows: _Rows, clip: Clip, reason: str) -> None:
        if self.strict:
            raise InputError(f"{clip.path} is {reason}; mend or remove it, or build without --strict")
        rows.excluded.append([clip.clip_id, reason])

    def _shard_path(self, shard: Shard) -> Path:
        return self.folder / "data" / f"{shard.name}.parquet"

    def _note_path(self, shard: Shard) -> Path:
        return self.folder / ".build" / f"{shard.name}.json"


@dataclass
class _Rows:
    """Rows of a shard by column, and what its note says."""

    columns: dict[str, list] = field(
        default_factory=lambda: {
            name: [] for name in ("clip_id", "group", "start_s", "features", "offset", "scale", "num_frames", "labels")
        }
    )
    excluded: list[list[str]] = field(default_factory=list)
    count: int = 0
    sum: float = 0.0
    sum_of_squares: float = 0.0

    def add(self, clip: Clip, start_s: float, window: np.ndarray, label_indices: list[int]) -> None:
        png, offset, scale = encode_features(window)
        picture = {"bytes": png, "path": None}
        row = (clip.clip_id, clip.group, start_s, picture, offset, scale, len(window), label_indices)
        for column, value in zip(self.columns.values(), row, strict=True):
            column.append(value)
        self.count += window.size
        self.sum += float(window.sum(dtype=np.float64))
        self.sum_of_squares += float(np.square(window, dtype=np.float64).sum())


def _parquet(rows: _Rows, labels: LabelSpace) -> memoryview:
    """The shard's file: written to memory first, so that a full disk is an error of one plain write."""
    schema = feature_schema(labels).arrow_schema  # carries the Image and ClassLabel features as metadata
    table = pa.Table.from_pydict(rows.columns, schema=schema)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, schema, compression="none", use_dictionary=["clip_id", "group"], write_page_index=True
    ) as writer:
        if len(table):  # a shard that lost all its clips has no row group: `datasets` stumbles over empty ones
            writer.write_table(table, row_group_size=max(1, ROW_GROUP_BYTES * len(table) // table.nbytes))
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
