"""Builds the shards of a dataset of recordings: files are read, checked and stored as rows, with a note per shard."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hf_audio.data.building.plan import Shard
from hf_audio.data.building.shard_rows import ROW_GROUP_BYTES
from hf_audio.data.index.table import Clip
from hf_audio.data.recordings.audio import AudioError
from hf_audio.data.recordings.headers import Source
from hf_audio.data.recordings.in_turn import recordings_in_turn
from hf_audio.data.sharing.columns import RowColumns
from hf_audio.data.sharing.stored_sound import StoredSound, stored_sound
from hf_audio.errors import InputError
from hf_audio.files import atomic_file, open_regular, read_json, write_json

BUILD = ".build"
LONGEST_NAME = 100
NOTED = {
    **dict.fromkeys(("num_rows", "num_bytes", "size"), int),
    "sha256": str,
    "seconds": float,
    **dict.fromkeys(("endings", "rates"), dict),
    "excluded": list,
}


@dataclass(frozen=True)
class RecordingShards:
    """Builds the shards of one dataset in a folder; see `hf_audio.data.sharing.columns` for the rows.

    Attributes:
        folder: shards go to data/, their notes to .build/.
        columns: the columns of the rows.
        audio_format: "flac" or "original", see `stored_sound`.
        strict: raise an error for the first unusable recording.
        token: Hub token, for recordings on the Hub.
        stopped: once set, building threads stop at the next recording.
    """

    folder: Path
    columns: RowColumns
    audio_format: str
    strict: bool = False
    token: str | bool | None = field(default=None, repr=False)
    stopped: threading.Event = field(default_factory=threading.Event)

    def path(self, shard: Shard) -> Path:
        return self.folder / "data" / f"{shard.name}.parquet"

    def note(self, shard: Shard) -> dict[str, Any] | None:
        """The note of a built shard: num_rows, num_bytes in memory, size and sha256 of the file, seconds of sound,
        extensions and sample rates with counts, and pairs of excluded clips and reasons. None if it is not built.

        Raises:
            InputError: the note is damaged.
        """
        path = self._note_path(shard)
        if not path.exists():
            return None
        note = read_json(path)
        if note.keys() != NOTED.keys() or any(type(note[name]) is not kind for name, kind in NOTED.items()):
            raise InputError(f"{path} is damaged: remove it, and run the same command again")
        return None if self.strict and note["excluded"] else note

    def is_built(self, shard: Shard) -> bool:
        """Whether the file and the note of a shard exist."""
        note, path = self.note(shard), self.path(shard)
        return note is not None and path.is_file() and path.stat().st_size == note["size"]

    def build(self, shard: Shard, report: Callable[[int], object] = lambda clips: None) -> Shard:
        """Writes the shard's file, then its note, unless they exist; calls `report` with the number of finished clips.

        Raises:
            InputError: a recording is unusable and `strict` is set, or the folder cannot be written to.
        """
        if self.is_built(shard):
            report(len(shard.clips))
            return shard
        try:
            with atomic_file(self.path(shard), self.folder / BUILD) as file:
                note = self._write(file, shard, report)
            note["size"], note["sha256"] = _size_and_sha256(self.path(shard))
            write_json(self._note_path(shard), note)
        except OSError as error:  # defects of recordings are never OSErrors here
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise InputError(
                f"Cannot write to {self.folder}: {reason}; free some space or choose another folder (uploaded files "
                "are kept; run the same command again to resume)"
            ) from error
        return shard

    def _write(self, file: Any, shard: Shard, report: Callable[[int], object]) -> dict[str, Any]:
        """Writes all rows of a shard, a row group at a time; returns the note without size and sha256 of the file."""
        excluded, seconds, endings, rates, num_rows, num_bytes = [], 0.0, Counter(), Counter(), 0, 0
        with _writer(file, self.columns.schema) as writer:
            for rows, sounds, names in self._groups(shard, excluded, report):
                table = self.columns.table(shard.clips.take(pa.array(rows)), _named(sounds, names))
                writer.write_table(table, row_group_size=len(table))
                num_rows, num_bytes = num_rows + len(table), num_bytes + table.nbytes
                seconds += sum(sound.duration_s for sound in sounds)
                endings.update(sound.ending for sound in sounds)
                rates.update(str(sound.sample_rate) for sound in sounds)
        counts = {"endings": dict(sorted(endings.items())), "rates": dict(sorted(rates.items()))}
        return {"num_rows": num_rows, "num_bytes": num_bytes, "seconds": seconds, "excluded": excluded, **counts}

    def _groups(
        self, shard: Shard, excluded: list[list[str]], report: Callable[[int], object]
    ) -> Iterator[tuple[list[int], list[StoredSound], list[str]]]:
        """Row groups: row numbers, sounds and file names of each."""
        rows, sounds, names, num_bytes = [], [], [], 0
        row_of = {name: row for row, name in enumerate(shard.clips["clip_id"].to_pylist())}
        for clip, source in self._recordings(shard):
            if self.stopped.is_set():
                raise InputError("The upload was interrupted; run the same command again to resume")
            try:
                if isinstance(source, AudioError):
                    raise source
                suffix = PurePosixPath(clip.clip_id.partition("#")[0]).suffix
                sound = stored_sound(source, clip.start_s, clip.end_s, self.audio_format, suffix)
            except AudioError as error:
                if self.strict:
                    raise InputError(
                        f"{_place(clip)} is {error.reason}; fix or remove it, or leave out --strict"
                    ) from error
                excluded.append([clip.clip_id, error.reason])
            else:
                rows.append(row_of[clip.clip_id])
                sounds.append(sound)
                names.append(clip.clip_id)
                num_bytes += len(sound.content)
            report(1)
            if num_bytes >= ROW_GROUP_BYTES:
                yield rows, sounds, names
                rows, sounds, names, num_bytes = [], [], [], 0
        if rows:  # no group without rows, because `datasets` fails on empty row groups
            yield rows, sounds, names

    def _recordings(self, shard: Shard) -> Iterator[tuple[Clip, Source | AudioError]]:
        for clips, source in recordings_in_turn(shard.clips, self.token, self.folder / BUILD):
            for clip in clips:
                yield clip, source

    def _note_path(self, shard: Shard) -> Path:
        return self.folder / BUILD / f"{shard.name}.json"


def built_in_turn(
    builder: RecordingShards, shards: Sequence[Shard], num_threads: int, report: Callable[[int], object]
) -> Iterator[Shard]:
    """Builds shards in parallel and yields them in order, at most one per thread ahead of the consumer.

    Threads are enough: reading, encoding and decoding happen in libsndfile, which releases the GIL.
    """
    threads, running = ThreadPoolExecutor(num_threads), deque()
    try:
        for shard in shards:
            running.append(threads.submit(builder.build, shard, report))
            if len(running) > num_threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        if running:
            builder.stopped.set()
        threads.shutdown(wait=True, cancel_futures=True)


def _place(clip: Clip) -> str:
    return clip.path if clip.audio_row is None else f"{clip.clip_id} in {PurePosixPath(clip.path).name}"


def _writer(file: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """Audio is already compressed; strings repeat, so they are dictionary-encoded."""
    texts = [column.name for column in schema if pa.types.is_string(column.type)]
    return pq.ParquetWriter(file, schema, compression="none", use_dictionary=texts, write_page_index=True)


def _named(sounds: Sequence[StoredSound], clip_ids: Sequence[str]) -> list[tuple[bytes, str]]:
    """Each file with a name: the last part of its clip's name, with the extension of its format."""
    return [
        (sound.content, _stem(clip_id)[:LONGEST_NAME] + sound.ending)
        for sound, clip_id in zip(sounds, clip_ids, strict=True)
    ]


def _stem(clip_id: str) -> str:
    """a/b.wav#0.5-2 → b_0.5-2"""
    path, _, stretch = clip_id.partition("#")
    return PurePosixPath(path.replace("\\", "/")).stem + (f"_{stretch}" if stretch else "")


def _size_and_sha256(path: Path) -> tuple[int, str]:
    found, size = hashlib.sha256(), 0
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            found.update(block)
            size += len(block)
    return size, found.hexdigest()
