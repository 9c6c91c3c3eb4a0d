"""Reads manifest.json of a feature dataset, which may be untrusted: the type and size of each field are checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_audio.data.feature_format import (
    FORMAT_VERSION,
    MAX_CLIPS,
    MAX_METADATA_COLUMNS,
    METADATA_TYPES,
    SHARD_WINDOWS,
    ClipColumns,
    are_rates,
    own_columns,
)
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.data.index.table import SPLITS
from hf_audio.errors import InputError
from hf_audio.files import read_json
from hf_audio.kinds import KINDS, kind_of
from hf_audio.limits import MAX_VALUES, Field, number, one_of, whole

MAX_CLASSES = 100_000
MAX_SHARDS = 99_999  # their numbers have five digits
LONGEST_WINDOW_S = 86_400
MAX_COLUMN_NAME = 10_000


def text(max_letters: int, min_letters: int = 0) -> Field:
    """A string of limited length."""
    return Field(
        f"text of {min_letters} to {max_letters:,} characters",
        lambda value: _is_text(value, min_letters, max_letters),
    )


CLASS_NAMES = Field(
    f"a list of up to {MAX_CLASSES:,} different names",
    lambda value: (
        isinstance(value, list)
        and 0 < len(value) <= MAX_CLASSES
        and all(_is_text(name, 1, 1000) for name in value)
        and len(set(value)) == len(value)
    ),
)
OBJECT = Field("an object {...}", lambda value: isinstance(value, dict))
METADATA = Field(
    f"an object of up to {MAX_METADATA_COLUMNS:,} columns, each {', '.join(METADATA_TYPES)}",
    lambda value: (
        isinstance(value, dict)
        and len(value) <= MAX_METADATA_COLUMNS
        and all(_is_text(name, 1, MAX_COLUMN_NAME) for name in value)
        and all(isinstance(kind, str) and kind in METADATA_TYPES for kind in value.values())
    ),
)
CORPORA = Field(
    "a list of up to 100 objects",
    lambda value: isinstance(value, list) and len(value) <= 100 and all(isinstance(one, dict) for one in value),
)
COUNTS = Field(
    f"a list of up to {MAX_SHARDS:,} whole numbers from 0 to {MAX_CLIPS:,}",
    lambda value: (
        isinstance(value, list)
        and len(value) <= MAX_SHARDS
        and all(type(count) is int and 0 <= count <= MAX_CLIPS for count in value)
    ),
)
MANIFEST_FIELDS = {
    "problem_type": one_of(SINGLE_LABEL, MULTI_LABEL),
    "label_names": CLASS_NAMES,
    "window_s": number(1e-4, LONGEST_WINDOW_S),
    "hop_s": number(1e-4, LONGEST_WINDOW_S),
    "num_excluded": whole(0, MAX_CLIPS),
    "extractor": OBJECT,
    "metadata": METADATA,
    "has_mixtures": one_of(False, True),
    "corpus": OBJECT,
    "splits": OBJECT,
    SHARD_WINDOWS: OBJECT,
}
CORPUS_FIELDS = {
    **dict.fromkeys(
        ("name", "license", "protocol", "citation", "homepage", "understood", "source", "revision"), text(10_000)
    ),
    **dict.fromkeys(("may_redistribute", "groups_known"), one_of(False, True)),
}
SPLIT_FIELDS = {
    "num_shards": whole(1, MAX_SHARDS),
    **dict.fromkeys(("num_windows", "num_clips", "num_groups"), whole(1, MAX_CLIPS)),
    "label_counts": OBJECT,
}
# Fields that a split may also have
OPTIONAL_SPLIT_FIELDS = {
    "known_counts": OBJECT,
    "source_rates": Field("an object with the number of clips for each sample rate in Hz", are_rates),
}


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The fields of a manifest.json that this package knows, each checked; other fields are left out.

    Raises:
        InputError: a field is invalid; the message names the file, the field, its value and what is expected.
    """
    manifest = read_json(path)
    if not one_of(FORMAT_VERSION).holds(manifest.get("format_version")):
        raise InputError(
            f"{path} has feature format {_shown(manifest.get('format_version'))}; this hf_audio reads "
            f"{FORMAT_VERSION}, so build the features again or install the hf_audio they were built with"
        )
    checked = _fields(path, "", manifest, MANIFEST_FIELDS)
    checked["extractor"] = _extractor(path, checked["extractor"])
    taken = own_columns(checked["extractor"]).intersection(checked["metadata"])
    if taken:
        _refuse(path, f"metadata.{min(taken)}", "present", "no metadata with that name, which is a column of rows")
    checked["corpus"] = _corpus(path, checked["corpus"])
    names = checked["label_names"]
    checked["splits"] = {
        split: _split(path, f"splits.{split}.", facts, names)
        for split, facts in _fields(
            path, "splits.", checked["splits"], _expected_splits(path, checked["splits"])
        ).items()
    }
    checked[SHARD_WINDOWS] = _shard_windows(path, checked[SHARD_WINDOWS], checked["splits"])
    _check_window(path, checked)
    return {"format_version": FORMAT_VERSION, **checked}


