"""Checks whether a model was trained on the data it is evaluated on, which inflates its scores.

A run of hf_audio stores digests of its training and validation clips and groups with the model
(`data/loading/training_digests.py`). Other models at best name their training datasets in the card.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hf_audio.data.index.columns import of_split
from hf_audio.data.loading.training_digests import TRAINING_DATA, TrainedOn, read_training_data
from hf_audio.errors import InputError
from hf_audio.judging.evaluation_data import ALL, VALIDATION, EvaluationData
from hf_audio.models.checkpoint_card import datasets_in_card
from hf_audio.models.foreign_checkpoint import Checkpoint

SHOWN = 3
INSTEAD = "evaluate on another --split or on other data, or add --allow_training_data"


class Found(NamedTuple):
    """What is known about the overlap of a model's training data and the evaluated data.

    Attributes:
        refusal: why the model should not be evaluated on these data, as a clause; "" if there is no reason.
        told: further notes for readers, one sentence each.
    """

    refusal: str = ""
    told: tuple[str, ...] = ()


def training_overlap(name: str, checkpoint: Checkpoint, data: EvaluationData) -> Found:
    """Which of the evaluated clips a model was trained on, as far as this is known.

    Args:
        name: name of the model, for messages.
        checkpoint: the model.
        data: one split, see `EvaluationData.chosen`.

    Raises:
        InputError: the file with the digests is damaged.
    """
    path = checkpoint.path(TRAINING_DATA, optional=True)
    if path is not None:
        return _of_digests(name, read_training_data(path), data)
    here = {data.source.casefold(), data.name.casefold()}  # names on the Hub are unique regardless of case
    in_card = datasets_in_card(checkpoint)
    named = [one for one in in_card if one.casefold() in here]
    if not in_card:
        return Found(told=(f"The training data of {name} are unknown: it may have been trained on these clips.",))
    if not named:
        return Found()
    if data.split in (ALL, "train"):
        return Found(f"the card of {name} names {named[0]} as its training data")
    return Found(told=(f"The card of {name} names {named[0]} as its training data, but not which split of it.",))


def check_training_data(found: Found, name: str, data: EvaluationData, *, allow: bool) -> tuple[str, ...]:
    """Notes on a model's training data for readers, one sentence each.

    Args:
        allow: accept an overlap, with a note.

    Raises:
        InputError: the model was trained on the evaluated data.
    """
    if not found.refusal:
        return found.told
    if not allow:
        raise InputError(
            f"{_capital(found.refusal)}, so its scores on {data.name} ({data.split}) would be inflated: {INSTEAD}"
        )
    return (f"{_capital(found.refusal)}: the scores of {name} are inflated.", *found.told)


def _of_digests(name: str, trained: TrainedOn, data: EvaluationData) -> Found:
    if trained.source and data.source and trained.source != data.source:
        return Found()  # recordings of another dataset, even if names are equal
    clips = data.evaluated
    clip_ids, groups = (np.array(clips[column].to_pylist(), dtype=object) for column in ("clip_id", "group"))
    seen = trained.holds("train clips", clip_ids)
    if seen.any():
        return Found(f"{name} was trained on {_shown(clip_ids, seen)}")
    of_group = trained.holds("train groups", groups)
    if of_group.any():
        return Found(
            f"{name} was trained on other clips of the groups of {_shown(clip_ids, of_group)} (group "
            f"{groups[np.argmax(of_group)]!r})"
        )
    told = []
    chosen_by = trained.holds("validation clips", clip_ids)
    if chosen_by.any():
        told.append(
            f"{name} was validated on {_shown(clip_ids, chosen_by)} to choose its checkpoint: its scores are inflated."
        )
    held_out = of_split(data.clips, VALIDATION)["clip_id"].to_pylist() if data.split != VALIDATION else []
    num_seen = int(trained.holds("train clips", held_out).sum())
    if num_seen:
        told.append(
            f"{name} was trained on {num_seen:,} of the {len(held_out):,} validation clips: thresholds, calibration "
            "and weights that are fitted on them may not suit new clips."
        )
    return Found(told=tuple(told))


def _shown(names: np.ndarray, chosen: np.ndarray) -> str:
    listed = ", ".join(names[chosen][:SHOWN]) + (" ..." if chosen.sum() > SHOWN else "")
    return f"{int(chosen.sum()):,} of these {len(names):,} clips ({listed})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("the ") else text
