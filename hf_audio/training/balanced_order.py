"""Balanced sampling: windows of rare classes come more often in an epoch, others less or not at all.

An epoch keeps its number of windows. A window is expected `num_windows * share` times in it, and drawn that often to
the next whole number below or above (systematic sampling), and classes come as often as planned in each epoch, not on
average only. What is drawn depends on the seed and the epoch alone: the same in every process and after a resume.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.training.objective import Objective


def window_shares(objective: Objective, balance: str) -> np.ndarray | None:
    """How often each training window is to be drawn, float64 `[windows]` of sum 1; None where all are alike.

    A window weighs by the number of windows that have its label: 1 / number (full) or 1 / sqrt(number); of several
    labels by the rarest. Windows without a label are a class of their own.

    Args:
        objective: whose features are trained on.
        balance: "none", "sqrt" or "full".

    Raises:
        InputError: a streamed split, or a loss that weighs rare classes too.
    """
    if balance == "none":
        return None
    if objective.settings().get("class_weights"):
        raise InputError(
            "--balanced_sampling and --class_weights both make rare classes count more: leave one of the two out"
        )
    features = objective.features
    if features.streamed is not None:
        raise InputError(
            "--balanced_sampling draws from all windows, and a stream is read block by block: give --streaming false, "
            "or --class_weights balanced in its place"
        )
    rows, labels = _labelled(features)
    num_windows, num_classes = len(features.splits["train"]), len(features.labels.names)
    counts = np.bincount(labels, minlength=num_classes)
    weight_of = np.maximum(counts, 1) ** (-1.0 if balance == "full" else -0.5)
    weights = np.zeros(num_windows)
    np.maximum.at(weights, rows, weight_of[labels])
    unlabelled = weights == 0
    if unlabelled.any():
        weights[unlabelled] = unlabelled.sum() ** (-1.0 if balance == "full" else -0.5)
    return weights / weights.sum()


def class_shares(features: FeatureDataset, shares: np.ndarray) -> dict[str, float]:
    """Which part of the windows drawn has each class, for a report; of several labels they add up to more than 1."""
    rows, labels = _labelled(features)
    found = np.bincount(labels, weights=shares[rows], minlength=len(features.labels.names))
    return {name: round(float(share), 4) for name, share in zip(features.labels.names, found, strict=True)}


def balanced_order(shares: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The windows of one epoch in random order, int64 `[windows]`."""
    num_windows = len(shares)
    shuffled = generator.permutation(num_windows)
    shuffled = shuffled[np.argsort(shares[shuffled], kind="stable")]  # class by class, each in random order
    ends = np.minimum(num_windows * np.cumsum(shares[shuffled]), num_windows)
    ends[-1] = num_windows  # whatever rounding did
    before = np.ceil(np.concatenate([[0.0], ends]) - generator.random())
    return generator.permutation(np.repeat(shuffled, np.diff(before).astype(np.int64)))


def _labelled(features: FeatureDataset) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the training windows and of their labels, one entry per label of a window."""
    column = features.splits["train"].select_columns(["labels"]).with_format("arrow")[:]["labels"]
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pc.list_parent_indices(column).to_numpy(), pc.list_flatten(column).to_numpy(zero_copy_only=False)
