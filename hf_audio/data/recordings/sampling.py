"""Reads the headers of some recordings of an index: files spread over it, or the first rows of containers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow as pa

from hf_audio.data.index.columns import is_file, spread_over
from hf_audio.data.index.table import Clip, Recording, rows_of
from hf_audio.data.recordings.audio import AudioInfo, probe
from hf_audio.data.recordings.containers import sounds
from hf_audio.data.recordings.hub_files import ON_HUB, MissingFileError, open_container
from hf_audio.data.recordings.lengths import header_of
from hf_audio.data.recordings.reasons import AudioError

# Containers that are looked into, and consecutive recordings in each: any other recording costs a whole row group
MAX_CONTAINERS, MAX_IN_ONE = 2, 100
MAX_ON_HUB = 32  # files that are one recording each
HEAD_BYTES = 1 << 18  # read from a file on the Hub at a time


class Sampled(NamedTuple):
    """A clip, and the header of its recording."""

    clip: Clip
    info: AudioInfo


class Look(NamedTuple):
    """Some clips whose recordings can be read, and whether all clips were looked at."""

    found: list[Sampled]
    is_all: bool


def sampled(clips: pa.Table, max_clips: int, token: str | bool | None = None) -> Look:
    """Headers of about `max_clips` clips, fewer if their recordings are not files on this machine.

    Headers are remembered: reading the same recordings again costs nothing.
    """
    here = is_file(clips)
    if here.all():
        some = spread_over(clips, max_clips)
        headers = ((clip, header_of(clip.path)) for clip in rows_of(some))
        found = [Sampled(clip, info) for clip, info in headers if isinstance(info, AudioInfo)]
        return Look(found, len(some) == len(clips))
    some = list(rows_of(_where_containers_begin(clips.filter(pa.array(~here)))))
    read: dict[Recording, AudioInfo | None] = {}
    for path, name in dict.fromkeys((clip.path, clip.audio_field) for clip in some):
        rows = [one.audio_row for one in some if (one.path, one.audio_field) == (path, name)]
        read |= _headers(path, name, tuple(sorted(set(rows) - {None})), token)
    found = [Sampled(clip, info) for clip in some if (info := read.get(clip.recording)) is not None]
    return Look(found, len(some) == len(clips))


def where_containers_begin(clips: pa.Table, token: str | bool | None = None) -> Iterator[tuple[Clip, BinaryIO]]:
    """Some clips whose recordings are not files on this machine, each with its recording, skipping rows without sound.

    Each recording comes with one of its clips, and can be read until the next one comes.
    """
    if not len(clips):
        return
    some = list(rows_of(_where_containers_begin(clips)))
    for path, name in dict.fromkeys((clip.path, clip.audio_field) for clip in some):
        of_row = {one.audio_row: one for one in some if (one.path, one.audio_field) == (path, name)}
        file: Any
        if of_row.keys() == {None}:
            with contextlib.suppress(MissingFileError), open_container(path, token) as file:
                yield of_row[None], cast(BinaryIO, io.BufferedReader(file, HEAD_BYTES))
            continue
        for row, sound in sounds(path, name or "", sorted(of_row), partial(open_container, token=token)):
            if not isinstance(sound, AudioError):
                yield of_row[row], sound


def _where_containers_begin(clips: pa.Table) -> pa.Table:
    """The first clips of a few containers or files on the Hub: the first ones, and those in the middle of the index."""
    codes = clips["audio"].combine_chunks().dictionary_encode().indices.to_numpy()
    of_file = clips["audio_row"].combine_chunks().is_null().to_numpy(zero_copy_only=False)
    most = MAX_ON_HUB if of_file[0] else MAX_CONTAINERS
    number = int(codes.max()) + 1
    chosen = {*range(min(number, most // 2)), *range(number // 2, min(number, number // 2 + most // 2))}
    rows = clips["audio_row"].fill_null(0).to_numpy()
    places = [_first(np.flatnonzero(codes == code), rows) for code in sorted(chosen)]
    return clips.take(pa.array(np.concatenate(places)))


def _first(places: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return places[np.argsort(rows[places], kind="stable")][:MAX_IN_ONE]


@lru_cache(maxsize=64)
def _headers(
    path: str, name: str | None, rows: tuple[int, ...], token: str | bool | None
) -> dict[Recording, AudioInfo | None]:
    """The headers of some recordings of a file; None for those that cannot be read."""
    if not rows:
        try:
            file: Any = open_container(path, token)
        except MissingFileError:
            return {}
        with io.BufferedReader(file, HEAD_BYTES) if path.startswith(ON_HUB) else file as content:
            return {Recording(path): _header(content)}
    found = sounds(path, name or "", rows, partial(open_container, token=token))
    return {Recording(path, row, name): _header(sound) for row, sound in found}


def _header(source: BinaryIO | AudioError) -> AudioInfo | None:
    try:
        return None if isinstance(source, AudioError) else probe(source)
    except AudioError:
        return None
