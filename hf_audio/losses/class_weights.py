"""Weights that make rare classes count more, from the number of training clips per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hf_audio.errors import InputError, unknown_name

if TYPE_CHECKING:
    from hf_audio.data.index.labels import LabelSpace

SCHEMES = ("balanced", "effective")
MAX_WEIGHT = 20.0
EFFECTIVE_BETA = 0.999  # the paper's value for datasets of a few thousand clips


def class_weights_from_counts(
    label_counts: np.ndarray, num_clips: int | np.ndarray, labels: LabelSpace, scheme: str = "balanced"
) -> np.ndarray:
    """Weights float32 `[classes]` that make rare classes count more.

    "balanced": all classes count the same. For multi-label, the weight is the number of negatives per positive
    (`pos_weight` of binary cross-entropy); for single-label, the inverse frequency, so that the mean over clips is 1.

    "effective": by the effective number of samples, `(1 - beta^n) / (1 - beta)` with beta 0.999 (Cui et al. 2019,
    arXiv 1901.05555, equation 2): classes with more than a few thousand clips have about equal weights. Their mean is
    1.

    Weights are limited to 1/20 to 20: otherwise a class of five clips would dominate the gradient whenever one of them
    is drawn.

    Args:
        label_counts: number of training clips (or windows) per class `[classes]`.
        num_clips: number of training clips (or windows); with partial labels, the number for which each class is known
            `[classes]`. `FeatureDataset.class_counts` gives both.
        scheme: one of SCHEMES.

    Raises:
        InputError: a class has no training clips, or the scheme is unknown.
    """
    counts = np.asarray(label_counts, dtype=np.float64)
    if (counts <= 0).any():
        absent = ", ".join(name for name, count in zip(labels.names, counts, strict=True) if count <= 0)
        raise InputError(f"No training clip has {absent}, but class weights need clips of each class: remove the class")
    if scheme not in SCHEMES:
        raise unknown_name("class_weights", scheme, SCHEMES)
    num_clips = np.asarray(num_clips, dtype=np.float64)
    if scheme == "effective":
        inverse = (1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA**counts)
        weights = inverse / inverse.mean()
    else:
        weights = (num_clips - counts) / counts if labels.is_multi_label else num_clips / (len(counts) * counts)
    return np.clip(weights, 1 / MAX_WEIGHT, MAX_WEIGHT).astype(np.float32)
