"""Finds class names that look like mistakes, and merges those that differ only in spelling."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from hf_audio.data.index.table import Clip
from hf_audio.data.index.understanding import some
from hf_audio.errors import InputError

_SEPARATORS = re.compile(r"\s*[,;|/+&]\s*|\s+and\s+|\s+|_|-")
_MARKS = re.compile(r"\s*[,;|/+&]\s*")
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}|&\w+;|\\[nt\"'u]")
_QUOTES = "\"'`\u201c\u201d\u2018\u2019"
_NO_CLASS = frozenset(("none", "na", "unknown", "unlabeled", "undefined", "?", "-"))


def merged(clips: Sequence[Clip]) -> tuple[list[Clip], str]:
    """The clips with the most frequent spelling of each class, and a description of what was merged.

    Raises:
        InputError: no names differ only in case, spaces or Unicode form.
    """
    counts = Counter(label for clip in clips for label in clip.labels)
    alike = alike_names(counts)
    if not alike:
        raise InputError(
            "--merge_classes would merge nothing, because no classes differ only in case, spaces or Unicode form; "
            "leave it out"
        )
    best = {name: max(names, key=lambda one: (counts[one], one)) for names in alike for name in names}
    told = "; ".join(f"{' and '.join(map(repr, names))} became {best[names[0]]!r}" for names in alike)
    of_one_name = [
        dataclasses.replace(clip, labels=tuple(dict.fromkeys(best.get(label, label) for label in clip.labels)))
        for clip in clips
    ]
    return of_one_name, f"classes were merged: {told}"


def odd_class_names(counts: dict[str, int]) -> list[str]:
    """Remarks on class names that look like mistakes, a sentence each."""
    remarks = [
        f"classes {' and '.join(f'{name!r} ({counts[name]:,} clips)' for name in names)} differ only in case, spaces "
        "or Unicode form: --merge_classes merges them"
        for names in alike_names(counts)
    ]
    joined = _joined(counts)
    if joined:
        remarks.append(
            f"class {some([repr(name) for name in joined])} looks like several classes in one: --label_separator sets "
            "the separator between labels"
        )
    escaped = [name for name in counts if _ESCAPED.search(name) or (len(name) > 1 and name[0] in _QUOTES)]
    if escaped:
        remarks.append(f"class {some([repr(name) for name in escaped])} has quotation marks or escapes in its name")
    nothing = [name for name in counts if name.casefold() in _NO_CLASS]
    if nothing:
        remarks.append(f"class {some([repr(name) for name in nothing])} may mean that there is no label")
    return remarks


def odd_group_names(clips: Iterable[Clip]) -> list[str]:
    """A remark on groups, if any, whose names differ only in spelling and may be the same speaker or song."""
    alike = alike_names({clip.group.rpartition("/")[2] for clip in clips if not clip.is_group_of_its_file})
    told = some([" and ".join(map(repr, names)) for names in alike])
    return [f"groups {told} differ only in case, spaces or Unicode form, and stay different groups"] if alike else []


def alike_names(names: Iterable[str]) -> list[list[str]]:
    """Lists of names that differ only in case, spaces or Unicode form."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        plain = re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()))
        found[plain.strip()].append(name)
    return [alike for alike in found.values() if len(alike) > 1]


def _joined(names: Iterable[str]) -> list[str]:
    """Names whose parts are names or parts of other names: rock+pop if there are rock and pop+jazz."""
    parts_of = {name: [part for part in _SEPARATORS.split(name) if part] for name in names}
    marked = {name: [part for part in _MARKS.split(name) if part] for name in names if _MARKS.search(name)}
    times = Counter(part for parts in marked.values() for part in set(parts))
    return [
        name
        for name, parts in parts_of.items()
        if (len(parts) > 1 and all(part in parts_of for part in parts))
        or any(times[part] > 1 or part in parts_of for part in marked.get(name, []) if len(marked[name]) > 1)
    ]
