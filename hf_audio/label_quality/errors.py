"""Probable label errors: clips for which a model that was not trained on them is confident of another class.

Northcutt et al. 2021, "Confident Learning", with cleanlab. Predictions must be out-of-fold, because a model learns the
errors in its training labels and then agrees with them.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.model_selection import StratifiedGroupKFold

from hf_audio.baselines import fit_linear
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.label_quality.clip_vectors import ClipTable, clips_of, window_vectors
from hf_audio.metrics import mean_of_clips
from hf_audio.stored_scores import read_scores
from hf_audio.terminal import progress

NUM_FOLDS = 5
C = 0.01  # strong regularization, so that the model memorizes few errors; this value finds most planted errors
CHECKED_SPLITS = ("train", "validation")  # test labels stay as given, so that scores stay comparable
FEW_GROUPS = 20
MAX_PLAIN_ERROR = 0.1  # probability of a given label, below which it is always flagged
MIN_AGREEMENT = 0.6


@dataclass(frozen=True)
class LabelError:
    """A clip whose labels are probably wrong.

    Attributes:
        row: the clip's row of the index.
        given, suggested: names of its classes; in multi-label data, `suggested` is `given` with probable errors fixed.
        confidence: probability of the suggestion, the minimum over the classes that change.
        quality: probability of the given labels, the minimum over known classes; the lower, the more likely an error.
    """

    row: dict[str, Any]
    given: tuple[str, ...]
    suggested: tuple[str, ...]
    confidence: float
    quality: float


@dataclass(frozen=True)
class LabelErrors:
    """The result of a search.

    Attributes:
        errors: the most likely first.
        num_checked: clips that were checked.
        num_not_checked: clips that could not be checked: no prediction, or no other group has their class.
        agreement: share of the checked clips where the quick model predicts the given label; if it is low, the model is
            too weak to find errors. In multi-label data, the mean of the shares for present and for absent labels,
            since predicting nothing would be right for most.
        num_groups: number of groups of the checked clips.
    """

    errors: list[LabelError]
    num_checked: int
    num_not_checked: int
    agreement: float
    num_groups: int


def find_label_errors(
    features: FeatureDataset,
    *,
    splits: Sequence[str] | None = None,
    network: str | None = None,
    predictions: Sequence[str | Path] = (),
    hold_out: str = "groups",
    seed: int = 0,
    token: str | None = None,
) -> LabelErrors:
    """Searches a feature dataset for labels that are probably wrong.

    Args:
        splits: the splits to check and to train on; by default training and validation.
        network: use a linear model on this network's embeddings instead of window statistics. If the network was
            trained on the same clips, it has seen their labels, and errors that it has learned are missed.
        predictions: use these predictions instead: scores/clips.parquet of runs that were tested on the clips, such as
            one run per fold; only their test split counts.
        hold_out: "groups": predictions for a clip come from models trained on other groups. "clips": on other clips,
            which finds more errors if groups are few and large (speakers) and errors do not affect whole groups.
        seed: for the folds.

    Raises:
        InputError: nothing to train on, a missing split, predictions of other classes, or cleanlab is missing.
    """
    require_cleanlab()
    clips, labels = clips_of(features, checked_splits(features, splits)), features.labels
    if predictions:
        return errors_among(clips, _read_predictions(predictions, clips, labels), labels)
    vectors, clip_of_window = window_vectors(features, clips.clip_ids, network, token=token)
    probabilities = out_of_fold(vectors, clip_of_window, clips, labels, hold_out=hold_out, seed=seed)
    return errors_among(clips, probabilities, labels)


def require_cleanlab() -> None:
    """Raises InputError if cleanlab is not installed, before any work is done."""
    if importlib.util.find_spec("cleanlab") is None:
        raise InputError('Finding label errors needs cleanlab, which is not installed: pip install "hf_audio[audit]"')


def checked_splits(features: FeatureDataset, splits: Sequence[str] | None) -> Sequence[str]:
    """The splits to check: those given, or training and validation if they exist."""
    return splits or [split for split in CHECKED_SPLITS if split in features.splits]


def errors_among(clips: ClipTable, probabilities: np.ndarray, labels: LabelSpace) -> LabelErrors:
    """Probable errors in the targets of clips, from probabilities `[clips, classes]`, NaN if there is no prediction."""
    find = _errors_of_each_class if labels.is_multi_label else _errors_of_one_label
    judged, agreement, errors = find(clips, probabilities, labels)
    errors.sort(key=lambda error: (error.quality, -error.confidence, error.row["clip_id"]))
    num_groups = len(set(clips.groups))
    return LabelErrors(errors, int(judged.sum()), int((~judged).sum()), agreement, num_groups)


def out_of_fold(
    vectors: np.ndarray,
    clip_of_window: np.ndarray,
    clips: ClipTable,
    labels: LabelSpace,
    *,
    hold_out: str = "groups",
    seed: int = 0,
) -> np.ndarray:
    """Probabilities `[clips, classes]` from quick models that were trained without the clip's group, or the clip.

    Window logits are averaged per clip, and scaled so that probabilities match the given labels. They are NaN for
    classes that the model was not trained on.

    Raises:
        InputError: a single group.
    """
    groups = clips.groups if hold_out == "groups" else np.arange(len(clips.rows))
    num_folds = min(NUM_FOLDS, len(np.unique(groups)))
    if num_folds < 2:
        raise InputError(
            "All clips are in one group, so there is no other group to train on: give groups, or --hold_out clips"
        )
    window_targets = clips.targets[clip_of_window]
    logits = np.zeros(window_targets.shape)
    unlearnt = np.zeros(clips.targets.shape, dtype=bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer clips than folds
        splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
        folds = list(splitter.split(clips.targets, _rarest_class(clips.targets), groups))
    for train, held_out in progress(folds, desc="out-of-fold predictions", unit=" folds"):
        inside, outside = np.isin(clip_of_window, train), np.isin(clip_of_window, held_out)
        logits[outside] = fit_linear(vectors[inside], window_targets[inside], labels, C)(vectors[outside])
        unlearnt[held_out] = ~(clips.targets[train] == 1).any(axis=0)
    mean = mean_of_clips(logits, clip_of_window, len(clips.rows))
    probabilities = _calibrated(mean, clips.targets, labels)
    return np.where(unlearnt, np.nan, probabilities)


def _rarest_class(targets: np.ndarray) -> np.ndarray:
    """The rarest class of each clip, to stratify by; clips without a class form an extra class."""
    present = np.nan_to_num(targets) > 0.5
    counts = np.where(present, present.sum(axis=0), np.iinfo(np.int64).max)
    return np.where(present.any(axis=1), counts.argmin(axis=1), targets.shape[1])


def _calibrated(logits: np.ndarray, targets: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """Probabilities of scaled logits, with the scale that maximizes the likelihood of the given labels (Guo et al.
    2017)."""
    known = ~np.isnan(targets)

    def surprise(log_scale: float) -> float:
        found = np.clip(labels.probabilities(np.exp(log_scale) * logits)[known], 1e-9, 1 - 1e-9)
        true = targets[known] > 0.5
        wrong = np.log(1 - found[~true]).sum() if labels.is_multi_label else 0.0
        return -float(np.log(found[true]).sum() + wrong)

    scale = np.exp(minimize_scalar(surprise, bounds=(-3, 3), method="bounded").x)
    return labels.probabilities(scale * logits)


def _errors_of_one_label(
    clips: ClipTable, probabilities: np.ndarray, labels: LabelSpace
) -> tuple[np.ndarray, float, list[LabelError]]:
    given = clips.targets.argmax(axis=1)
    own = probabilities[np.arange(len(given)), given]
    judged = ~np.isnan(own)
    classes = np.unique(given[judged])  # cleanlab needs each class among the labels
    if len(classes) < 2:
        raise InputError(f"Found {len(classes)} class(es) with clips in two or more groups; expected at least two")
    found = np.nan_to_num(probabilities[np.ix_(judged, classes)])
    found = found / np.maximum(found.sum(axis=1, keepdims=True), 1e-12)
    flagged = _flagged(np.searchsorted(classes, given[judged]), found)
    errors = [
        LabelError(
            clips.rows[clip],
            (labels.names[given[clip]],),
            (labels.names[classes[one.argmax()]],),
            float(one.max()),
            float(own[clip]),
        )
        for clip, one, is_wrong in zip(np.flatnonzero(judged), found, flagged, strict=True)
        if is_wrong
    ]
    return judged, float((classes[found.argmax(axis=1)] == given[judged]).mean()), errors


def _errors_of_each_class(
    clips: ClipTable, probabilities: np.ndarray, labels: LabelSpace
) -> tuple[np.ndarray, float, list[LabelError]]:
    """Checks each class separately, on the clips for which it is known."""
    known = ~np.isnan(clips.targets) & ~np.isnan(probabilities)
    given = np.nan_to_num(clips.targets) > 0.5
    wrong = np.zeros(given.shape, dtype=bool)
    for column in range(len(labels)):
        rows = known[:, column]
        if len(np.unique(given[rows, column])) == 2:
            found = probabilities[rows, column]
            wrong[rows, column] = _flagged(given[rows, column].astype(int), np.stack([1 - found, found], axis=1))
    of_given = np.where(known, np.where(given, probabilities, 1 - probabilities), np.nan)
    names = np.array(labels.names, dtype=object)
    errors = [
        LabelError(
            clips.rows[clip],
            tuple(names[given[clip]]),
            tuple(names[given[clip] ^ wrong[clip]]),
            float((1 - of_given[clip, wrong[clip]]).min()),
            float(np.nanmin(of_given[clip])),
        )
        for clip in np.flatnonzero(wrong.any(axis=1))
    ]
    parts = [of_given[known & (given == value)] for value in (True, False)]
    return known.any(axis=1), float(np.mean([(part > 0.5).mean() for part in parts if len(part)])), errors


def _flagged(given: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Which labels are probably wrong, bool `[clips]`, from class indices `[clips]` in which each class occurs."""
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about classes with few clips
        # "both" requires that both of cleanlab's filters flag a label, which gives fewer false alarms
        found = find_label_issues(given, probabilities, filter_by="both", n_jobs=1)
    # cleanlab limits the number per class to its estimate; plain errors beyond it are flagged as well
    own = probabilities[np.arange(len(given)), given]
    plain = (own < MAX_PLAIN_ERROR) & (probabilities.max(axis=1) >= 0.5)
    return (found | plain) & (probabilities.argmax(axis=1) != given)


