"""How long the clips of an index are, as the headers of their files say."""

from __future__ import annotations

from multiprocessing.pool import ThreadPool

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.audio import AudioError, probe
from hf_audio.data.index_columns import is_mixture, mixed_parts, places_of
from hf_audio.data.mixtures import mixture_s
from hf_audio.errors import InputError
from hf_audio.terminal import progress


def clip_durations(clips: pa.Table, num_threads: int, strict: bool = False) -> np.ndarray:
    """Seconds of each clip, float `[clips]`, as the file headers say; 0 for files that cannot be read.

    Raises:
        InputError: with `strict`, for the first such file.
    """
    stretches, mixed = clips.select(["audio", "start_s", "end_s"]), is_mixture(clips)
    rows = np.flatnonzero(~mixed)
    stretches = stretches.take(pa.array(rows))
    if mixed.any():
        mixture_of_part, parts = mixed_parts(clips)
        parts = parts.rename_columns({"path": "audio"}).select(stretches.column_names)
        stretches = pa.concat_tables([stretches, parts])
    lengths_s = _lengths_s(stretches, num_threads, strict)
    seconds = np.zeros(len(clips))
    seconds[rows] = lengths_s[: len(rows)]
    if mixed.any():
        firsts = np.flatnonzero(np.diff(mixture_of_part, prepend=-1))
        shortest_s = np.minimum.reduceat(lengths_s[len(rows) :], firsts)
        seconds[mixture_of_part[firsts]] = [mixture_s([one]) for one in shortest_s]
    return seconds


def _lengths_s(stretches: pa.Table, num_threads: int, strict: bool) -> np.ndarray:
    """Seconds of stretches of files, given as columns audio, start_s and end_s."""
    paths = stretches["audio"].unique().to_pylist()
    with ThreadPool(num_threads) as threads:  # libsndfile works outside Python's lock
        lengths = threads.imap(_duration_or_error, paths, chunksize=64)  # not one task a file: there may be millions
        found = list(progress(lengths, total=len(paths), desc="lengths", unit=" files", delay=2))
    for path, length in zip(paths, found, strict=True):
        if strict and isinstance(length, AudioError):
            raise InputError(f"{path} is {length.reason}; mend or remove it, or build without --strict")
    files_s = np.array([0.0 if isinstance(length, AudioError) else length for length in found])
    file_s = files_s[places_of(stretches["audio"], paths)]
    end_s = pc.fill_null(stretches["end_s"], np.inf).to_numpy()
    return np.maximum(0.0, np.minimum(end_s, file_s) - stretches["start_s"].to_numpy())


def _duration_or_error(path: str) -> float | AudioError:
    try:
        return probe(path).duration_s
    except AudioError as error:
        return error
