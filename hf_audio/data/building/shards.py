"""Building one shard of a feature dataset: decode, resample, features of windows, rows, parquet."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from hf_audio.data.building.plan import Shard
from hf_audio.data.building.shard_rows import ShardRows, UnusableClipError, shard_writer
from hf_audio.data.feature_format import ClipColumns, feature_schema
from hf_audio.data.index.table import Clip, rows_of
from hf_audio.data.recordings.audio import MOST_SAMPLES, AudioError, read_pieces
from hf_audio.data.recordings.mixing import read_clip
from hf_audio.errors import InputError
from hf_audio.files import atomic_file, read_json, write_atomically
from hf_audio.kinds import WindowExtractor, kind_of
from hf_audio.windows import stretches

# clips gathered for one call of the extractor: about 27 of 3 s
BATCH_S = 80.0


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


@dataclass(frozen=True)
class ShardBuilder:
    """Builds shards of one dataset; goes to worker processes as a whole."""

    folder: Path
    extractor: WindowExtractor
    columns: ClipColumns
    window_s: float
    hop_s: float
    strict: bool = False

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
        unusable: dict[str, str] = {}  # known from an attempt
        while True:
            try:
                note = self._write(shard, unusable, report)
                break
            except UnusableClipError as error:  # rare: a long recording that ends in the middle, or is silent
                unusable[error.clip_id] = error.reason
                report = lambda clips: None  # noqa: E731 - the clips were counted
        write_atomically(self._note_path(shard), json.dumps(note), self.folder / ".build")

    def _write(self, shard: Shard, unusable: Mapping[str, str], report: Callable[[int], object]) -> dict[str, Any]:
        """The shard's file, without the clips that are known to be unusable; what its note says."""
        excluded: dict[str, str] = {}
        with (
            _one_torch_thread(),
            atomic_file(self._shard_path(shard), self.folder / ".build") as file,
            shard_writer(file, self._schema()) as writer,
        ):
            rows = ShardRows(kind_of(self.extractor.parameters), self.extractor.sample_rate, writer)
            for batch in self._batches(shard, rows, excluded, unusable, report):
                windows = self.extractor.windows([sound for _, _, sound in batch], self.window_s, self.hop_s)
                for (clip, first, _), of_stretch in zip(batch, windows, strict=True):
                    if clip.clip_id not in excluded:
                        self._add_windows(rows, clip, first, of_stretch, excluded)
            rows.finish()
        return {
            "num_windows": rows.num_rows,
            "excluded": [list(pair) for pair in excluded.items()],
            "count": rows.count,
            "sum": np.asarray(rows.sum).tolist(),
            "sum_of_squares": np.asarray(rows.sum_of_squares).tolist(),
        }

    def _batches(
        self,
        shard: Shard,
        rows: ShardRows,
        excluded: dict[str, str],
        unusable: Mapping[str, str],
        report: Callable[[int], object],
    ) -> Iterator[list[tuple[Clip, int, np.ndarray]]]:
        """Stretches of the clips, with their first samples, as many as one call of the extractor is to get."""
        batch, batch_samples = [], 0
        for clip in rows_of(shard.clips):
            try:
                if clip.clip_id in unusable:
                    raise AudioError(unusable[clip.clip_id])
                for first, sound in self._stretches(clip):
                    batch.append((clip, first, sound))
                    batch_samples += sound.shape[-1]
                    if batch_samples >= BATCH_S * self.extractor.sample_rate:
                        yield batch
                        batch, batch_samples = [], 0
            except AudioError as error:
                batch = [one for one in batch if one[0] is not clip]
                self._exclude(rows, clip, error.reason, excluded)
            report(1)
        if batch:
            yield batch

    def _stretches(self, clip: Clip) -> Iterator[tuple[int, np.ndarray]]:
        """The sound of a clip, of a long one in several pieces that have its windows, each with its first sample."""
        wanted = self.extractor
        size, hop = wanted.window_samples(self.window_s, self.hop_s)
        num_windows = max(1, 1 + int(BATCH_S * wanted.sample_rate - size) // hop)
        if clip.parts or num_windows * hop + size > MOST_SAMPLES:
            pieces = [read_clip(clip, wanted.sample_rate, self.window_s, stereo=wanted.is_stereo)]
        else:
            pieces = read_pieces(clip.path, wanted.sample_rate, clip.start_s, clip.end_s, stereo=wanted.is_stereo)
        for first, sound in stretches(pieces, size, hop, num_windows):
            if sound.shape[-1] < wanted.frame_samples:
                raise AudioError(
                    f"too short: {sound.shape[-1]} samples at {wanted.sample_rate} Hz, "
                    f"one frame takes {wanted.frame_samples}"
                )
            yield first, sound

    def _add_windows(
        self,
        rows: ShardRows,
        clip: Clip,
        first: int,
        windows: Iterable[tuple[float, np.ndarray]],
        excluded: dict[str, str],
    ) -> None:
        clip_values, first_s = self.columns.values(clip), first / self.extractor.sample_rate
        if first == 0:
            rows.begin(clip)
        for start_s, window in windows:  # made one at a time: overlapping ones of an hour would take gigabytes
            if not np.isfinite(window.max()):
                return self._exclude(rows, clip, "non-finite features: samples far outside [-1, 1]", excluded)
            rows.add(clip, clip.start_s + first_s + start_s, window, clip_values)

    def _exclude(self, rows: ShardRows, clip: Clip, reason: str, excluded: dict[str, str]) -> None:
        if self.strict:
            what = f"Mixture {clip.clip_id}" if clip.parts else clip.path
            raise InputError(f"{what} is {reason}; mend or remove it, or build without --strict")
        rows.take_back(clip, reason)
        excluded[clip.clip_id] = reason

    def _schema(self) -> pa.Schema:
        """Carries what `datasets` knows of the columns (pictures, audio, names of classes) as metadata."""
        return feature_schema(self.columns, self.extractor.parameters).arrow_schema

    def _shard_path(self, shard: Shard) -> Path:
        return self.folder / "data" / f"{shard.name}.parquet"

    def _note_path(self, shard: Shard) -> Path:
        return self.folder / ".build" / f"{shard.name}.json"


@contextlib.contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Processes are the parallel unit; threads inside them would only fight over the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
