"""What a feature build consists of, decided before it starts: the shards, in an order that any rank finds again."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.feature_format import FORMAT_VERSION, are_rates, shard_names
from hf_audio.data.index.columns import (
    digest,
    has_mixtures,
    mixed_parts,
    places_of,
    without_mixtures,
)
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import SPLITS, metadata_columns
from hf_audio.data.recordings.hub_files import ON_HUB, root_of
from hf_audio.data.recordings.lengths import recordings_of
from hf_audio.data.recordings.stamps import Stamp, contents_digest, stamp, times_digest
from hf_audio.errors import InputError
from hf_audio.files import read_json
from hf_audio.windows import window_starts

# Shards are dealt to ranks and reading processes: 8 divides evenly among 1, 2, 4 and 8 of them. About 1,024 windows of
# 3 s are 25 MB: few requests for a reader, little work lost with an interrupted shard.
SHARDS_MULTIPLE = 8
WINDOWS_A_SHARD = 1024
FEWEST_WINDOWS_TO_SPLIT = 512
# Of long windows fewer make a shard: of the songs of a corpus, as sound, 1,024 would be 10 GB.
SHARD_BYTES = 128 << 20
# Of a plan: where times differ, recordings may have been copied or replaced, and their contents tell which.
FILE_TIMES, FILE_CONTENTS = "file times", "file contents"
SOURCE = "dataset"  # of the Hub, with its commit


@dataclass(frozen=True)
class Shard:
    """One parquet file: its name without suffix, and the clips whose windows it holds, in order.

    The clips are a table of their own and no view of the index, for what goes to a worker process goes as a whole.
    """

    name: str
    split: str
    clips: pa.Table


def places_in_order(clips: pa.Table, split: str) -> np.ndarray:
    """Rows of a split's clips in the order in which they are stored.

    Training clips are mixed by a hash of their names, because readers that stream can only shuffle within a buffer and
    an index is usually sorted by class. Validation and test keep the order of the index.
    """
    rows = np.flatnonzero(pc.equal(clips["split"], split).to_numpy())
    if split != "train":
        return rows
    names = clips["clip_id"].take(pa.array(rows)).to_pylist()
    hashes = [hashlib.sha256(name.encode()).digest() for name in names]
    return rows[sorted(range(len(rows)), key=hashes.__getitem__)]


def describe_build(
    clips: pa.Table, labels: LabelSpace, extractor_parameters: dict[str, Any], window_s: float, hop_s: float
) -> dict[str, Any]:
    """Everything that decides the features, short enough to compare: two builds with equal descriptions are equal."""

    def digest_of(*columns: str) -> str:
        return hashlib.sha256("".join(name + digest(clips[name]) for name in columns).encode()).hexdigest()

    def digest_of_names(column: str) -> str:  # of the same names in any order
        return digest(pa.array(np.concatenate(labels.places(clips[column]))))

    is_mixed, recordings = has_mixtures(clips), recordings_of(clips)
    stamps = {path: stamp(path) for path in _here(recordings)}
    return {
        "format_version": FORMAT_VERSION,
        "window_s": window_s,
        "hop_s": hop_s,
        "extractor": extractor_parameters,
        "problem_type": labels.problem_type,
        "label_names": list(labels.names),
        "clips": digest_of("clip_id", "start_s", "end_s"),
        "clip labels": digest_of_names("labels"),
        "unknown labels": digest_of_names("unknown"),
        "splits": digest_of("split"),
        "groups": digest_of("group"),
        "metadata": digest_of(*sorted(metadata_columns(clips))),
        "file sizes": digest(_sizes_bytes(without_mixtures(clips)["audio"], stamps)),
        FILE_TIMES: times_digest(stamps.values()),
        SOURCE: _source(recordings),
        "places in files": digest_of("audio_row", "audio_field")
        if clips["audio_row"].null_count < len(clips)
        else None,
        "mixtures": _digest_of_mixtures(clips) if is_mixed else None,
    }


def _digest_of_mixtures(clips: pa.Table) -> str:
    """Of what they are made of, and how, wherever it lies: their parts are clips, of which all else is said."""
    rows, parts = mixed_parts(clips)
    columns = [parts[name] for name in ("clip_id", "gain_db", "late", "skip")]
    found = [digest(pa.array(rows)), digest(clips["match"]), *map(digest, columns)]
    return hashlib.sha256("".join(found).encode()).hexdigest()


def were_replaced(found: dict[str, Any], described: dict[str, Any], clips: pa.Table, num_threads: int) -> bool:
    """Whether recordings are others, of the same sizes, than those of the build that `found` describes.

    They are read, in a few places each, only where their times differ, as those of copies do.
    """
    if found.get(FILE_TIMES) == described[FILE_TIMES]:
        return False
    return found.get(FILE_CONTENTS) != files_digest(clips, num_threads)


def files_digest(clips: pa.Table, num_threads: int) -> str:
    """Of some bytes of all files of the clips that are on this machine."""
    return contents_digest(_here(recordings_of(clips)), num_threads)


def _here(recordings: Sequence[str]) -> list[str]:
    return [path for path in recordings if not path.startswith(ON_HUB)]


def _source(recordings: Sequence[str]) -> str | None:
    """The repositories of the Hub that recordings are in, with their commits, and which files of these."""
    files = sorted(path for path in recordings if path.startswith(ON_HUB))
    if not files:
        return None
    names = hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]
    return f"{', '.join(sorted(set(map(root_of, files))))} ({len(files):,} files, {names})"


def check_window(window_s: float, durations_s: np.ndarray) -> None:
    """Refuse a window that no clip fills.

    Raises:
        InputError: names the longest clip.
    """
    longest_s = float(durations_s.max())
    if 0 < longest_s < window_s - 0.02:  # files that end a few samples early are as long as the window
        raise InputError(
            f"The window of {window_s:g} s is longer than every clip: the longest is {longest_s:.2f} s; "
            f"try --window_s {int(longest_s * 10) / 10 or longest_s:.2g}"
        )


def plan_shards(
    clips: pa.Table, durations_s: np.ndarray, window_s: float, hop_s: float, window_bytes: int
) -> dict[str, list[int]]:
    """Where to cut each split's clips into shards of nearly equal numbers of windows: {split: [0, ..., clips]}.

    Args:
        window_bytes: what a stored window takes at most, about.
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
        if totals[-1] >= min(FEWEST_WINDOWS_TO_SPLIT, windows_a_shard) and len(rows) >= SHARDS_MULTIPLE:
            num_shards = SHARDS_MULTIPLE * -(-totals[-1] // (SHARDS_MULTIPLE * windows_a_shard))
            num_shards = min(num_shards, len(rows) // SHARDS_MULTIPLE * SHARDS_MULTIPLE)
        cuts = [1 + bisect_left(totals, totals[-1] * cut / num_shards) for cut in range(1, num_shards)]
        bounds[split] = [0, *_increasing(cuts, len(rows)), len(rows)]
    return bounds


def windows_in_a_shard(window_bytes: int) -> int:
    """How many windows of that size are about as many as a shard has."""
    return max(1, min(WINDOWS_A_SHARD, SHARD_BYTES // window_bytes))


def read_plan(path: Path, clips: pa.Table) -> dict[str, Any]:
    """plan.json of a build, which somebody else may have begun: what it says beside the description fits these clips.

    Raises:
        InputError: no plan, or one that does not fit.
    """
    plan = read_json(path)
    counts = {one["values"].as_py(): one["counts"].as_py() for one in pc.value_counts(clips["split"])}
    bounds, audio_s = plan.get("shard_bounds"), plan.get("audio_s")
    fits = isinstance(bounds, dict) and bounds.keys() == counts.keys() and type(audio_s) in (int, float)
    rates = plan.get("source_rates")
    fits = fits and isinstance(rates, dict) and rates.keys() == counts.keys() and all(map(are_rates, rates.values()))
    if not fits or not all(are_cuts(cuts, counts[split]) for split, cuts in bounds.items()):
        raise InputError(
            f"{path} is no plan of a build of these clips: remove its folder, or choose another, and build anew"
        )
    return plan


def are_cuts(cuts: Any, num_clips: int) -> bool:
    """Whether a list goes up from 0 to the number of clips."""
    return (
        isinstance(cuts, list)
        and all(type(cut) is int for cut in cuts)
        and cuts[:1] == [0]
        and cuts[-1:] == [num_clips]
        and all(first < last for first, last in pairwise(cuts))
    )


def shards_of(clips: pa.Table, bounds: dict[str, list[int]]) -> Iterator[tuple[Shard, np.ndarray]]:
    """The shards that `plan_shards` cut, each with the rows of the index that it consists of."""
    for split, cuts in bounds.items():
        places = places_in_order(clips, split)
        ordered = clips.take(pa.array(places)).combine_chunks()
        for name, (first, last) in zip(shard_names(split, len(cuts) - 1), pairwise(cuts), strict=True):
            yield Shard(name, split, _apart(ordered.slice(first, last - first))), places[first:last]


def _apart(clips: pa.Table) -> pa.Table:
    """The same rows without the table that they are a view of, all of which would else be pickled with them."""
    return clips.take(pa.array(np.arange(len(clips))))


def _sizes_bytes(paths: pa.ChunkedArray, stamps: Mapping[str, Stamp | None]) -> pa.Array:
    names = paths.unique().to_pylist()
    sizes = [one.size_bytes if (one := stamps.get(path)) else None for path in names]
    return pa.array(sizes, pa.int64()).take(pa.array(places_of(paths, names)))


def _increasing(cuts: list[int], end: int) -> list[int]:
    """Cuts moved so that no shard is without clips: one very long recording may span several ideal cuts."""
    moved: list[int] = []
    for position, cut in enumerate(cuts):
        lowest = moved[-1] + 1 if moved else 1
        highest = end - (len(cuts) - position)
        moved.append(min(max(cut, lowest), highest))
    return moved
