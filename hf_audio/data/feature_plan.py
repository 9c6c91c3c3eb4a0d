"""What a feature build consists of, decided before it starts: the shards, in an order that any rank finds again."""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from hf_audio.data.audio import AudioError, probe
from hf_audio.data.index import SPLITS, Clip, MixPart
from hf_audio.data.labels import MULTI_LABEL, LabelSpace
from hf_audio.data.mixtures import described_parts, mixture_s
from hf_audio.data.recording_stamps import contents_digest, times_digest
from hf_audio.data.splits import check_disjoint
from hf_audio.data.windows import window_starts
from hf_audio.errors import InputError
from hf_audio.files import read_json
from hf_audio.terminal import progress

FORMAT_VERSION = 1
# Shards are dealt to ranks and reading processes: 8 divides evenly among 1, 2, 4 and 8 of them. About 1,024 windows of
# 3 s are 25 MB: few requests for a reader, little work lost with an interrupted shard.
SHARDS_MULTIPLE = 8
WINDOWS_A_SHARD = 1024
FEWEST_WINDOWS_TO_SPLIT = 512
# Of long windows fewer make a shard: of the songs of a corpus, as sound, 1,024 would be 10 GB.
SHARD_BYTES = 128 << 20
# Of a plan: where times differ, recordings may have been copied or replaced, and their contents tell which.
FILE_TIMES, FILE_CONTENTS = "file times", "file contents"


@dataclass(frozen=True)
class Shard:
    """One parquet file: its name without suffix, and the clips whose windows it holds, in order."""

    name: str
    split: str
    clips: tuple[Clip, ...]


def clips_in_order(clips: Iterable[Clip], split: str) -> list[Clip]:
    """Clips of a split as they are stored.

    Training clips are mixed by a hash of their names, because readers that stream can only shuffle within a buffer and
    an index is usually sorted by class. Validation and test keep the order of the index.
    """
    chosen = [clip for clip in clips if clip.split == split]
    if split == "train":
        chosen.sort(key=lambda clip: hashlib.sha256(clip.clip_id.encode()).digest())
    return chosen


def check_clips(clips: Sequence[Clip], labels: LabelSpace) -> None:
    """Refuse an index that cannot become a feature dataset.

    Raises:
        InputError: no clips; a clip without a split, or named twice; a group in two splits; a class with no
            training clip; an unknown label; partial labels that contradict themselves or the task.
    """
    if not clips:
        raise InputError("There are no clips to build features from; the index is empty")
    seen: set[str] = set()
    trained: set[str] = set()
    for clip in clips:
        labels.indices(clip.labels)
        _check_unknown(clip, labels)
        if clip.split not in SPLITS:
            raise InputError(f"Clip {clip.clip_id} has split {clip.split!r}; expected one of {', '.join(SPLITS)}")
        if clip.clip_id in seen:
            raise InputError(f"Clip {clip.clip_id} is in the index twice; clip_id must be unique")
        seen.add(clip.clip_id)
        if clip.split == "train":
            trained.update(clip.labels)
    check_disjoint((clip.group, clip.split) for clip in clips)
    untrained = [name for name in labels.names if name not in trained]
    if untrained:
        raise InputError(f"Class {untrained[0]} has no training clip; add some, or leave the class out of the labels")


