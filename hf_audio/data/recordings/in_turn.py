"""Recordings one after the other: files or rows of containers, on this disk or on the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.table import Clip, rows_of
from hf_audio.data.recordings.containers import MAX_RECORDING_BYTES, NO_SOUND, parts_of, sounds
from hf_audio.data.recordings.headers import Source
from hf_audio.data.recordings.hub_files import (
    ON_HUB,
    MissingFileError,
    held,
    open_container,
    sizes_on_hub,
)
from hf_audio.data.recordings.reasons import AudioError

FILES_AT_A_TIME = 16  # whose sizes or row groups are requested


def reading_order(clips: pa.Table) -> np.ndarray:
    """Rows of the index in the order of their recordings in the containers, containers in order of first appearance."""
    files, fields = (clips[name].combine_chunks().dictionary_encode() for name in ("audio", "audio_field"))
    rows = pc.fill_null(clips["audio_row"], -1).to_numpy()
    keys = [pc.fill_null(codes.indices, -1).to_numpy() for codes in (fields, files)]
    return np.lexsort((np.arange(len(clips)), rows, *keys))


def run_cuts(clips: pa.Table, run_bytes: int, token: str | bool | None = None) -> tuple[list[int], int]:
    """Where to cut clips in reading order into runs, [0, ..., clips], and the total bytes of their recordings.

    A run can be read without the runs before it. It has at most about `run_bytes` of sound, if containers can be cut
    that finely.

    Raises:
        InputError: a container cannot be read.
    """
    units = _all_units(clips, token)
    cuts, waiting = [0], 0
    for begin, num_bytes in units:
        if waiting and waiting + num_bytes > run_bytes and begin > cuts[-1]:
            cuts.append(begin)
            waiting = 0
        waiting += num_bytes
    return [*cuts, len(clips)], sum(num_bytes for _, num_bytes in units)


def about_bytes(clips: pa.Table, token: str | bool | None = None) -> np.ndarray:
    """Approximate stored bytes of each clip's recording, float `[clips]`: its share of a file, row group or tar.

    Raises:
        InputError: a container cannot be read.
    """
    units = _all_units(clips, token)
    firsts = [begin for begin, _ in units]
    lengths = np.diff([*firsts, len(clips)])
    found = np.empty(len(clips))
    found[reading_order(clips)] = np.repeat([num_bytes for _, num_bytes in units] / lengths, lengths)
    return found


def _all_units(clips: pa.Table, token: str | bool | None) -> list[tuple[int, int]]:
    """The units that can be read on their own: (first clip in reading order, bytes) of each."""
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
        return [unit for its in whole for unit in its]


def _units(
    run: tuple[str, str | None, int, int], rows: np.ndarray | None, token: str | bool | None, sizes: dict[str, int]
) -> list[tuple[int, int]]:
    """The units of a run that can be read on their own: (first clip, bytes) of each."""
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


def recordings_in_turn(
    clips: pa.Table, token: str | bool | None = None, scratch: Path | None = None
) -> Iterator[tuple[list[Clip], Source | AudioError]]:
    """Each recording, or why there is none, with the clips that are stretches of it.

    A file on this disk comes as its path, any other recording as an open file that later ones do not affect.

    Args:
        clips: the clips, in their `reading_order`.
        token: for repositories that are not public.
        scratch: a folder for recordings that are too long to be held in memory.

    Raises:
        InputError: a container is damaged or cannot be reached.
    """
    for (path, name), run in groupby(rows_of(clips), key=lambda clip: (clip.path, clip.audio_field)):
        its = [list(of_one) for _, of_one in groupby(run, key=lambda clip: clip.audio_row)]
        if its[0][0].audio_row is None:
            yield its[0], _file(path, token, scratch)
        else:
            yield from _contained(path, name or "", {one[0].audio_row: one for one in its}, token, scratch)


def _contained(
    path: str, name: str, clips_of: dict[int, list[Clip]], token: str | bool | None, scratch: Path | None
) -> Iterator[tuple[list[Clip], BinaryIO | AudioError]]:
    rows, come = sorted(clips_of), set()
    for row, sound in sounds(path, name, rows, partial(open_container, token=token), scratch):
        come.add(row)
        yield clips_of[row], sound
    for row in rows:
        if row not in come:
            yield clips_of[row], AudioError(NO_SOUND)


def _file(path: str, token: str | bool | None, scratch: Path | None) -> Source | AudioError:
    """A recording that is a file of its own, on this disk or on the Hub."""
    if not path.startswith(ON_HUB):
        return path
    try:
        file: Any
        with open_container(path, token) as file:
            if file.size > MAX_RECORDING_BYTES:
                return AudioError(f"too large: {file.size:,} bytes, expected at most {MAX_RECORDING_BYTES:,}")
            return held(file, file.size, scratch)
    except MissingFileError:
        return AudioError("missing")
