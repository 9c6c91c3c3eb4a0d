"""Clip lengths and sample rates of an index, from the headers of its recordings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from multiprocessing.pool import ThreadPool
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.columns import is_mixture, mixed_parts, places_of
from hf_audio.data.index.mixtures import mixture_s
from hf_audio.data.index.table import SPLITS
from hf_audio.data.recordings.audio import AudioError, AudioInfo, probe
from hf_audio.data.recordings.stamps import Stamp, stamp
from hf_audio.errors import InputError
from hf_audio.terminal import progress

Headers = dict[str, AudioInfo | AudioError]  # by path
MAX_REMEMBERED = 1024  # headers that are read before a build, and again by the build


def recordings_of(clips: pa.Table) -> list[str]:
    """The files of all clips and of the parts of mixtures, without duplicates."""
    return _stretches(clips)[0]["audio"].unique().to_pylist()


def read_headers(clips: pa.Table, num_threads: int) -> Headers:
    """The headers of all files of the clips, or why they cannot be read."""
    return _headers_of(recordings_of(clips), num_threads)


def _headers_of(paths: Sequence[str], num_threads: int) -> Headers:
    with ThreadPool(num_threads) as threads:  # libsndfile releases the GIL
        headers = threads.imap(
            header_of, paths, chunksize=64
        )  # instead of one task per file: there may be millions of files
        shown = progress(headers, total=len(paths), desc="lengths", unit=" files", delay=2)
        return dict(zip(paths, shown, strict=True))


def header_of(path: str) -> AudioInfo | AudioError:
    """The header of a file, or why it cannot be read; headers of the most recent files are remembered."""
    return _header_when(path, stamp(path))


@lru_cache(maxsize=MAX_REMEMBERED)
def _header_when(path: str, _when: Stamp | None) -> AudioInfo | AudioError:
    try:
        return probe(path)
    except AudioError as error:
        return error


class Measured(NamedTuple):
    """Lengths and sample rates of clips.

    Attributes:
        seconds: length of each clip, float `[clips]`; 0 if its recording cannot be read.
        source_rates: {split: {sample rate of the recording in Hz, as text: clips}}, without mixtures and clips that
            cannot be read.
    """

    seconds: np.ndarray
    source_rates: dict[str, dict[str, int]]


def measured_by_headers(clips: pa.Table, num_threads: int, strict: bool = False) -> Measured:
    """Lengths and sample rates of clips and mixtures from the headers of their files.

    Raises:
        InputError: with `strict`, for the first file that cannot be read.
    """
    stretches, rows, num_own = _stretches(clips)
    paths = stretches["audio"].unique().to_pylist()
    headers = _headers_of(paths, num_threads)
    for path in paths if strict else ():
        if isinstance(header := headers[path], AudioError):
            raise InputError(f"{path} is {header.reason}; fix or remove it, or build without --strict")
    facts = [(one.duration_s, one.sample_rate) if isinstance(one, AudioInfo) else (0.0, 0) for one in headers.values()]
    files_s, files_hz = (np.array(column) for column in zip(*facts, strict=True))
    file = places_of(stretches["audio"], paths)
    lengths_s = stretch_lengths(stretches, files_s[file])
    seconds, sample_rates = np.full(len(clips), np.inf), np.zeros(len(clips), np.int64)
    np.minimum.at(seconds, rows, lengths_s)  # for a mixture its shortest part
    mixtures = np.unique(rows[num_own:])
    seconds[mixtures] = [mixture_s([shortest_s]) for shortest_s in seconds[mixtures]]
    sample_rates[rows[:num_own]] = files_hz[file[:num_own]]
    return Measured(seconds, _counted(clips, sample_rates))


def measured_by_recordings(clips: pa.Table, file_s: np.ndarray, sample_rates: np.ndarray) -> Measured:
    """The same from recordings that were already opened: their lengths in seconds and rates in Hz `[clips]`, or 0."""
    return Measured(stretch_lengths(clips, file_s), _counted(clips, sample_rates))


def stretch_lengths(stretches: pa.Table, file_s: np.ndarray) -> np.ndarray:
    """Seconds of each stretch, float `[stretches]`, of a file of `file_s` seconds; never below 0."""
    end_s = pc.fill_null(stretches["end_s"], np.inf).to_numpy()
    return np.maximum(0.0, np.minimum(end_s, file_s) - stretches["start_s"].to_numpy())


def _counted(clips: pa.Table, sample_rates: np.ndarray) -> dict[str, dict[str, int]]:
    rates = {}
    for split in SPLITS:
        here = pc.equal(clips["split"], split).to_numpy()
        found, counts = np.unique(sample_rates[here & (sample_rates > 0)], return_counts=True)
        if here.any():
            rates[split] = {str(rate): count for rate, count in zip(found.tolist(), counts.tolist(), strict=True)}
    return rates


def _stretches(clips: pa.Table) -> tuple[pa.Table, np.ndarray, int]:
    """The stretches of files that clips are made of: first those of ordinary clips, then those of mixtures.

    Returns:
        Columns audio, start_s and end_s; the row of each stretch's clip; and the number of ordinary clips.
    """
    mixed, columns = is_mixture(clips), ["audio", "start_s", "end_s"]
    own = np.flatnonzero(~mixed)
    if not mixed.any():
        return clips.select(columns), own, len(own)
    mixtures, parts = mixed_parts(clips)
    parts = parts.rename_columns({"path": "audio"}).select(columns)
    return (
        pa.concat_tables([clips.select(columns).take(pa.array(own)), parts]),
        np.concatenate([own, mixtures]),
        len(own),
    )
