"""What the headers of the recordings of an index say: how long its clips are, and their sample rates."""

from __future__ import annotations

from functools import lru_cache
from multiprocessing.pool import ThreadPool

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.columns import is_mixture, mixed_parts, names_in, places_of, without_mixtures
from hf_audio.data.index.mixtures import mixture_s
from hf_audio.data.index.table import SPLITS
from hf_audio.data.recordings.audio import AudioError, AudioInfo, probe
from hf_audio.data.recordings.stamps import Stamp, stamp
from hf_audio.errors import InputError
from hf_audio.terminal import progress

Headers = dict[str, AudioInfo | AudioError]  # by path
MOST_REMEMBERED = 1024  # headers: of what is looked at before a build, and then by it


def recordings_of(clips: pa.Table) -> list[str]:
    """The files that clips and the parts of mixtures are stretches of, each once."""
    return _stretches(clips)["audio"].unique().to_pylist()


def read_headers(clips: pa.Table, num_threads: int) -> Headers:
    """What the headers of all files of the clips say, or why they cannot be read."""
    paths = recordings_of(clips)
    with ThreadPool(num_threads) as threads:  # libsndfile works outside Python's lock
        headers = threads.imap(header_of, paths, chunksize=64)  # not one task a file: there may be millions
        shown = progress(headers, total=len(paths), desc="lengths", unit=" files", delay=2)
        return dict(zip(paths, shown, strict=True))


def header_of(path: str) -> AudioInfo | AudioError:
    """What the header of a file says, or why it cannot be read; of the files asked for last, it is remembered."""
    return _header_when(path, stamp(path))


@lru_cache(maxsize=MOST_REMEMBERED)
def _header_when(path: str, _when: Stamp | None) -> AudioInfo | AudioError:
    try:
        return probe(path)
    except AudioError as error:
        return error


def source_rates(clips: pa.Table, headers: Headers) -> dict[str, dict[str, int]]:
    """{split: {sample rate of the recording in Hz, as text: clips}}, of those that are no mixture and can be read."""
    paths = recordings_of(clips)
    rates = (header.sample_rate if isinstance(header, AudioInfo) else 0 for header in map(headers.get, paths))
    of_paths = np.array([*rates, 0])  # of the last, -1, which are mixtures
    return counted_rates(clips, of_paths[np.where(is_mixture(clips), -1, places_of(clips["audio"], paths))])


def counted_rates(clips: pa.Table, sample_rates: np.ndarray) -> dict[str, dict[str, int]]:
    """{split: {sample rate in Hz, as text: clips}} of rates `[clips]`, where 0 is none."""
    rates = {}
    for split in names_in(clips["split"]):
        its = sample_rates[pc.equal(clips["split"], split).to_numpy()]
        found, counts = np.unique(its[its > 0], return_counts=True)
        rates[split] = {str(rate): count for rate, count in zip(found.tolist(), counts.tolist(), strict=True)}
    return {split: rates[split] for split in SPLITS if split in rates}


def clip_durations(clips: pa.Table, headers: Headers, strict: bool = False) -> np.ndarray:
    """Seconds of each clip, float `[clips]`, as the file headers say; 0 for files that cannot be read.

    Raises:
        InputError: with `strict`, for the first such file.
    """
    lengths_s = _lengths_s(_stretches(clips), headers, strict)
    mixed = is_mixture(clips)
    rows, seconds = np.flatnonzero(~mixed), np.zeros(len(clips))
    seconds[rows] = lengths_s[: len(rows)]
    if mixed.any():
        mixture_of_part, _ = mixed_parts(clips)
        firsts = np.flatnonzero(np.diff(mixture_of_part, prepend=-1))
        shortest_s = np.minimum.reduceat(lengths_s[len(rows) :], firsts)
        seconds[mixture_of_part[firsts]] = [mixture_s([one]) for one in shortest_s]
    return seconds


def stretch_lengths(stretches: pa.Table, file_s: np.ndarray) -> np.ndarray:
    """Seconds of stretches, float `[stretches]`, of files that are so long; never below 0."""
    end_s = pc.fill_null(stretches["end_s"], np.inf).to_numpy()
    return np.maximum(0.0, np.minimum(end_s, file_s) - stretches["start_s"].to_numpy())


def _stretches(clips: pa.Table) -> pa.Table:
    """The stretches of files that clips are made of, as columns audio, start_s and end_s; those of mixtures last."""
    stretches = without_mixtures(clips).select(["audio", "start_s", "end_s"])
    if not is_mixture(clips).any():
        return stretches
    _, parts = mixed_parts(clips)
    return pa.concat_tables([stretches, parts.rename_columns({"path": "audio"}).select(stretches.column_names)])


def _lengths_s(stretches: pa.Table, headers: Headers, strict: bool) -> np.ndarray:
    """Seconds of stretches of files."""
    paths = stretches["audio"].unique().to_pylist()
    for path in paths if strict else ():
        if isinstance(headers[path], AudioError):
            raise InputError(f"{path} is {headers[path].reason}; mend or remove it, or build without --strict")
    found = (headers[path] for path in paths)
    files_s = np.array([one.duration_s if isinstance(one, AudioInfo) else 0.0 for one in found])
    file_s = files_s[places_of(stretches["audio"], paths)]
    return stretch_lengths(stretches, file_s)
