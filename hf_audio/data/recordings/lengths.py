"""What the headers of the recordings of an index say: how long its clips are, and their sample rates."""

from __future__ import annotations

from multiprocessing.pool import ThreadPool

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.columns import is_mixture, mixed_parts, of_split, places_of, without_mixtures
from hf_audio.data.index.mixtures import mixture_s
from hf_audio.data.index.table import SPLITS
from hf_audio.data.recordings.audio import AudioError, AudioInfo, probe
from hf_audio.errors import InputError
from hf_audio.terminal import progress

Headers = dict[str, AudioInfo | AudioError]  # by path


def recordings_of(clips: pa.Table) -> list[str]:
    """The files that clips and the parts of mixtures are stretches of, each once."""
    return _stretches(clips)["audio"].unique().to_pylist()


def read_headers(clips: pa.Table, num_threads: int) -> Headers:
    """What the headers of all files of the clips say, or why they cannot be read."""
    paths = recordings_of(clips)
    with ThreadPool(num_threads) as threads:  # libsndfile works outside Python's lock
        headers = threads.imap(_info_or_error, paths, chunksize=64)  # not one task a file: there may be millions
        shown = progress(headers, total=len(paths), desc="lengths", unit=" files", delay=2)
        return dict(zip(paths, shown, strict=True))


def source_rates(clips: pa.Table, headers: Headers) -> dict[str, dict[str, int]]:
    """{split: {sample rate of the recording in Hz, as text: clips}}, of those that are no mixture and can be read."""
    rates = {}
    for split in SPLITS:
        its = of_split(clips, split)
        if len(its):
            counts: dict[int, int] = {}
            for one in pc.value_counts(without_mixtures(its)["audio"]):
                header = headers[one["values"].as_py()]
                if isinstance(header, AudioInfo):
                    counts[header.sample_rate] = counts.get(header.sample_rate, 0) + one["counts"].as_py()
            rates[split] = {str(rate): counts[rate] for rate in sorted(counts)}
    return rates


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
    end_s = pc.fill_null(stretches["end_s"], np.inf).to_numpy()
    return np.maximum(0.0, np.minimum(end_s, file_s) - stretches["start_s"].to_numpy())


def _info_or_error(path: str) -> AudioInfo | AudioError:
    try:
        return probe(path)
    except AudioError as error:
        return error
