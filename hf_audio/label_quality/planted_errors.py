"""How far a list of label errors can be trusted: labels changed on purpose, and how many of them are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.label_quality.clip_vectors import ClipTable, clips_of, window_vectors
from hf_audio.label_quality.errors import LabelErrors, checked_splits, errors_among, out_of_fold


@dataclass(frozen=True)
class PlantedErrors:
    """What became of the labels that were turned wrong.

    Attributes:
        num_planted, num_found: clips with a label turned wrong, and all clips that were called wrong.
        num_right: clips that are in both.
        found: all that was found.
    """

    num_planted: int
    num_found: int
    num_right: int
    found: LabelErrors

    @property
    def precision(self) -> float:
        """Share of what was found that was planted. Errors that were there before count as wrongly found."""
        return self.num_right / max(self.num_found, 1)

    @property
    def recall(self) -> float:
        """Share of what was planted that was found."""
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
    """Turns labels of some clips wrong, in memory, and searches for them as `find_label_errors` would.

    A clip with one label gets another class, drawn evenly; of one with several, one known class is turned round.

    Args:
        fraction: share of the clips to turn wrong.
        seeds: of the clips and classes, and of the folds; each gives a result.
        splits, network, hold_out: of `find_label_errors`.

    Raises:
        InputError: a share that leaves nothing to learn from, and as `find_label_errors`.
    """
    if not 0 < fraction <= 0.5:
        raise InputError(f"--plant {fraction:g} must be above 0 and at most 0.5: try 0.1")
    clips, labels = clips_of(features, checked_splits(features, splits)), features.labels
    vectors, clip_of_window = window_vectors(features, clips.clip_ids, network)
    draws = []
    for seed in seeds:
        planted, targets = plant(clips.targets, fraction, labels.is_multi_label, seed)
        turned = ClipTable(clips.rows, targets)
        probabilities = out_of_fold(vectors, clip_of_window, turned, labels, hold_out=hold_out, seed=seed)
        found = errors_among(turned, probabilities, labels)
        wrong = {clips.clip_ids[clip] for clip in planted}
        called = {error.row["clip_id"] for error in found.errors}
        draws.append(PlantedErrors(len(wrong), len(called), len(wrong & called), found))
    return draws


def plant(targets: np.ndarray, fraction: float, is_multi_label: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which clips were turned wrong, sorted, and the targets `[clips, classes]` after it; NaN (unknown) stays."""
    random = np.random.default_rng(seed)
    num_planted = max(1, round(fraction * len(targets)))
    planted = np.sort(random.choice(len(targets), num_planted, replace=False))
    targets = targets.copy()
    for clip in planted:
        if is_multi_label:
            known = np.flatnonzero(~np.isnan(targets[clip]))
            if len(known):
                turned = random.choice(known)
                targets[clip, turned] = 1 - targets[clip, turned]
        else:
            others = np.flatnonzero(targets[clip] == 0)
            targets[clip] = 0
            targets[clip, random.choice(others)] = 1
    return planted, targets