def _read_predictions(tables: Sequence[str | Path], clips: ClipTable, labels: LabelSpace) -> np.ndarray:
    """Probabilities `[clips, classes]` from the test splits of runs, averaged if several runs have the same clip."""
    place = {clip_id: number for number, clip_id in enumerate(clips.clip_ids)}
    sums, counts = np.zeros(clips.targets.shape), np.zeros((len(place), 1))
    for table in tables:
        stored = read_scores(table)
        if set(stored.labels.names) != set(labels.names):
            other = min(set(stored.labels.names) ^ set(labels.names))
            raise InputError(
                f"{table} has other classes ({other!r} is only in one of them); expected scores of a run on the same "
                f"classes: {', '.join(labels.names[:8])}"
            )
        columns = [stored.labels.label2id[name] for name in labels.names]
        probabilities = stored.probabilities[:, columns]
        for clip_id, split, scores in zip(stored.clip_ids, stored.splits, probabilities, strict=True):
            if clip_id in place and split == stored.evaluated_split:
                sums[place[clip_id]] += scores
                counts[place[clip_id]] += 1
    if not counts.any():
        raise InputError(
            f"None of the {len(place)} checked clips is in {', '.join(map(str, tables))}: give predictions of runs "
            "that were tested on them, such as one per fold, or --splits test"
        )
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
