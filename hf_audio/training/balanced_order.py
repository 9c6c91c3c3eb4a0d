"""Balanced sampling: windows of rare classes are drawn more often per epoch, others less often or not at all.

The number of windows per epoch does not change. A window is expected `num_windows * share` times and drawn that often,
rounded up or down (systematic sampling), so classes have their planned shares in each epoch, not only on average. The
draw depends only on seed and epoch: it is the same in all processes and after a resume.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.training.objective import Objective


def window_shares(objective: Objective, balance: str) -> np.ndarray | None:
    """The share of each training window in the draw, float64 `[windows]` with sum 1; None if all are equal.

    A window's weight is 1 / n (full) or 1 / sqrt(n), where n is the number of windows with its label; with several
    labels, the rarest counts. Windows without labels are a separate class.

    Args:
        objective: provides the features to train on.
        balance: "none", "sqrt" or "full".

    Raises:
        InputError: the split is streamed, or the loss also gives rare classes more weight.
    """
    if balance == "none":
        return None
    if objective.settings().get("class_weights"):
        raise InputError(
            "--balanced_sampling and --class_weights both make rare classes count more: use only one of the two"
        )
    features = objective.features
    if features.streamed is not None:
        raise InputError(
            "--balanced_sampling draws from all windows, but a stream is read block by block: use --streaming false, "
            "or --class_weights balanced instead"
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
    """The share of each class among the drawn windows, for a report; with several labels, the sum may exceed 1."""
    rows, labels = _labelled(features)
    found = np.bincount(labels, weights=shares[rows], minlength=len(features.labels.names))
    return {name: round(float(share), 4) for name, share in zip(features.labels.names, found, strict=True)}


def balanced_order(shares: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The windows of one epoch in random order, int64 `[windows]`."""
    num_windows = len(shares)
    shuffled = generator.permutation(num_windows)
    shuffled = shuffled[np.argsort(shares[shuffled], kind="stable")]  # class by class, each in random order
    ends = np.minimum(num_windows * np.cumsum(shares[shuffled]), num_windows)
    ends[-1] = num_windows  # despite rounding
    before = np.ceil(np.concatenate([[0.0], ends]) - generator.random())
    return generator.permutation(np.repeat(shuffled, np.diff(before).astype(np.int64)))


def _labelled(features: FeatureDataset) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of training windows and their label ids, one entry per label of each window."""
    column = features.splits["train"].select_columns(["labels"]).with_format("arrow")[:]["labels"]
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pc.list_parent_indices(column).to_numpy(), pc.list_flatten(column).to_numpy(zero_copy_only=False)
