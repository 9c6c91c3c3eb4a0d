"""The plan of a feature build, made before it starts: the shards, in an order that every rank can reproduce."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.building.description import FILE_CONTENTS, files_digest
from hf_audio.data.feature_format import are_rates, shard_names
from hf_audio.data.foreign.manifest import window_values
from hf_audio.data.index.table import SPLITS
from hf_audio.data.recordings.lengths import Measured
from hf_audio.errors import InputError
from hf_audio.files import read_json, write_atomically
from hf_audio.windows import window_starts

# Shards are divided among ranks and reading processes: 8 divides evenly among 1, 2, 4 and 8 of them. 1,024 windows of
# 3 s are about 25 MB: few requests for a reader, and little work lost with an interrupted shard.
SHARDS_MULTIPLE = 8
WINDOWS_A_SHARD = 1024
MIN_WINDOWS_TO_SPLIT = 512
# Long windows make smaller shards: 1,024 waveforms of whole songs would be 10 GB.
SHARD_BYTES = 128 << 20


class Plan(NamedTuple):
    """The plan that every rank follows.

    Attributes:
        audio_s: total seconds of all clips.
        source_rates: for each split, the number of clips per sample rate of their recordings.
        shard_bounds: where each split's clips are cut into shards.
    """

    audio_s: float
    source_rates: dict[str, dict[str, int]]
    shard_bounds: dict[str, list[int]]


@dataclass(frozen=True)
class Shard:
    """One Parquet file: its name without suffix, and the clips whose windows it holds, in order.

    The clips are a table of their own, not a view of the index, which would be pickled as a whole for a worker.
    """

    name: str
    split: str
    clips: pa.Table


def places_in_order(clips: pa.Table, split: str) -> np.ndarray:
    """Rows of a split's clips in the order in which they are stored.

    Training clips are shuffled by a hash of their names, because streaming readers only shuffle within a buffer and an
    index is usually sorted by class. Validation and test clips keep the order of the index.
    """
    rows = np.flatnonzero(pc.equal(clips["split"], split).to_numpy())
    if split != "train":
        return rows
    names = clips["clip_id"].take(pa.array(rows)).to_pylist()
    hashes = [hashlib.sha256(name.encode()).digest() for name in names]
    return rows[sorted(range(len(rows)), key=hashes.__getitem__)]


def is_too_long(window_s: float, durations_s: np.ndarray) -> bool:
    """Whether no clip fills a window; files that end a few samples early count as full."""
    return 0 < durations_s.max() < window_s - 0.02


def check_window(window_s: float, durations_s: np.ndarray) -> None:
    """Refuses a window that no clip fills.

    Raises:
        InputError: no clip fills a window; the message names the longest clip.
    """
    if is_too_long(window_s, durations_s):
        longest_s = float(durations_s.max())
        raise InputError(
            f"The window of {window_s:g} s is longer than every clip: the longest is {longest_s:.2f} s; "
            f"try --window_s {int(longest_s * 10) / 10 or longest_s:.2g}"
        )


def plan_shards(
    clips: pa.Table, durations_s: np.ndarray, window_s: float, hop_s: float, window_bytes: int
) -> dict[str, list[int]]:
    """Where to cut each split's clips into shards of nearly equal numbers of windows: {split: [0, ..., clips]}.

    Args:
        clips: the index.
        durations_s: duration of each clip, `[clips]`.
        window_s, hop_s: length of the windows and step between them, in seconds.
        window_bytes: approximate maximum size of a stored window.
    """
    windows_a_shard = windows_in_a_shard(window_bytes)
    window_ms, hop_ms = max(1, round(1000 * window_s)), max(1, round(1000 * hop_s))
    lengths_ms, length_of_clip = np.unique(np.maximum(1, np.rint(1000 * durations_s)).astype(int), return_inverse=True)
    num_windows = np.array([len(window_starts(length, window_ms, hop_ms)) for length in lengths_ms.tolist()])
    bounds = {}
    for split in SPLITS:
        rows = places_in_order(clips, split)
        if not len(rows):
            continue
        totals = np.cumsum(num_windows[length_of_clip[rows]]).tolist()
        num_shards = 1
        if totals[-1] >= min(MIN_WINDOWS_TO_SPLIT, windows_a_shard) and len(rows) >= SHARDS_MULTIPLE:
            num_shards = SHARDS_MULTIPLE * -(-totals[-1] // (SHARDS_MULTIPLE * windows_a_shard))
            num_shards = min(num_shards, len(rows) // SHARDS_MULTIPLE * SHARDS_MULTIPLE)
        cuts = [1 + bisect_left(totals, totals[-1] * cut / num_shards) for cut in range(1, num_shards)]
        bounds[split] = [0, *_increasing(cuts, len(rows)), len(rows)]
    return bounds


def windows_in_a_shard(window_bytes: int) -> int:
    """About how many windows of this size a shard has."""
    return max(1, min(WINDOWS_A_SHARD, SHARD_BYTES // window_bytes))


def begin_plan(path: Path, clips: pa.Table, described: dict[str, Any]) -> None:
    """Writes the description of a build before lengths are known, so that no other build is resumed from it."""
    _write(path, {**described, FILE_CONTENTS: files_digest(clips)})


def write_plan(path: Path, clips: pa.Table, described: dict[str, Any], measured: Measured) -> None:
    """Plans a build, for all ranks.

    Args:
        path: the path of plan.json in the folder of features.
        clips: the index.
        described: the result of `describe_build`.
        measured: lengths of the clips, and sample rates of their recordings.

    Raises:
        InputError: no clip fills a window.
    """
    window_s, hop_s = described["window_s"], described["hop_s"]
    check_window(window_s, measured.seconds)
    bounds = plan_shards(clips, measured.seconds, window_s, hop_s, window_values(described))
    plan = Plan(round(float(measured.seconds.sum()), 3), measured.source_rates, bounds)
    _write(path, {**described, **plan._asdict(), FILE_CONTENTS: files_digest(clips)})


def _write(path: Path, plan: dict[str, Any]) -> None:
    text = json.dumps(plan, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, text, scratch=path.parent / ".build")


def is_planned(path: Path) -> bool:
    """Whether the file exists and has the complete plan, not only the description."""
    return path.exists() and "shard_bounds" in read_json(path)


def read_plan(path: Path, clips: pa.Table) -> Plan:
    """The plan in plan.json, checked against these clips, because it may be untrusted.

    Raises:
        InputError: not a plan, or a plan that does not fit the clips.
    """
    told = read_json(path)
    counts = {one["values"].as_py(): one["counts"].as_py() for one in pc.value_counts(clips["split"])}
    plan = Plan(*(told.get(name) for name in Plan._fields))
    audio_s, rates, bounds = plan
    fits = isinstance(bounds, dict) and bounds.keys() == counts.keys() and type(audio_s) in (int, float)
    fits = fits and isinstance(rates, dict) and rates.keys() == counts.keys() and all(map(are_rates, rates.values()))
    if not fits or not all(are_cuts(cuts, counts[split]) for split, cuts in bounds.items()):
        raise InputError(f"{path} is not a plan for these clips: remove its folder, or choose another one, and rebuild")
    return plan


def are_cuts(cuts: Any, num_clips: int) -> bool:
    """Whether it is a list that rises from 0 to the number of clips."""
    return (
        isinstance(cuts, list)
        and all(type(cut) is int for cut in cuts)
        and cuts[:1] == [0]
        and cuts[-1:] == [num_clips]
        and all(first < last for first, last in pairwise(cuts))
    )


def shards_of(clips: pa.Table, bounds: dict[str, list[int]]) -> Iterator[tuple[Shard, np.ndarray]]:
    """The shards between the bounds of `plan_shards`, each with its rows of the index."""
    for split, cuts in bounds.items():
        places = places_in_order(clips, split)
        ordered = clips.take(pa.array(places)).combine_chunks()
        for name, (first, last) in zip(shard_names(split, len(cuts) - 1), pairwise(cuts), strict=True):
            yield Shard(name, split, _apart(ordered.slice(first, last - first))), places[first:last]


def _apart(clips: pa.Table) -> pa.Table:
    """A copy of the rows: as a view, they would be pickled with the whole table."""
    return clips.take(pa.array(np.arange(len(clips))))


def _increasing(cuts: list[int], end: int) -> list[int]:
    """Cuts, moved so that every shard has clips: one very long recording may span several ideal cuts."""
    moved: list[int] = []
    for position, cut in enumerate(cuts):
        lowest = moved[-1] + 1 if moved else 1
        highest = end - (len(cuts) - position)
        moved.append(min(max(cut, lowest), highest))
    return moved
