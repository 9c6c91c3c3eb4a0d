"""Building from recordings in containers or on the Hub, first step: windows in the order of the source, piece by piece.

To jump from one recording to another would cost a row group each, or a request. So each run of recordings is read from
its beginning to its end, once, and its windows wait in a file of their own until all lengths are known and shards can
be planned. Shards are then put together out of these files (`gathering.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.building.clip_windows import WindowMaker
from hf_audio.data.building.piece_rows import PieceRows, piece_schema, piece_writer
from hf_audio.data.building.plan import are_cuts
from hf_audio.data.index.table import Clip, rows_of
from hf_audio.data.recordings.ahead import read_ahead
from hf_audio.data.recordings.audio import probe
from hf_audio.data.recordings.containers import MOST_RECORDING_BYTES, NO_SOUND, parts_of, sounds
from hf_audio.data.recordings.headers import Source
from hf_audio.data.recordings.hub_files import ON_HUB, MissingFileError, held, held_bytes, open_container, sizes_on_hub
from hf_audio.data.recordings.opening import HIGHEST_RATE
from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import InputError
from hf_audio.files import atomic_file, read_json, write_atomically
from hf_audio.kinds import kind_of

# Of sound in a piece, where it can be cut: what a killed build loses of each worker's work, some seconds
PIECE_BYTES = 64 << 20
FILES_AT_A_TIME = 16
MOST_NOTE_BYTES = 1 << 30
# Of recordings that wait to be decoded: half a minute of CD sound for each second that a request may take
AHEAD_BYTES = 16 << 20


class Piece(NamedTuple):
    """A run of recordings that are read one behind the other.

    Attributes:
        name: of its files, without suffix.
        places: rows of its clips in the index, in the order of the source.
        clips: these rows.
    """

    name: str
    places: np.ndarray
    clips: pa.Table


class ClipFacts(NamedTuple):
    """What is known of the clips of an index once all pieces are built, an entry each.

    Attributes:
        file_s: seconds of its recording; 0 where it cannot be read.
        sample_rate: of its recording in Hz; 0 likewise.
        piece: number of the piece with its windows.
        first, number: which rows of that piece they are.
        excluded: {row of the index: why it is left out}.
        ends: of each piece, the rows at which the batches of its file end.
    """

    file_s: np.ndarray
    sample_rate: np.ndarray
    piece: np.ndarray
    first: np.ndarray
    number: np.ndarray
    excluded: dict[int, str]
    ends: list[np.ndarray]


def reading_order(clips: pa.Table) -> np.ndarray:
    """Rows of the index in the order in which their recordings lie in the containers, these as they first come."""
    files, fields = (clips[name].combine_chunks().dictionary_encode() for name in ("audio", "audio_field"))
    rows = pc.fill_null(clips["audio_row"], -1).to_numpy()
    keys = [pc.fill_null(codes.indices, -1).to_numpy() for codes in (fields, files)]
    return np.lexsort((np.arange(len(clips)), rows, *keys))


def piece_cuts(clips: pa.Table, token: str | bool | None) -> tuple[list[int], int]:
    """Where to cut clips in their reading order into pieces, [0, ..., clips], and the bytes of all their recordings.

    Raises:
        InputError: a container cannot be read.
    """
    ordered = clips.select(["audio", "audio_row", "audio_field"]).take(pa.array(reading_order(clips)))
    paths, first = ordered["audio"].to_pylist(), 0
    rows = ordered["audio_row"]
    fields = ordered["audio_field"].to_pylist()
    runs = []
    for (path, field_name), run in groupby(zip(paths, fields, strict=True)):
        length = sum(1 for _ in run)
        runs.append((path, field_name, first, first + length))
        first += length
    is_file = pc.is_null(rows).to_numpy()
    sizes = _sizes([path for path, _, begin, _ in runs if is_file[begin]], token)
    with ThreadPoolExecutor(FILES_AT_A_TIME) as threads:
        cut = partial(_units, token=token, sizes=sizes)
        whole = threads.map(lambda run: cut(run, None if is_file[run[2]] else rows[run[2] : run[3]].to_numpy()), runs)
        units = [unit for its in whole for unit in its]
    cuts, waiting = [0], 0
    for begin, num_bytes in units:
        if waiting and waiting + num_bytes > PIECE_BYTES and begin > cuts[-1]:
            cuts.append(begin)
            waiting = 0
        waiting += num_bytes
    return [*cuts, len(clips)], sum(num_bytes for _, num_bytes in units)


def _units(
    run: tuple[str, str | None, int, int], rows: np.ndarray | None, token: str | bool | None, sizes: dict[str, int]
) -> list[tuple[int, int]]:
    """What of a run can be read by itself: (first clip, bytes) of each."""
    path, field_name, begin, _ = run
    if rows is None:
        return [(begin, sizes.get(path, 0))]
    found = parts_of(path, field_name or "", partial(open_container, token=token))
    firsts = np.searchsorted(rows, [part.first_row for part in found]).tolist()
    ends = [*firsts[1:], len(rows)]
    return [
        (begin + first, part.num_bytes) for part, first, end in zip(found, firsts, ends, strict=True) if end > first
    ]


def _sizes(paths: Sequence[str], token: str | bool | None) -> dict[str, int]:
    on_hub = [path for path in paths if path.startswith(ON_HUB)]
    here = {path: Path(path).stat().st_size for path in paths if not path.startswith(ON_HUB) and Path(path).is_file()}
    return here | sizes_on_hub(on_hub, token)


def pieces_of(clips: pa.Table, cuts: Sequence[int]) -> list[Piece]:
    """The pieces that `piece_cuts` cut."""
    order = reading_order(clips)
    parts = (order[first:last] for first, last in pairwise(cuts))
    return [Piece(f"piece-{number:06d}", part, clips.take(pa.array(part))) for number, part in enumerate(parts)]


def read_cuts(path: Path, num_clips: int) -> tuple[list[int], int]:
    """What `piece_cuts` said, as it was written down, perhaps by somebody else.

    Raises:
        InputError: it is not what it says of so many clips.
    """
    told = read_json(path, MOST_NOTE_BYTES)
    cuts, num_bytes = told.get("cuts"), told.get("num_bytes")
    if type(num_bytes) is not int or not are_cuts(cuts, num_clips):
        raise InputError(f"{path} is damaged: remove its folder, and run the same build again")
    return cuts, num_bytes


@dataclass(frozen=True)
class PieceBuilder:
    """Builds pieces of one dataset; goes to worker processes as a whole."""

    folder: Path
    maker: WindowMaker
    strict: bool = False
    token: str | bool | None = field(default=None, repr=False)

    def is_built(self, piece: Piece) -> bool:
        """Whether the piece's file and the note written after it are there; with `strict`, without exclusions."""
        written = self._note_path(piece).exists() and self.path(piece).exists()
        return written and not (self.strict and self._note(piece)["excluded"])

    def build(self, piece: Piece, report: Callable[[int], object] = lambda clips: None) -> None:
        """Write the piece's file, then its note; `report` is told of finished clips.

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
        """What the notes of all pieces say.

        Raises:
            InputError: one is not what `build` writes.
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
        """Where the piece's windows are."""
        return self.folder / ".build" / "pieces" / f"{piece.name}.arrow"

    def _note_path(self, piece: Piece) -> Path:
        return self.path(piece).with_suffix(".json")

    def _note(self, piece: Piece) -> dict[str, Any]:
        path = self._note_path(piece)
        note = read_json(path, MOST_NOTE_BYTES)
        if not _is_note(note, len(piece.clips)):
            raise InputError(f"{path} is damaged: remove it, and run the same build again")
        return note

    def _probed(
        self, piece: Piece, file_s: dict[str, float], rates: dict[str, int]
    ) -> Iterator[tuple[Clip, Source | AudioError]]:
        """The clips with their recordings; what the headers of these say is entered into `file_s` and `rates`."""
        for its, source in read_ahead(self._recordings(piece), lambda one: held_bytes(one[1]), AHEAD_BYTES):
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

    def _recordings(self, piece: Piece) -> Iterator[tuple[list[Clip], Source | AudioError]]:
        """Each recording with the clips that are stretches of it."""
        for (path, name), run in groupby(rows_of(piece.clips), key=lambda clip: (clip.path, clip.audio_field)):
            its = [list(of_one) for _, of_one in groupby(run, key=lambda clip: clip.audio_row)]
            if its[0][0].audio_row is None:
                yield its[0], self._file(path)
            else:
                yield from self._contained(path, name or "", {clips[0].audio_row: clips for clips in its})

    def _contained(
        self, path: str, name: str, clips_of: dict[int, list[Clip]]
    ) -> Iterator[tuple[list[Clip], BinaryIO | AudioError]]:
        rows, come = sorted(clips_of), set()
        for row, sound in sounds(path, name, rows, self._open, self.folder / ".build"):
            come.add(row)
            yield clips_of[row], sound
        for row in rows:
            if row not in come:
                yield clips_of[row], AudioError(NO_SOUND)

    def _file(self, path: str) -> Source | AudioError:
        """A recording that is a file of its own, here or on the Hub."""
        if not path.startswith(ON_HUB):
            return path
        try:
            with self._open(path) as file:
                if file.size > MOST_RECORDING_BYTES:
                    return AudioError(f"too large: {file.size:,} bytes, at most {MOST_RECORDING_BYTES:,} are read")
                return held(file, file.size, self.folder / ".build")
        except MissingFileError:
            return AudioError("missing")

    def _open(self, path: str) -> BinaryIO:
        return open_container(path, self.token)


def _is_note(note: dict[str, Any], num_clips: int) -> bool:
    """Whether a note has what `PieceBuilder.build` notes."""
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
