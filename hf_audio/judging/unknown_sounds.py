"""The scores of a model for sounds that have none of its classes, to compare with those of known sounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.columns import is_one_of
from hf_audio.errors import InputError
from hf_audio.judging.class_mapping import spellings
from hf_audio.judging.evaluation_data import ALL, EvaluationData, judged_columns
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.scoring import ScoredModel, windows_of
from hf_audio.predictor import Predictor


def without_known(data: EvaluationData, names: Iterable[str]) -> tuple[EvaluationData, list[str]]:
    """The clips of all splits that have none of the evaluated classes, with notes on those left out.

    Args:
        names: all names of these classes, in the evaluated data and in the models, with comma-separated synonyms.

    Raises:
        InputError: no clip is left.
    """
    judged = {one for name in names for one in spellings(name)}
    known = [name for name in data.labels.names if not judged.isdisjoint(spellings(name))]
    flat = is_one_of(pc.list_flatten(data.clips["labels"]), known)
    rows = pc.list_parent_indices(data.clips["labels"].combine_chunks()).filter(flat.combine_chunks())
    kept = np.ones(len(data.clips), dtype=bool)
    kept[rows.to_numpy()] = False
    clips = data.clips.filter(pa.array(kept))
    if not len(clips):
        raise InputError(f"All clips of {data.name} have evaluated classes: give sounds of other classes")
    told = []
    if known:
        told.append(
            f"{len(data.clips) - len(clips):,} clips of {data.name} are left out, because they have evaluated classes "
            f"({', '.join(known)})."
        )
    return dataclasses.replace(data, clips=clips, split=ALL), told


def score_unknown(predictor: Predictor, scored: ScoredModel, data: EvaluationData, **settings: Any) -> JudgedClips:
    """A model's scores for such sounds, in the evaluated classes.

    Args:
        scored: the model's scores on the evaluated data.
        data: see `without_known`.
        settings: `window_s`, `hop_s`, `num_threads` and `token` of `score`.

    Raises:
        InputError: see `score`.
    """
    clips, windows, _ = windows_of(predictor, data, **settings)
    judged = scored.judged
    return JudgedClips(
        judged.name,
        judged.labels,
        judged_columns(clips, windows.about),
        np.zeros((len(clips), len(judged.labels)), dtype=np.float32),
        scored.of_logits(windows.logits),
        windows.clip_of_window,
        windows.starts_s,
    )
