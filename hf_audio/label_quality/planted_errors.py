"""Measures how reliable a search for label errors is: changes labels on purpose, and counts how many are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.label_quality.clip_vectors import ClipTable, clips_of, window_vectors
from hf_audio.label_quality.errors import LabelErrors, checked_splits, errors_among, out_of_fold, require_cleanlab


@dataclass(frozen=True)
class PlantedErrors:
    """The result of a search for planted errors.

    Attributes:
        num_planted, num_found: clips with a planted error, and all clips that were flagged.
        num_right: clips in both.
        found: the result of the search.
    """

    num_planted: int
    num_found: int
    num_right: int
    found: LabelErrors

    @property
    def precision(self) -> float:
        """Share of the flagged clips with a planted error. Original errors count as false alarms."""
        return self.num_right / max(self.num_found, 1)

    @property
    def recall(self) -> float:
        """Share of the planted errors that were found."""
        return self.num_right / max(self.num_planted, 1)


def find_planted_errors(
    features: FeatureDataset,
    fraction: float,
    seeds: Sequence[int] = (0,),
    *,
    splits: Sequence[str] | None = None,
    network: str | None = None,
    hold_out: str = "groups",
) -> list[PlantedErrors]:
    """Changes the labels of some clips, in memory, and searches for these errors like `find_label_errors`.

    In single-label data, a clip gets another class at random. In multi-label data, one known class is flipped.

    Args:
        fraction: share of the clips to change.
        seeds: for the clips, classes and folds; one result per seed.
        splits, network, hold_out: as for `find_label_errors`.

    Raises:
        InputError: an invalid share, or an error of `find_label_errors`.
    """
    if not 0 < fraction <= 0.5:
        raise InputError(f"--plant must be above 0 and at most 0.5, found {fraction:g}: try 0.1")
    require_cleanlab()
    clips, labels = clips_of(features, checked_splits(features, splits)), features.labels
    vectors, clip_of_window = window_vectors(features, clips.clip_ids, network)
    draws = []
    for seed in seeds:
        planted, targets = plant(clips.targets, fraction, labels.is_multi_label, seed)
        changed = ClipTable(clips.rows, targets)
        probabilities = out_of_fold(vectors, clip_of_window, changed, labels, hold_out=hold_out, seed=seed)
        found = errors_among(changed, probabilities, labels)
        wrong = {clips.clip_ids[clip] for clip in planted}
        flagged = {error.row["clip_id"] for error in found.errors}
        draws.append(PlantedErrors(len(wrong), len(flagged), len(wrong & flagged), found))
    return draws


def plant(targets: np.ndarray, fraction: float, is_multi_label: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The changed clips, ascending, and the new targets `[clips, classes]`; unknown ones stay NaN."""
    random = np.random.default_rng(seed)
    num_planted = max(1, round(fraction * len(targets)))
    planted = np.sort(random.choice(len(targets), num_planted, replace=False))
    targets = targets.copy()
    for clip in planted:
        if is_multi_label:
            known = np.flatnonzero(~np.isnan(targets[clip]))
            if len(known):
                flipped = random.choice(known)
                targets[clip, flipped] = 1 - targets[clip, flipped]
        else:
            others = np.flatnonzero(targets[clip] == 0)
            targets[clip] = 0
            targets[clip, random.choice(others)] = 1
    return planted, targets
