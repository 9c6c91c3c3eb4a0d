"""index.csv and excluded.csv of a feature dataset, which may be a stranger's: what they list, checked line by line."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hf_audio.data.index.columns import check_disjoint
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import INDEX_COLUMNS, SPLITS, groups_in
from hf_audio.data.tables import Row, written_rows
from hf_audio.errors import InputError

MOST_NAME = 4096
MOST_GROUP = 1 << 16  # a mixture's holds the groups of all its parts


@dataclass
class IndexedSplit:
    """The clips of a split, without those that were left out of the build.

    Attributes:
        num_clips, label_counts, unknown_counts: clips, and of each class those that have it, or may have it.
        groups: of them; those of mixtures are their parts'.
        keys: of each clip, see `clip_fact`; sorted uint64 `[clips]` once the index was read.
    """

    num_clips: int = 0
    label_counts: Counter[int] = field(default_factory=Counter)
    unknown_counts: Counter[int] = field(default_factory=Counter)
    groups: set[str] = field(default_factory=set)
    keys: Any = field(default_factory=list)


def clip_fact(clip_id: str, group: str, labels: Sequence[int], unknown: Sequence[int] = ()) -> int:
    """A 64-bit number that stands for a clip with its group and classes: what rows and index are compared by."""
    fact = "\0".join((clip_id, group, *map(str, labels), *(f"?{label}" for label in unknown)))
    return int.from_bytes(hashlib.blake2b(fact.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def read_index(index: Path, excluded: Path, labels: LabelSpace, source: str) -> dict[str, IndexedSplit]:
    """What an index lists of each split.

    Raises:
        InputError: no such tables; a clip twice; an unknown split or class; a group in two splits; times that are none.
    """
    left_out = {row["clip_id"] for row in written_rows(excluded, required=("clip_id", "reason"))}
    splits: dict[str, IndexedSplit] = {}
    try:
        pairs = [(one, split) for group, split in _groups(index, left_out, labels, splits) for one in groups_in(group)]
        check_disjoint(pa.table({"group": [one for one, _ in pairs], "split": [split for _, split in pairs]}))
    except _DamageError as damage:
        raise InputError(f"{damage}; download or build the dataset again") from None
    except InputError as error:
        raise InputError(f"{source} cannot be trained on. {error}") from error
    for split in splits.values():
        split.keys = np.sort(np.array(split.keys, dtype=np.uint64))
    return splits


def check_counts(
    manifest: Mapping[str, Any], splits: Mapping[str, IndexedSplit], labels: LabelSpace, path: Path
) -> None:
    """Refuse a manifest that counts other clips than the index lists.

    Raises:
        InputError: names the count.
    """
    for split, facts in manifest["splits"].items():
        found = splits.get(split, IndexedSplit())
        listed = {
            "num_clips": found.num_clips,
            "num_groups": len(found.groups),
            "label_counts": {name: found.label_counts[label] for label, name in labels.id2label.items()},
            "known_counts": {
                name: found.num_clips - found.unknown_counts[label] for label, name in labels.id2label.items()
            },
        }
        for name, count in listed.items():
            if name == "known_counts" and name not in facts and not found.unknown_counts:
                continue
            if facts.get(name) != count:
                shown = (
                    (facts.get(name), count) if isinstance(count, int) else _first_difference(facts.get(name), count)
                )
                raise InputError(
                    f"{path} is damaged: splits.{split}.{name} is {shown[0]}, and index.csv lists {shown[1]}; download "
                    "or build the dataset again"
                )
    more = [split for split, found in splits.items() if found.num_clips and split not in manifest["splits"]]
    if more:
        raise InputError(f"{path} is damaged: splits has no {more[0]}, and index.csv lists clips of it; build it again")


class _DamageError(InputError):
    """A line that no build writes."""


def _groups(
    index: Path, left_out: set[str], labels: LabelSpace, splits: dict[str, IndexedSplit]
) -> Iterator[tuple[str, str]]:
    """Group and split of each line, which is checked and added to its split on the way."""
    seen: set[str] = set()
    classes = lru_cache(maxsize=1 << 16)(lambda written: classes_in(written, labels))
    for line, row in enumerate(written_rows(index, required=INDEX_COLUMNS), start=2):
        clip_id, group, split = row["clip_id"], row["group"], row["split"]
        fault = _fault(row, seen)
        try:
            given, unknown = (classes(row[name]) for name in ("labels", "unknown"))
        except InputError as error:
            fault = fault or str(error)
        if fault is None:
            fault = _label_fault(given, unknown, labels)
        if fault is not None:
            raise _DamageError(f"{index} is damaged at line {line} (clip {clip_id[:100]!r}): {fault}")
        seen.add(clip_id)
        if clip_id not in left_out:
            _add(splits.setdefault(split, IndexedSplit()), clip_id, group, given, unknown)
        yield group, split


def _fault(row: Row, seen: set[str]) -> str | None:
    if not 0 < len(row["clip_id"]) <= MOST_NAME or len(row["group"]) > MOST_GROUP:
        return f"clip_id must have 1 to {MOST_NAME:,} characters, group at most {MOST_GROUP:,}"
    if row["clip_id"] in seen:
        return "the clip is listed twice"
    if row["split"] not in SPLITS:
        return f"split is {row['split'][:40]!r}, expected one of {', '.join(SPLITS)}"
    start_s, end_s = (_seconds(row[name]) for name in ("start_s", "end_s"))
    if start_s is None or (row["end_s"] and (end_s is None or end_s <= start_s)):
        return f"start_s {row['start_s'][:40]!r} and end_s {row['end_s'][:40]!r} are no stretch of seconds"
    return None


def _label_fault(given: tuple[int, ...], unknown: tuple[int, ...], labels: LabelSpace) -> str | None:
    if not labels.is_multi_label and (len(given) != 1 or unknown):
        return f"the clip has {len(given)} classes and {len(unknown)} unknown ones, where each has exactly one"
    if set(given) & set(unknown):
        return "a class is both given and unknown"
    return None


def _seconds(written: str) -> float | None:
    try:
        seconds = float(written)
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None


def classes_in(written: str, labels: LabelSpace) -> tuple[int, ...]:
    """Sorted indices of the classes that `names_in` finds.

    Raises:
        InputError: no such class, or one twice.
    """
    found = labels.indices(names_in(written, labels))
    if len(set(found)) != len(found):
        raise InputError(f"A class is named twice in {written[:100]!r}")
    return tuple(found)


def names_in(written: str, labels: LabelSpace) -> list[str]:
    """Names of classes with semicolons between them; where each clip has one class, its name may hold semicolons."""
    return [name for name in (written.split(";") if labels.is_multi_label else [written]) if name]


def _add(split: IndexedSplit, clip_id: str, group: str, given: tuple[int, ...], unknown: tuple[int, ...]) -> None:
    split.num_clips += 1
    split.label_counts.update(given)
    split.unknown_counts.update(unknown)
    split.groups.update(groups_in(group))
    split.keys.append(clip_fact(clip_id, group, given, unknown))


def _first_difference(found: Mapping[str, int] | None, wanted: Mapping[str, int]) -> tuple[str, str]:
    if found is None:
        return "missing", "unknown classes"
    name = next(name for name in wanted if found.get(name) != wanted[name])
    return f"{found.get(name)} of {name}", str(wanted[name])