def describe_build(
    clips: Sequence[Clip], labels: LabelSpace, extractor_parameters: dict[str, Any], window_s: float, hop_s: float
) -> dict[str, Any]:
    """Everything that decides the features, short enough to compare: two builds with equal descriptions are equal."""

    def digest(facts: Callable[[Clip], object]) -> str:
        found = hashlib.sha256()
        for clip in clips:
            found.update(json.dumps(facts(clip), sort_keys=True, ensure_ascii=False).encode() + b"\n")
        return found.hexdigest()

    is_partial = any(clip.unknown for clip in clips)
    return {
        "format_version": FORMAT_VERSION,
        "window_s": window_s,
        "hop_s": hop_s,
        "extractor": extractor_parameters,
        "problem_type": labels.problem_type,
        "label_names": list(labels.names),
        "clips": digest(lambda clip: [clip.clip_id, clip.start_s, clip.end_s]),
        "clip labels": digest(lambda clip: sorted(clip.labels)),
        # None where there is none, as in the plans of builds from before labels could be partial
        "unknown labels": digest(lambda clip: sorted(clip.unknown)) if is_partial else None,
        "splits": digest(lambda clip: clip.split),
        "groups": digest(lambda clip: clip.group),
        "metadata": digest(lambda clip: clip.metadata),
        "file sizes": digest(lambda clip: None if clip.parts else _size_bytes(clip.path)),
        FILE_TIMES: times_digest(recordings_of(clips)),
        # whose parts are clips, of which all is said above
        "mixtures": digest(described_parts) if any(clip.parts for clip in clips) else None,
    }


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What two descriptions disagree on, in words; times alone make no difference."""
    words = []
    for key in wanted:
        if key == FILE_TIMES or found.get(key) == wanted[key]:
            continue
        both = f"{found.get(key)} there, {wanted[key]} now"
        words.append(f"{key} ({both})" if len(both) < 60 else key)
    return words


def recordings_of(clips: Iterable[Clip]) -> list[str]:
    """The files that clips and the parts of mixtures are stretches of, each once."""
    return list(dict.fromkeys(one.path for clip in clips for one in (clip.parts or (clip,))))


def were_replaced(found: dict[str, Any], described: dict[str, Any], clips: Sequence[Clip], num_threads: int) -> bool:
    """Whether recordings are others, of the same sizes, than those of the build that `found` describes.

    They are read, in a few places each, only where their times differ, as those of copies do.
    """
    if found.get(FILE_TIMES) == described[FILE_TIMES]:
        return False
    return found.get(FILE_CONTENTS) != contents_digest(recordings_of(clips), num_threads)


def clip_durations(clips: Sequence[Clip], num_threads: int, strict: bool = False) -> dict[str, float]:
    """Seconds of each clip, by clip_id, as the file headers say; 0 for files that cannot be read.

    Raises:
        InputError: with `strict`, for the first such file.
    """
    paths = recordings_of(clips)
    with ThreadPool(num_threads) as threads:  # libsndfile works outside Python's lock
        lengths = threads.imap(_duration_or_error, paths, chunksize=64)  # not one task a file: there may be millions
        shown = progress(lengths, total=len(paths), desc="lengths", unit=" files", delay=2)
        found = dict(zip(paths, shown, strict=True))

    def seconds(one: Clip | MixPart) -> float:
        file_s = found[one.path]
        if isinstance(file_s, AudioError):
            if strict:
                raise InputError(f"{one.path} is {file_s.reason}; mend or remove it, or build without --strict")
            file_s = 0.0
        end_s = file_s if one.end_s is None else min(one.end_s, file_s)
        return max(0.0, end_s - one.start_s)

    return {
        clip.clip_id: mixture_s([seconds(part) for part in clip.parts]) if clip.parts else seconds(clip)
        for clip in clips
    }


def check_window(window_s: float, durations_s: dict[str, float]) -> None:
    """Refuse a window that no clip fills.

    Raises:
        InputError: names the longest clip.
    """
    longest_s = max(durations_s.values())
    if 0 < longest_s < window_s - 0.02:  # files that end a few samples early are as long as the window
        raise InputError(
            f"The window of {window_s:g} s is longer than every clip: the longest is {longest_s:.2f} s; "
            f"try --window_s {int(longest_s * 10) / 10 or longest_s:.2g}"
        )


def plan_shards(
    clips: Sequence[Clip], durations_s: dict[str, float], window_s: float, hop_s: float, window_bytes: int
) -> dict[str, list[int]]:
    """Where to cut each split's clips into shards of nearly equal numbers of windows: {split: [0, ..., clips]}.

    Args:
        window_bytes: what a stored window takes at most, about.
    """
    windows_a_shard = windows_in_a_shard(window_bytes)
    window_ms, hop_ms = max(1, round(1000 * window_s)), max(1, round(1000 * hop_s))
    bounds = {}
    for split in SPLITS:
        clips_ms = [max(1, round(1000 * durations_s[clip.clip_id])) for clip in clips_in_order(clips, split)]
        if not clips_ms:
            continue
        totals = list(accumulate(len(window_starts(clip_ms, window_ms, hop_ms)) for clip_ms in clips_ms))
        num_shards = 1
        if totals[-1] >= min(FEWEST_WINDOWS_TO_SPLIT, windows_a_shard) and len(clips_ms) >= SHARDS_MULTIPLE:
            num_shards = SHARDS_MULTIPLE * -(-totals[-1] // (SHARDS_MULTIPLE * windows_a_shard))
            num_shards = min(num_shards, len(clips_ms) // SHARDS_MULTIPLE * SHARDS_MULTIPLE)
        cuts = [1 + bisect_left(totals, totals[-1] * cut / num_shards) for cut in range(1, num_shards)]
        bounds[split] = [0, *_increasing(cuts, len(clips_ms)), len(clips_ms)]
    return bounds


def windows_in_a_shard(window_bytes: int) -> int:
    """How many windows of that size are about as many as a shard has."""
    return max(1, min(WINDOWS_A_SHARD, SHARD_BYTES // window_bytes))


def read_plan(path: Path, clips: Sequence[Clip]) -> dict[str, Any]:
    """plan.json of a build, which somebody else may have begun: `shard_bounds` and `audio_s` are those of these clips.

    Raises:
        InputError: no plan, or one that does not fit.
    """
    plan = read_json(path)
    counts, bounds, audio_s = Counter(clip.split for clip in clips), plan.get("shard_bounds"), plan.get("audio_s")
    fits = isinstance(bounds, dict) and bounds.keys() == counts.keys() and type(audio_s) in (int, float)
    if not fits or not all(_are_cuts(cuts, counts[split]) for split, cuts in bounds.items()):
        raise InputError(
            f"{path} is no plan of a build of these clips: remove its folder, or choose another, and build anew"
        )
    return plan


def _are_cuts(cuts: Any, num_clips: int) -> bool:
    """Whether a list goes up from 0 to the number of clips."""
    return (
        isinstance(cuts, list)
        and all(type(cut) is int for cut in cuts)
        and cuts[:1] == [0]
        and cuts[-1:] == [num_clips]
        and all(first < last for first, last in pairwise(cuts))
    )


def shards_of(clips: Sequence[Clip], bounds: dict[str, list[int]]) -> Iterator[Shard]:
    """The shards that `plan_shards` cut."""
    for split, cuts in bounds.items():
        ordered = clips_in_order(clips, split)
        for name, (first, last) in zip(shard_names(split, len(cuts) - 1), pairwise(cuts), strict=True):
            yield Shard(name, split, tuple(ordered[first:last]))


def shard_names(split: str, num_shards: int) -> list[str]:
    """Names of a split's files without suffix, as `datasets` finds splits by: train-00000-of-00008 ..."""
    return [f"{split}-{number:05d}-of-{num_shards:05d}" for number in range(num_shards)]


def _check_unknown(clip: Clip, labels: LabelSpace) -> None:
    labels.indices(clip.unknown)
    if clip.unknown and not labels.is_multi_label:
        raise InputError(
            f"Clip {clip.clip_id} has unknown classes, but each clip has exactly one class here; only independent "
            f"classes ({MULTI_LABEL}) can be unknown: give its class, or leave the clip out"
        )
    for name in clip.unknown:
        if name in clip.labels:
            raise InputError(f"Clip {clip.clip_id} has class {name} and it is unknown whether it has it; take one back")
        if ";" in name:
            raise InputError(f"Class {name!r} cannot be unknown: index.csv separates names by semicolons; rename it")


def _duration_or_error(path: str) -> float | AudioError:
    try:
        return probe(path).duration_s
    except AudioError as error:
        return error


def _size_bytes(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _increasing(cuts: list[int], end: int) -> list[int]:
    """Cuts moved so that no shard is without clips: one very long recording may span several ideal cuts."""
    moved: list[int] = []
    for position, cut in enumerate(cuts):
        lowest = moved[-1] + 1 if moved else 1
        highest = end - (len(cuts) - position)
        moved.append(min(max(cut, lowest), highest))
    return moved
