"""Turns probabilities into decisions: the largest in single-label tasks, otherwise by thresholds from validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.metrics import choose_threshold, decide

# With fewer validation clips of a class, the best threshold of the class would depend on single clips.
MIN_CLIPS = 5


def choose_thresholds(
    probabilities: np.ndarray, targets: np.ndarray, labels: LabelSpace, per_class: bool = False
) -> np.ndarray:
    """Thresholds with the best F1 on validation clips. Never choose them on the clips that are evaluated.

    Args:
        probabilities, targets: `[clips, classes]` of validation.
        per_class: one threshold per class (best F1 of the class) instead of one for all (best micro F1). Classes of
            `sharing_a_threshold` have too few clips, and use the common one.

    Returns:
        float64 `[classes]`; all 0.5 for single-label tasks, which do not use thresholds.

    Raises:
        InputError: thresholds per class for a single-label task.
    """
    if not labels.is_multi_label:
        if per_class:
            raise InputError(
                "Thresholds per class have no effect on single-label data, where the largest score decides: leave "
                "them out"
            )
        return np.full(len(labels), 0.5)
    thresholds = np.full(len(labels), choose_threshold(probabilities, targets))
    if per_class:
        shared = set(sharing_a_threshold(targets, labels))
        for number, name in enumerate(labels.names):
            if name not in shared:
                one = slice(number, number + 1)
                thresholds[number] = choose_threshold(probabilities[:, one], targets[:, one])
    return thresholds


def sharing_a_threshold(targets: np.ndarray, labels: LabelSpace) -> tuple[str, ...]:
    """Classes with fewer than MIN_CLIPS validation clips that have them, or that are known to lack them."""
    targets = np.asarray(targets)
    fewer = np.minimum((targets > 0.5).sum(axis=0), (targets <= 0.5).sum(axis=0))
    return tuple(name for name, count in zip(labels.names, fewer, strict=True) if count < MIN_CLIPS)


def decisions_of(probabilities: np.ndarray, labels: LabelSpace, thresholds: np.ndarray | Sequence[float]) -> np.ndarray:
    """int8 `[clips, classes]`: the largest score, or each score that reaches its class's threshold.

    Raises:
        InputError: the thresholds are not one number in [0, 1] per class.
    """
    thresholds = np.asarray(thresholds, dtype=np.float64)
    if thresholds.shape != (len(labels),) or not ((thresholds >= 0) & (thresholds <= 1)).all():
        raise InputError(
            f"Found thresholds {thresholds.tolist()} for {len(labels)} classes; each class needs one from 0 to 1"
        )
    return decide(probabilities, labels, thresholds)
