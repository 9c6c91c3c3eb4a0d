"""First step of building from containers or the Hub: windows in the order of the source, piece by piece.

Each jump to another recording would cost a row group or a request. So each run of recordings is read once, from
beginning to end, and its windows are stored in a file of their own until all lengths are known and shards can be
planned. Shards are then assembled from these files (`gathering.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hf_audio.data.building.clip_windows import WindowMaker
from hf_audio.data.building.piece_rows import PieceRows, piece_schema, piece_writer
from hf_audio.data.building.plan import are_cuts
from hf_audio.data.index.table import Clip
from hf_audio.data.recordings.audio import probe
from hf_audio.data.recordings.headers import Source
from hf_audio.data.recordings.in_turn import reading_order, recordings_in_turn, run_cuts
from hf_audio.data.recordings.opening import HIGHEST_RATE
from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import InputError
from hf_audio.files import atomic_file, read_json, write_atomically
from hf_audio.kinds import kind_of

# Sound in a piece, if it can be cut: a killed build loses this much of each worker's work, some seconds
PIECE_BYTES = 64 << 20
MAX_NOTE_BYTES = 1 << 30


class Piece(NamedTuple):
    """A run of recordings that are read one after the other.

    Attributes:
        name: the name of its files, without suffix.
        places: rows of its clips in the index, in the order of the source.
        clips: these rows.
    """

    name: str
    places: np.ndarray
    clips: pa.Table


class ClipFacts(NamedTuple):
    """Facts about the clips of an index once all pieces are built, one entry per clip.

    Attributes:
        file_s: length of its recording in seconds; 0 if it cannot be read.
        sample_rate: sample rate of its recording in Hz; 0 if it cannot be read.
        piece: number of the piece with its windows.
        first, number: row of its first window in that piece, and the number of windows.
        excluded: {row of the index: why it is left out}.
        ends: for each piece, the rows at which the batches of its file end.
    """

    file_s: np.ndarray
    sample_rate: np.ndarray
    piece: np.ndarray
    first: np.ndarray
    number: np.ndarray
    excluded: dict[int, str]
    ends: list[np.ndarray]


def piece_cuts(clips: pa.Table, token: str | bool | None) -> tuple[list[int], int]:
    """Where to cut clips in reading order into pieces, see `run_cuts`."""
    return run_cuts(clips, PIECE_BYTES, token)


def pieces_of(clips: pa.Table, cuts: Sequence[int]) -> list[Piece]:
    """The pieces between the cuts of `piece_cuts`."""
    order = reading_order(clips)
    parts = (order[first:last] for first, last in pairwise(cuts))
    return [Piece(f"piece-{number:06d}", part, clips.take(pa.array(part))) for number, part in enumerate(parts)]


def read_cuts(path: Path, num_clips: int) -> tuple[list[int], int]:
    """The result of `piece_cuts` from its file, checked, because it may be untrusted.

    Raises:
        InputError: it does not fit the number of clips.
    """
    told = read_json(path, MAX_NOTE_BYTES)
    cuts, num_bytes = told.get("cuts"), told.get("num_bytes")
    if type(num_bytes) is not int or not are_cuts(cuts, num_clips):
        raise InputError(f"{path} is damaged: remove its folder, and run the same command again")
    return cuts, num_bytes


@dataclass(frozen=True)
class PieceBuilder:
    """Builds pieces of one dataset; it is pickled and sent to worker processes."""

    folder: Path
    maker: WindowMaker
    strict: bool = False
    token: str | bool | None = field(default=None, repr=False)

    def is_built(self, piece: Piece) -> bool:
        """Whether the piece's file and the note written after it exist; with `strict`, also without exclusions."""
        written = self._note_path(piece).exists() and self.path(piece).exists()
        return written and not (self.strict and self._note(piece)["excluded"])

    def build(self, piece: Piece, report: Callable[[int], object] = lambda clips: None) -> None:
        """Writes the piece's file, then its note; calls `report` with the number of finished clips.

        Raises:
            InputError: a container is damaged or cannot be reached, or a recording is unusable and `strict` is set.
            OSError: the file system refuses to write.
        """
        extractor, lengths_s, rates = self.maker.extractor, {}, {}
        schema = piece_schema(kind_of(extractor.parameters), extractor.sample_rate)
        with atomic_file(self.path(piece), self.folder / ".build") as file, piece_writer(file, schema) as writer:
            rows = PieceRows(writer, schema, self.strict)
            self.maker.add_windows(self._probed(piece, lengths_s, rates), rows, report)
            rows.finish()
        names = piece.clips["clip_id"].to_pylist()
        note = {
            "file_s": [lengths_s[name] for name in names],
            "sample_rate": [rates[name] for name in names],
            "first": [rows.first.get(name, 0) for name in names],
            "number": [rows.number.get(name, 0) for name in names],
            "excluded": {str(place): rows.excluded[name] for place, name in enumerate(names) if name in rows.excluded},
            "batches": rows.batches,
        }
        write_atomically(self._note_path(piece), json.dumps(note), self.folder / ".build")

    def facts(self, pieces: Sequence[Piece], num_clips: int) -> ClipFacts:
        """The facts in the notes of all pieces.

        Raises:
            InputError: a note is damaged.
        """
        kinds = {"file_s": np.float64, "sample_rate": np.int64, "first": np.int64, "number": np.int64}
        of_clips = {name: np.zeros(num_clips, kind) for name, kind in kinds.items()}
        of_piece, excluded, ends = np.zeros(num_clips, np.int64), {}, []
        for number, piece in enumerate(pieces):
            note = self._note(piece)
            for name, values in of_clips.items():
                values[piece.places] = note[name]
            of_piece[piece.places] = number
            excluded |= {int(piece.places[int(place)]): reason for place, reason in note["excluded"].items()}
            ends.append(np.cumsum(note["batches"], dtype=np.int64))
        return ClipFacts(**of_clips, piece=of_piece, excluded=excluded, ends=ends)

    def path(self, piece: Piece) -> Path:
        """The file with the piece's windows."""
        return self.folder / ".build" / "pieces" / f"{piece.name}.arrow"

    def _note_path(self, piece: Piece) -> Path:
        return self.path(piece).with_suffix(".json")

    def _note(self, piece: Piece) -> dict[str, Any]:
        path = self._note_path(piece)
        note = read_json(path, MAX_NOTE_BYTES)
        if not _is_note(note, len(piece.clips)):
            raise InputError(f"{path} is damaged: remove it, and run the same command again")
        return note

    def _probed(
        self, piece: Piece, file_s: dict[str, float], rates: dict[str, int]
    ) -> Iterator[tuple[Clip, Source | AudioError]]:
        """The clips with their recordings; lengths and rates from the headers are stored in `file_s` and `rates`."""
        for its, source in recordings_in_turn(piece.clips, self.token, self.folder / ".build"):
            try:
                if isinstance(source, AudioError):
                    raise source
                info = probe(source)
                length_s, rate = info.duration_s, info.sample_rate
            except AudioError as error:
                source, length_s, rate = error, 0.0, 0
            for clip in its:
                file_s[clip.clip_id], rates[clip.clip_id] = length_s, rate
                yield clip, source


def _is_note(note: dict[str, Any], num_clips: int) -> bool:
    """Whether a note has the form that `PieceBuilder.build` writes."""
    lists = [note.get(name) for name in ("file_s", "sample_rate", "first", "number")]
    batches, excluded = note.get("batches"), note.get("excluded")
    if not (all(isinstance(one, list) and len(one) == num_clips for one in lists) and isinstance(batches, list)):
        return False
    counts: Iterable[Any] = (value for one in (*lists[1:], batches) for value in one)
    return (
        all(type(value) in (int, float) and value >= 0 for value in lists[0])
        and all(type(value) is int and 0 <= value < 1 << 62 for value in counts)
        and all(rate <= HIGHEST_RATE for rate in lists[1])
        and isinstance(excluded, dict)
        and all(
            place.isdecimal() and int(place) < num_clips and isinstance(reason, str)
            for place, reason in excluded.items()
        )
    )
