"""The plan of a shared dataset of recordings: its shards, and a description of what determines their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.config.sharing import require_audio_format
from hf_audio.data.building.plan import Shard, places_in_order
from hf_audio.data.feature_format import shard_names
from hf_audio.data.index.columns import digest, has_mixtures, is_file, names_in
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import SPLITS
from hf_audio.data.recordings.audio import AudioInfo
from hf_audio.data.recordings.hub_files import ON_HUB
from hf_audio.data.recordings.in_turn import about_bytes, reading_order
from hf_audio.data.recordings.lengths import read_headers, recordings_of
from hf_audio.data.recordings.stamps import stamp, times_digest
from hf_audio.data.sharing.columns import is_stretch
from hf_audio.data.sharing.stored_sound import expected_bytes
from hf_audio.errors import InputError

VERSION = 1  # of the format of rows and sounds
SHARD_BYTES = 256 << 20


def check_shareable(clips: pa.Table, labels: LabelSpace, audio_format: str) -> None:
    """Refuses an index that cannot be shared as a dataset of recordings.

    Raises:
        InputError: no clips, a duplicate clip_id, mixtures, stretches of files to be copied, or an unknown format.
    """
    require_audio_format(audio_format)
    if not len(clips):
        raise InputError("There are no recordings to share: the index is empty")
    if has_mixtures(clips):
        raise InputError("Mixtures are made when features are built: share the recordings themselves")
    counts = pc.value_counts(clips["clip_id"])
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise InputError(f"Clip {twice[0]['values']} is in the index twice; each clip_id must be unique")
    labels.places(clips["labels"])
    stretches = clips.filter(is_stretch(clips))
    if audio_format == "original" and len(stretches):
        raise InputError(
            f"{len(stretches):,} of {len(clips):,} clips are stretches of their files, first "
            f"{stretches['clip_id'][0]}, but the original files contain the rest too: leave out --audio_format "
            "original to store the cuts as FLAC"
        )


def describe(clips: pa.Table, labels: LabelSpace, audio_format: str) -> dict[str, Any]:
    """Everything that determines a dataset of recordings, short enough to compare."""
    facts = [name for name in clips.column_names if name not in ("audio", "audio_row", "audio_field")]
    columns = "".join(name + digest(clips[name]) for name in sorted(facts))
    return {
        "version": VERSION,
        "audio_format": audio_format,
        "classes": list(labels.names),
        "problem_type": labels.problem_type,
        "clips, labels and metadata": hashlib.sha256(columns.encode()).hexdigest(),
        "recordings (sizes and times of files)": times_digest(map(stamp, recordings_of(clips))),
        **_places_in_datasets(clips),
    }


def _places_in_datasets(clips: pa.Table) -> dict[str, str]:
    """A digest of the commits, rows and columns of recordings that are not files on this machine; empty without any."""
    elsewhere = clips.filter(pa.array(~is_file(clips)))
    on_hub = elsewhere["audio"].filter(pc.starts_with(elsewhere["audio"], ON_HUB))
    places = "".join(map(digest, (on_hub, elsewhere["audio_row"], elsewhere["audio_field"])))
    return {"places in datasets": hashlib.sha256(places.encode()).hexdigest()} if len(elsewhere) else {}


def plan_bounds(
    clips: pa.Table, audio_format: str, num_threads: int, token: str | bool | None = None
) -> dict[str, list[int]]:
    """By split, the rows at which its shards begin, counted within the split, and its number of rows.

    Shards have about the same size, at most about SHARD_BYTES, according to headers and containers.

    Raises:
        InputError: a container is damaged or cannot be reached.
    """
    sizes = _expected_bytes(clips, audio_format, num_threads, token)
    of_split = {split: _stored_order(clips, split) for split in SPLITS}
    return {split: _bounds(sizes[rows]) for split, rows in of_split.items() if len(rows)}


def _stored_order(clips: pa.Table, split: str) -> np.ndarray:
    """Rows of a split's clips in the order in which they are stored.

    Recordings in containers keep the containers' order: reading in another order would cost a row group per recording.
    """
    if clips["audio_row"].null_count == len(clips):
        return places_in_order(clips, split)
    rows = np.flatnonzero(pc.equal(clips["split"], split).to_numpy())
    return rows[reading_order(clips.take(pa.array(rows)))]


def _expected_bytes(clips: pa.Table, audio_format: str, num_threads: int, token: str | bool | None) -> np.ndarray:
    """Approximate stored bytes of each clip, float `[clips]`."""
    here, sizes = is_file(clips), np.zeros(len(clips))
    if not here.all():
        others = np.flatnonzero(~here)
        sizes[others] = about_bytes(clips.take(pa.array(others)), token)
    its = clips.filter(pa.array(here))
    headers, cuts = read_headers(its, num_threads), is_stretch(its).to_pylist()
    stretches = zip(its["audio"].to_pylist(), its["start_s"].to_pylist(), its["end_s"].to_pylist(), strict=True)
    sizes[here] = [
        _expected(headers[path], path, start_s, end_s, cut, audio_format)
        for (path, start_s, end_s), cut in zip(stretches, cuts, strict=True)
    ]
    return sizes


def shards_of(clips: pa.Table, bounds: dict[str, list[int]]) -> Iterator[Shard]:
    """The shards in which the clips are stored, in order.

    Raises:
        InputError: the bounds do not fit the clips.
    """
    for split in names_in(clips["split"]):
        rows, its = _stored_order(clips, split), bounds.get(split, [0])
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
