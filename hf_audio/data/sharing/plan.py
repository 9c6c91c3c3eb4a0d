"""What a dataset of recordings consists of, decided before it is built: its shards, and what decides their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.building.plan import Shard, places_in_order
from hf_audio.data.feature_format import shard_names
from hf_audio.data.index.columns import digest, has_mixtures, names_in
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import SPLITS
from hf_audio.data.recordings.audio import AudioInfo
from hf_audio.data.recordings.lengths import read_headers, recordings_of
from hf_audio.data.recordings.stamps import stamp, times_digest
from hf_audio.data.sharing.columns import is_stretch
from hf_audio.data.sharing.stored_sound import AUDIO_FORMATS, expected_bytes
from hf_audio.errors import InputError

VERSION = 1  # of how rows and sounds are written
SHARD_BYTES = 256 << 20


def check_shareable(clips: pa.Table, labels: LabelSpace, audio_format: str) -> None:
    """Refuses an index of which no dataset of recordings can be made.

    Raises:
        InputError: no clips, one that is named twice, one without a file of its own, or stretches of files that are to
            stay as they are; an unknown format.
    """
    if audio_format not in AUDIO_FORMATS:
        raise InputError(f"--audio_format {audio_format} is unknown; expected {' or '.join(AUDIO_FORMATS)}")
    if not len(clips):
        raise InputError("There are no recordings to share; the index is empty")
    elsewhere = pc.or_(pc.is_valid(clips["audio_row"]), pc.starts_with(clips["audio"], "hf://"))
    if has_mixtures(clips) or pc.any(elsewhere).as_py():
        raise InputError(
            "These recordings lie in a dataset already, or are mixtures of others: give the files themselves, by "
            "--data_dir"
        )
    counts = pc.value_counts(clips["clip_id"])
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise InputError(f"Clip {twice[0]['values']} is in the index twice; clip_id must be unique")
    labels.places(clips["labels"])
    stretches = clips.filter(is_stretch(clips))
    if audio_format == "original" and len(stretches):
        raise InputError(
            f"{len(stretches):,} of {len(clips):,} clips are stretches of their files, first "
            f"{stretches['clip_id'][0]}, and files as they are hold the rest too: leave out "
            "--audio_format original to have them cut as FLAC"
        )


def describe(clips: pa.Table, labels: LabelSpace, audio_format: str) -> dict[str, Any]:
    """All that decides a dataset of recordings, short enough to compare."""
    facts = [name for name in clips.column_names if name not in ("audio", "audio_row", "audio_field")]
    columns = "".join(name + digest(clips[name]) for name in sorted(facts))
    return {
        "version": VERSION,
        "audio_format": audio_format,
        "classes": list(labels.names),
        "problem_type": labels.problem_type,
        "clips, labels and metadata": hashlib.sha256(columns.encode()).hexdigest(),
        "recordings (sizes and times of files)": times_digest(map(stamp, recordings_of(clips))),
    }


def plan_bounds(clips: pa.Table, audio_format: str, num_threads: int) -> dict[str, list[int]]:
    """By split, the rows among its own at which its shards begin, and the number of them all.

    Shards are about equally large, and about SHARD_BYTES at most, as far as headers tell.
    """
    headers = read_headers(clips, num_threads)
    bounds = {}
    for split in SPLITS:
        rows = places_in_order(clips, split)
        if len(rows):
            its = clips.take(pa.array(rows))
            cuts = is_stretch(its).to_pylist()
            stretches = zip(its["audio"].to_pylist(), its["start_s"].to_pylist(), its["end_s"].to_pylist(), strict=True)
            sizes = [
                _expected(headers[path], path, start_s, end_s, cut, audio_format)
                for (path, start_s, end_s), cut in zip(stretches, cuts, strict=True)
            ]
            bounds[split] = _bounds(np.array(sizes, dtype=np.float64))
    return bounds


def shards_of(clips: pa.Table, bounds: dict[str, list[int]]) -> Iterator[Shard]:
    """The shards in which the clips are stored, in order.

    Raises:
        InputError: bounds of other clips.
    """
    for split in names_in(clips["split"]):
        rows, its = places_in_order(clips, split), bounds.get(split, [0])
        if its[0] != 0 or its[-1] != len(rows) or its != sorted(set(its)):
            raise InputError("The plan of this upload is damaged: remove its folder, and run the same command again")
        for (first, end), name in zip(pairwise(its), shard_names(split, len(its) - 1), strict=True):
            yield Shard(name, split, clips.take(pa.array(rows[first:end])))


def _expected(
    info: AudioInfo | Exception, path: str, start_s: float, end_s: float | None, is_cut: bool, audio_format: str
) -> float:
    if not isinstance(info, AudioInfo):
        return 0.0
    seconds = max(0.0, min(info.duration_s, end_s or info.duration_s) - start_s)
    return expected_bytes(path, info, seconds, is_cut, audio_format)


def _bounds(sizes: np.ndarray) -> list[int]:
    ends = np.cumsum(sizes)
    num_shards = max(1, int(np.ceil(ends[-1] / SHARD_BYTES)))
    inner = np.searchsorted(ends, ends[-1] * np.arange(1, num_shards) / num_shards) + 1
    return np.unique([0, *np.minimum(inner, len(sizes)), len(sizes)]).tolist()
