"""Predictions that are confident enough to be used as labels, and how often such predictions are correct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.pseudo_labels import PseudoLabel
from hf_audio.data.recordings.audio import AudioError, read_audio
from hf_audio.errors import InputError
from hf_audio.predictor import Predictor
from hf_audio.stored_scores import read_scores
from hf_audio.terminal import progress


class Agreement(NamedTuple):
    """How many predictions for labeled clips are confident, and how many of these are correct.

    Attributes:
        num_clips: number of clips.
        num_confident: clips with a confident prediction.
        num_answers: confident predictions: in multi-label tasks, one for each known class with a confident prediction.
        num_right: confident predictions that are correct.
    """

    num_clips: int
    num_confident: int
    num_answers: int
    num_right: int


def confident_labels(
    paths: Sequence[str], probabilities: np.ndarray, labels: LabelSpace, confidence: float
) -> list[PseudoLabel]:
    """Pseudo-labels for the recordings with confident predictions.

    In single-label tasks, the predicted class must have at least `confidence`. In multi-label tasks, classes with at
    least `confidence` are labels, classes of at most 1 - confidence are absent, and all others are unknown; a recording
    needs at least one label.

    Args:
        paths: paths of the recordings.
        probabilities: float `[recordings, classes]`.
    """
    return [one for one in map(_labels_of(labels, confidence), paths, np.asarray(probabilities)) if one is not None]


def agreement_on_validation(folders: Sequence[Path], labels: LabelSpace, confidence: float) -> Agreement | None:
    """Agreement of the mean scores of several runs on their common validation clips; None if there are none."""
    stored = [read_scores(folder) for folder in folders]
    rows = [place for place, split in enumerate(stored[0].splits) if split == "validation"]
    if not rows:
        return None
    if any(one.clip_ids != stored[0].clip_ids for one in stored):
        raise InputError(f"{folders[0]} and the other runs scored different clips: remove them to run them again")
    order = [[one.labels.label2id[name] for name in labels.names] for one in stored]
    mean = np.mean([one.probabilities[:, its] for one, its in zip(stored, order, strict=True)], axis=0)
    given = np.array([[name in names for name in labels.names] for names in stored[0].given])
    known = ~np.array([[name in names for name in labels.names] for names in stored[0].unknown])
    return agreement(mean[rows], given[rows], known[rows], labels, confidence)


def agreement(
    probabilities: np.ndarray, given: np.ndarray, known: np.ndarray, labels: LabelSpace, confidence: float
) -> Agreement:
    """How often confident predictions are correct, from probabilities, true and known classes, `[clips, classes]`."""
    if labels.is_multi_label:
        says = (probabilities >= confidence) | (probabilities <= 1 - confidence)
        says &= known & (probabilities >= confidence).any(axis=1, keepdims=True)
        right = says & ((probabilities >= confidence) == given)
        numbers = (says.any(axis=1).sum(), says.sum(), right.sum())
    else:
        sure = probabilities.max(axis=1) >= confidence
        right = given[np.arange(len(given)), probabilities.argmax(axis=1)] & sure
        numbers = (sure.sum(), sure.sum(), right.sum())
    return Agreement(len(given), *map(int, numbers))


def recording_probabilities(
    predictor: Predictor, paths: Mapping[str, Path], labels: LabelSpace, clip_s: float | None = None
) -> dict[str, np.ndarray]:
    """Probabilities `[classes]` of whole recordings in the order of `labels`, from the mean logits of their windows.

    Args:
        paths: paths of the recordings by name; recordings that cannot be decoded are left out.
        clip_s: use only this many seconds from the start.

    Raises:
        InputError: the model has other classes.
    """
    own = predictor.labels
    if set(own.names) != set(labels.names) or own.problem_type != labels.problem_type:
        raise InputError(
            f"{predictor.name} has {len(own)} classes, but the corpus has {len(labels)}: a class occurs in only one "
            "fold; give fewer --num_folds, or add recordings of the rare classes"
        )
    order, found = [own.label2id[name] for name in labels.names], {}
    for name, path in progress(list(paths.items()), desc="labels", unit=" recordings"):
        try:
            sound = read_audio(path, predictor.sample_rate, 0.0, clip_s, stereo=predictor.is_stereo)
        except AudioError:
            continue
        logits = predictor.waveform(sound, predictor.sample_rate).logits[:, order]
        found[name] = labels.probabilities(logits.astype(np.float64).mean(axis=0))
    return found


def _labels_of(labels: LabelSpace, confidence: float):
    def chosen(path: str, values: np.ndarray) -> PseudoLabel | None:
        sure = np.flatnonzero(values >= confidence)
        if not labels.is_multi_label:
            sure = np.array([values.argmax()]) if values.max() >= confidence else sure[:0]
        if not len(sure):
            return None
        open_ones = (values < confidence) & (values > 1 - confidence) if labels.is_multi_label else []
        unknown = tuple(labels.names[place] for place in np.flatnonzero(open_ones))
        names = tuple(labels.names[place] for place in sure)
        return PseudoLabel(path, float(values[sure].min()), names, unknown, values.tolist())

    return chosen
