"""Recordings that are in two of the corpora that are joined: the same file or row, or the same bytes in two files."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from multiprocessing.pool import ThreadPool
from typing import NamedTuple

import pyarrow as pa

from hf_audio.data.index.columns import is_file
from hf_audio.data.recordings.stamps import sampled_digest, stamp
from hf_audio.environment import usable_cores

MOST_FILES = 100_000  # whose sizes are asked for; of those that are as large as one of another corpus bytes are read
NOT_LOOKED_FOR = (
    "Copies in another format, level or cut were not looked for: scripts/report_leaks.py finds them in the features."
)


class Held(NamedTuple):
    """A recording that a corpus has: the corpus's number, the name of the first clip of it, and their splits."""

    part: int
    clip_id: str
    splits: frozenset[str | None]


def told_shared(names: Sequence[str], indexes: Sequence[pa.Table]) -> str:
    """What is said of recordings that are in two corpora, and of what was not looked for.

    Args:
        names: of the corpora.
        indexes: their clips, with splits.
    """
    held = [_held(number, clips) for number, clips in enumerate(indexes)]
    apart, alike = [], 0
    for group in (*_same_places(held), *_same_bytes(held)):
        splits = frozenset().union(*(one.splits for one in group))
        if len(splits) > 1:
            apart.append(" and ".join(f"{names[one.part]}/{one.clip_id}" for one in group))
        else:
            alike += 1
    said = []
    if apart:
        said.append(
            f"Look at this: {len(apart):,} recordings are in two corpora and in two splits (first {apart[0]}), and "
            "scores on them are too good."
        )
    if alike:
        said.append(f"{alike:,} recordings are in two corpora, and count twice.")
    if not all(is_file(clips).all() for clips in indexes):
        said.append("Recordings in datasets were compared by their places alone, not by their bytes.")
    elif sum(map(len, held)) > MOST_FILES:
        said.append(f"Of more than {MOST_FILES:,} recordings the places were compared alone, not the bytes.")
    return " ".join([*said, NOT_LOOKED_FOR])


def _held(number: int, clips: pa.Table) -> dict[tuple, Held]:
    """By place: the recordings of a corpus."""
    columns = (clips[name].to_pylist() for name in ("audio", "audio_row", "audio_field", "clip_id", "split"))
    names: dict[tuple, str] = {}
    splits: dict[tuple, set[str | None]] = defaultdict(set)
    for path, row, field, clip_id, split in zip(*columns, strict=True):
        place = (_real(path), row, field)
        names.setdefault(place, clip_id)
        splits[place].add(split)
    return {place: Held(number, name, frozenset(splits[place])) for place, name in names.items()}


def _real(path: str) -> str:
    if "://" in path:
        return path
    folder, name = os.path.split(path)
    found = os.path.join(_real_folder(folder), name)
    return os.path.realpath(found) if os.path.islink(found) else found


@cache
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _same_places(held: Sequence[dict[tuple, Held]]) -> Iterator[list[Held]]:
    by_place: dict[tuple, list[Held]] = defaultdict(list)
    for its in held:
        for place, one in its.items():
            by_place[place].append(one)
    return (group for group in by_place.values() if len(group) > 1)


def _same_bytes(held: Sequence[dict[tuple, Held]]) -> Iterator[list[Held]]:
    """Files of this machine that lie in different places, and are alike as far as a few of their bytes tell."""
    files = [
        (place[0], one) for its in held for place, one in its.items() if place[1] is None and "://" not in place[0]
    ]
    if len(files) > MOST_FILES:
        return
    by_size: dict[int, list[tuple[str, Held]]] = defaultdict(list)
    for path, one in files:
        if (facts := stamp(path)) is not None and facts.size_bytes:
            by_size[facts.size_bytes].append((path, one))
    alike = [pair for pairs in by_size.values() if len({one.part for _, one in pairs}) > 1 for pair in pairs]
    by_digest: dict[bytes, dict[str, Held]] = defaultdict(dict)
    with ThreadPool(usable_cores()) as threads:
        for (path, one), digest in zip(
            alike, threads.imap(sampled_digest, [path for path, _ in alike], 64), strict=True
        ):
            by_digest[digest].setdefault(path, one)
    for found in by_digest.values():
        if len(found) > 1 and len({one.part for one in found.values()}) > 1:
            yield list(found.values())
