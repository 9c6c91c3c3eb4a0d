"""The scores of several models, aligned to the same clips and classes in the same order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from hf_audio.errors import InputError
from hf_audio.judging.judged_clips import JudgedClips


def aligned(judged: Sequence[JudgedClips]) -> list[JudgedClips]:
    """The scores of all models, with clips and classes in the order of the first model.

    Raises:
        InputError: no models; models that differ in classes, task, clips or labels.
    """
    if not judged:
        raise InputError("There are no models to compare or combine: give at least one")
    first = judged[0]
    return [first, *(_like(first, one) for one in judged[1:])]


def check_names(judged: Sequence[JudgedClips]) -> None:
    """Raises InputError if two models have the same name, since results are listed by name."""
    names = [one.name for one in judged]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"Two models are called {twice[0]}: give each its own name")


def _like(first: JudgedClips, other: JudgedClips) -> JudgedClips:
    classes = _places(first.labels.names, other.labels.names, "classes", first.name, other.name)
    if first.labels.problem_type != other.labels.problem_type:
        raise InputError(
            f"{first.name} was scored on a {first.labels.problem_type} task and {other.name} on a "
            f"{other.labels.problem_type} task, so their scores cannot be compared"
        )
    clips = _places(_clip_ids(first), _clip_ids(other), "clips", first.name, other.name)
    order = np.argsort(np.argsort(clips)[other.clip_of_window], kind="stable")
    sorted_like = dataclasses.replace(
        other,
        labels=first.labels,
        clips=other.clips.take(pa.array(clips)),
        targets=other.targets[clips][:, classes],
        window_logits=other.window_logits[order][:, classes],
        clip_of_window=np.argsort(clips)[other.clip_of_window][order],
        window_starts_s=other.window_starts_s[order],
    )
    if not np.array_equal(sorted_like.targets, first.targets, equal_nan=True):
        differs = ~((sorted_like.targets == first.targets) | np.isnan(first.targets + sorted_like.targets)).all(axis=1)
        differs |= (np.isnan(sorted_like.targets) != np.isnan(first.targets)).any(axis=1)
        raise InputError(
            f"{first.name} and {other.name} were scored against different labels for {differs.sum():,} clips, first "
            f"{_clip_ids(first)[int(np.argmax(differs))]}: score both on the same data"
        )
    return sorted_like


def _clip_ids(judged: JudgedClips) -> list[str]:
    return judged.clips["clip_id"].to_pylist()


def _places(wanted: Sequence[str], found: Sequence[str], what: str, first: str, other: str) -> np.ndarray:
    """The position of each wanted name among the found ones; both must have the same names, each once."""
    for names, owner in ((wanted, first), (found, other)):
        if len(set(names)) < len(names):
            raise InputError(f"{owner} has {len(names) - len(set(names)):,} duplicate {what}: each must appear once")
    for names, others, owner, lacks in ((wanted, found, first, other), (found, wanted, other, first)):
        known = set(others)
        missing = [name for name in names if name not in known]
        if missing:
            raise InputError(
                f"{lacks} lacks {len(missing):,} of the {what} of {owner}, such as {missing[0]}: "
                "score both on the same data and classes"
            )
    place = {name: number for number, name in enumerate(found)}
    return np.array([place[name] for name in wanted], dtype=np.int64)