def _corpus(path: str | Path, found: dict[str, Any]) -> dict[str, Any]:
    """The facts about a corpus, and about the others that are mixed into it."""
    others = _fields(path, "corpus.", found, {"others": CORPORA})["others"]
    facts = _fields(path, "corpus.", found, CORPUS_FIELDS)
    return facts | {
        "others": [_fields(path, f"corpus.others.{number}.", one, CORPUS_FIELDS) for number, one in enumerate(others)]
    }


def _extractor(path: str | Path, found: dict[str, Any]) -> dict[str, Any]:
    named = _fields(path, "extractor.", found, {"kind": one_of(*KINDS)})
    return named | _fields(path, "extractor.", found, kind_of(named).limits)


def _expected_splits(path: str | Path, found: dict[str, Any]) -> dict[str, Field]:
    if not found or set(found) - set(SPLITS):
        _refuse(path, "splits", ", ".join(found) or "nothing", f"some of {', '.join(SPLITS)}")
    return dict.fromkeys(found, OBJECT)


def _split(path: str | Path, place: str, found: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The facts about a split; counts per class must have all classes."""
    facts = _fields(path, place, found, SPLIT_FIELDS)
    more = {name: field for name, field in OPTIONAL_SPLIT_FIELDS.items() if name in found}
    facts |= _fields(path, place, found, more)
    for counts in [name for name in facts if name in ("label_counts", "known_counts")]:
        facts[counts] = _fields(path, f"{place}{counts}.", facts[counts], dict.fromkeys(names, whole(0, MAX_CLIPS)))
    return facts


def _shard_windows(path: str | Path, found: dict[str, Any], splits: Mapping[str, Any]) -> dict[str, list[int]]:
    """The number of windows of each shard; the sums must be those of the splits."""
    counts = _fields(path, f"{SHARD_WINDOWS}.", found, dict.fromkeys(splits, COUNTS))
    for split, facts in splits.items():
        told, wanted = (len(counts[split]), sum(counts[split])), (facts["num_shards"], facts["num_windows"])
        if told != wanted:
            counted, expected = (f"{windows:,} windows in {shards:,} shards" for shards, windows in (told, wanted))
            _refuse(path, f"{SHARD_WINDOWS}.{split}", counted, f"{expected}, as splits.{split} counts")
    return counts


def _check_window(path: str | Path, manifest: Mapping[str, Any]) -> None:
    """Raises InputError if a window would have no frame, or too many values."""
    if not 0 < window_values(manifest) <= MAX_VALUES:
        _refuse(path, "window_s", manifest["window_s"], f"windows of 1 to {MAX_VALUES:,} numbers")


def clip_columns(manifest: Mapping[str, Any]) -> ClipColumns:
    """The columns that describe the clip. Labels are partial if the manifest has counts of known labels."""
    labels = LabelSpace(tuple(manifest["label_names"]), manifest["problem_type"])
    is_partial = any("known_counts" in facts for facts in manifest["splits"].values())
    return ClipColumns(labels, is_partial, manifest["has_mixtures"], tuple(sorted(manifest["metadata"].items())))


def window_values(manifest: Mapping[str, Any]) -> int:
    """Number of values of a full window."""
    parameters = manifest["extractor"]
    return math.prod(kind_of(parameters).window_shape(manifest["window_s"], parameters))


def _fields(
    path: str | Path, place: str, found: Mapping[str, Any], wanted: Mapping[str, Field | tuple[Field, ...]]
) -> dict[str, Any]:
    """The wanted fields of an object, each checked."""
    for name, kinds in wanted.items():
        kinds = (kinds,) if isinstance(kinds, Field) else kinds
        expected = " or ".join(kind.described for kind in kinds)
        if name not in found:
            _refuse(path, place + name, "missing", expected)
        if not any(kind.holds(found[name]) for kind in kinds):
            _refuse(path, place + name, _shown(found[name]), expected)
    return {name: found[name] for name in wanted}


def _refuse(path: str | Path, field: str, found: Any, expected: str) -> None:
    where = field if len(field) <= 200 else f"{field[:200]} ..."
    raise InputError(f"{path} is damaged: {where} is {found}, expected {expected}; download or build the dataset again")


def _shown(value: Any) -> str:
    shown = repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return shown if len(shown) <= 60 else f"{shown[:60]} ..."


def _is_text(value: Any, min_letters: int, max_letters: int) -> bool:
    return isinstance(value, str) and min_letters <= len(value) <= max_letters
