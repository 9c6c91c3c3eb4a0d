"""Builds one shard of a feature dataset: a Parquet file with the windows of its clips, and a note on its contents."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hf_audio.data.building.clip_windows import StoredWindow, WindowMaker
from hf_audio.data.building.plan import Shard
from hf_audio.data.building.shard_rows import ShardRows, UnusableClipError, shard_writer
from hf_audio.data.feature_format import ClipColumns, feature_schema
from hf_audio.data.index.table import Clip, rows_of
from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import InputError
from hf_audio.files import atomic_file, read_json, write_atomically


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_sums(value: Any) -> bool:
    """One number, or one per channel or feature."""
    return all(type(number) in (int, float) for number in (value if isinstance(value, list) else [value]))


def _are_exclusions(value: Any) -> bool:
    """Pairs of a clip and the reason for leaving it out."""
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in value
    )


# The facts of a shard's note, each with its check
NOTED = {
    "num_windows": _is_count,
    "excluded": _are_exclusions,
    "count": _is_count,
    "sum": _are_sums,
    "sum_of_squares": _are_sums,
}


@dataclass
class ShardClips:
    """Turns the windows of clips into rows of a shard.

    Attributes:
        values: returns a clip's values for the columns that describe it.
        excluded: by clip_id: why a clip was left out.
    """

    rows: ShardRows
    values: Callable[[Clip], tuple]
    strict: bool
    excluded: dict[str, str] = field(default_factory=dict)
    of_clip: tuple = ()

    def begin(self, clip: Clip) -> None:
        """See `ClipRows`."""
        self.of_clip = self.values(clip)
        self.rows.begin(clip)

    def add(self, clip: Clip, window: StoredWindow) -> None:
        """See `ClipRows`."""
        self.rows.add(clip, window, self.of_clip)

    def exclude(self, clip: Clip, reason: str) -> None:
        """See `ClipRows`.

        Raises:
            InputError: the build is strict.
        """
        require_usable(clip, reason, self.strict)
        self.rows.take_back(clip, reason)
        self.excluded[clip.clip_id] = reason

    def is_excluded(self, clip: Clip) -> bool:
        """See `ClipRows`."""
        return clip.clip_id in self.excluded


def require_usable(clip: Clip, reason: str, strict: bool) -> None:
    """Raises InputError for an unusable clip in a strict build."""
    if strict:
        of_many = clip.parts or clip.audio_row is not None
        what = f"{'Mixture' if clip.parts else 'Clip'} {clip.clip_id}" if of_many else clip.path
        raise InputError(f"{what} is {reason}; fix or remove it, or build without --strict")


@dataclass(frozen=True)
class ShardBuilder:
    """Builds shards of one dataset; it is pickled and sent to worker processes."""

    folder: Path
    maker: WindowMaker
    columns: ClipColumns
    strict: bool = False

    def is_built(self, shard: Shard) -> bool:
        """Whether the shard's file and the note written after it exist; with `strict`, also without exclusions."""
        written = self._note_path(shard).exists() and self._shard_path(shard).exists()
        return written and not (self.strict and self.notes(shard)["excluded"])

    def notes(self, shard: Shard) -> dict[str, Any]:
        """The note of a finished shard: num_windows, excluded, and sums over all values.

        Raises:
            InputError: it is damaged; it is checked because it may be untrusted.
        """
        path = self._note_path(shard)
        note = read_json(path)
        if not (note.keys() == NOTED.keys() and all(holds(note[name]) for name, holds in NOTED.items())):
            raise InputError(f"{path} is damaged: remove it, and run the same command again")
        return note

    def build(self, shard: Shard, report: Callable[[int], object] = lambda clips: None) -> None:
        """Writes the shard's Parquet file, then its note; calls `report` with the number of finished clips.

        Raises:
            InputError: a file is unusable and `strict` is set.
            OSError: the file system refuses to write.
        """
        unusable: dict[str, str] = {}  # found in an earlier attempt
        while True:
            try:
                note = self._write(shard, unusable, report)
                break
            except UnusableClipError as error:  # rare: a long recording that is truncated or silent
                unusable[error.clip_id] = error.reason
                report = lambda clips: None  # noqa: E731 - the clips are already counted
        write_atomically(self._note_path(shard), json.dumps(note), self.folder / ".build")

    def _write(self, shard: Shard, unusable: Mapping[str, str], report: Callable[[int], object]) -> dict[str, Any]:
        """Writes the shard's file without clips that are known to be unusable, and returns its note."""
        with (
            atomic_file(self._shard_path(shard), self.folder / ".build") as file,
            shard_writer(file, self._schema()) as writer,
        ):
            rows = ShardClips(ShardRows(writer), self.columns.values, self.strict)
            self._fill(rows, shard, unusable, report)
            rows.rows.finish()
        return {
            "num_windows": rows.rows.num_rows,
            "excluded": [list(pair) for pair in rows.excluded.items()],
            "count": rows.rows.count,
            "sum": np.asarray(rows.rows.sum).tolist(),
            "sum_of_squares": np.asarray(rows.rows.sum_of_squares).tolist(),
        }

    def _fill(
        self, rows: ShardClips, shard: Shard, unusable: Mapping[str, str], report: Callable[[int], object]
    ) -> None:
        """Adds the windows of the shard's clips, computed from their files."""
        clips = rows_of(shard.clips)
        sounds = ((one, AudioError(unusable[one.clip_id]) if one.clip_id in unusable else one.path) for one in clips)
        self.maker.add_windows(sounds, rows, report)

    def _schema(self) -> pa.Schema:
        """The Arrow schema, with the types of `datasets` (images, audio, class names) as metadata."""
        return feature_schema(self.columns, self.maker.extractor.parameters).arrow_schema

    def _shard_path(self, shard: Shard) -> Path:
        return self.folder / "data" / f"{shard.name}.parquet"

    def _note_path(self, shard: Shard) -> Path:
        return self.folder / ".build" / f"{shard.name}.json"
