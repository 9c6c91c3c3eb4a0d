"""Several models on the same data: unique names, and the clips and classes that they are compared on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.scoring import ScoredModel, with_class
from hf_audio.privacy import public_name


def unique_names(models: Sequence[str]) -> dict[str, str]:
    """A unique name for each given model: its public name, with as many parent folders as needed.

    Raises:
        InputError: a model is given twice.
    """
    short = [public_name(model) for model in models]
    places = [os.path.abspath(os.path.expanduser(model)) for model in models]
    for place, name in zip(places, short, strict=True):
        if places.count(place) > 1:
            raise InputError(f"The model {name} was given twice: give each model once")
    found = dict(zip(models, short, strict=True))
    num_parts = 2
    while len(set(found.values())) < len(models):
        duplicates = {name for name in found.values() if list(found.values()).count(name) > 1}
        for model, name in found.items():
            if name in duplicates:
                found[model] = "/".join(Path(os.path.abspath(os.path.expanduser(model))).parts[-num_parts:])
        num_parts += 1
    return found


def in_common(models: Sequence[ScoredModel]) -> list[ScoredModel]:
    """Restricts the scores of several models to their common clips and classes.

    Raises:
        InputError: too few common classes (one, or two for single-label data), no common clips, or different labels for
            the same clips.
    """
    first = models[0].judged
    names = [name for name in first.labels.names if all(name in one.judged.labels.names for one in models)]
    min_classes = 1 if first.labels.is_multi_label else 2
    shown = ", ".join(one.judged.name for one in models)
    if len(names) < min_classes:
        raise InputError(
            f"{shown} share {len(names)} of the data's classes, but a comparison needs at least {min_classes}: "
            "evaluate them separately, or give a --label_map"
        )
    cut = [_of_classes(one, names) for one in models]
    clip_ids = [one.judged.clips["clip_id"].to_pylist() for one in cut]
    shared = set.intersection(*map(set, clip_ids))
    kept = [clip_id for clip_id in clip_ids[0] if clip_id in shared]
    if not kept:
        raise InputError(f"{shown} have no clips in common: give scores of the same data")
    same = [_of_clips(one, kept) for one in cut]
    for one in same[1:]:
        _check_truth(same[0], one)
    return same


def _of_classes(scored: ScoredModel, names: Sequence[str]) -> ScoredModel:
    judged = scored.judged
    if list(judged.labels.names) == list(names):
        return scored
    ids = judged.labels.label2id
    places, left_out = [ids[name] for name in names], [name for name in judged.labels.names if name not in names]
    judged = dataclasses.replace(
        judged,
        labels=LabelSpace(tuple(names), judged.labels.problem_type),
        targets=judged.targets[:, places],
        window_logits=judged.window_logits[:, places],
    )
    judged, told = with_class(judged)
    if left_out:
        told = [f"{judged.name} is not evaluated on {', '.join(left_out)}, which another model lacks.", *told]
    classes = scored.facts.get("classes", {})
    facts = {**scored.facts, "classes": {name: its for name, its in classes.items() if name in names}}
    of_all = scored.of_logits
    of_logits = of_all and (lambda logits: of_all(logits)[:, places])
    return scored._replace(judged=judged, facts=facts, told=(*scored.told, *told), of_logits=of_logits)


def _of_clips(scored: ScoredModel, clip_ids: Sequence[str]) -> ScoredModel:
    """Only these clips, in their order."""
    judged = scored.judged
    rows = pc.index_in(pa.array(clip_ids), judged.clips["clip_id"].combine_chunks()).to_numpy()
    told = scored.told
    if len(rows) < len(judged):
        told = (
            *told,
            f"{len(judged) - len(rows):,} clips of {judged.name} are left out, because another model has no scores "
            "for them.",
        )
    judged = judged.take(np.sort(rows))
    if (np.diff(rows) < 0).any():
        judged = _in_order(judged, np.argsort(np.argsort(rows)))
    return scored._replace(judged=judged, told=told)


def _in_order(judged: JudgedClips, order: np.ndarray) -> JudgedClips:
    """The clips in another order, with their windows."""
    place = np.argsort(order)
    clip_of_window = place[judged.clip_of_window]
    windows = np.argsort(clip_of_window, kind="stable")
    return dataclasses.replace(
        judged,
        clips=judged.clips.take(pa.array(order)),
        targets=judged.targets[order],
        window_logits=judged.window_logits[windows],
        clip_of_window=clip_of_window[windows],
        window_starts_s=judged.window_starts_s[windows],
    )


def _check_truth(one: ScoredModel, two: ScoredModel) -> None:
    here, there = one.judged, two.judged
    same = (here.targets == there.targets) | np.isnan(here.targets + there.targets)
    differ = ~same.all(axis=1) | pc.not_equal(here.clips["split"], there.clips["split"]).to_numpy()
    if differ.any():
        clip_id = here.clips["clip_id"][int(np.argmax(differ))].as_py()
        raise InputError(
            f"{here.name} and {there.name} were scored against different labels or splits, first for {clip_id}: give "
            "scores of the same data"
        )
