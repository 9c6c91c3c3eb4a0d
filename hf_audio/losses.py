"""Losses on logits and float targets `[batch, classes]`, computed outside the model.

Targets are probabilities: one-hot or multi-hot, or anything between after mixup, so no case is special. NaN in
multi-label targets says that nothing is known of that class in that clip. Each loss is one number per window; a batch's
is their plain mean. Class weights multiply a class's terms and never enter the denominator, nor does the number of
known targets: otherwise the mean of several micro-batches, or of several processes, would differ from the mean over all
their samples together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hf_audio.errors import InputError
from hf_audio.models.window_losses import binary_cross_entropy, cross_entropy

if TYPE_CHECKING:
    from hf_audio.data.index.labels import LabelSpace

Loss = Callable[[Tensor, Tensor], Tensor]


def loss_for(labels: LabelSpace, class_weights: np.ndarray | Tensor | None = None) -> Loss:
    """The loss of a task: (logits `[batch, classes]`, targets `[batch, classes]`) -> scalar, the mean over the batch.

    Args, errors: see `window_losses_for`.
    """
    losses = window_losses_for(labels, class_weights)
    return lambda logits, targets: losses(logits, targets).mean()


def window_losses_for(labels: LabelSpace, class_weights: np.ndarray | Tensor | None = None) -> Loss:
    """The losses of a task: (logits `[batch, classes]`, targets `[batch, classes]`) -> `[batch]`, in float32.

    Args:
        labels: multi-label tasks get binary cross-entropy, single-label ones cross-entropy.
        class_weights: float `[classes]`, see `class_weights_from_counts`.
    """
    if class_weights is not None and len(class_weights) != len(labels):
        raise InputError(f"Found {len(class_weights)} class weights for {len(labels)} classes; give one a class")
    weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
    function = binary_cross_entropy if labels.is_multi_label else cross_entropy

    def losses(logits: Tensor, targets: Tensor) -> Tensor:
        nonlocal weights
        weights = None if weights is None else weights.to(logits.device)  # copied once, not at each step
        return function(logits.float(), targets.float(), weights)

    return losses


def smooth_targets(targets: Tensor, factor: float, labels: LabelSpace) -> Tensor:
    """Label smoothing (Szegedy et al. 2016): each target moves by the share `factor` towards an even answer.

    Even is 1 / classes for a single label, and 1/2 for each class where they are independent. Unknown ones (NaN) stay
    unknown.
    """
    return targets * (1 - factor) + factor * (0.5 if labels.is_multi_label else 1 / len(labels))


def class_weights_from_counts(
    label_counts: np.ndarray, num_clips: int | np.ndarray, labels: LabelSpace, max_weight: float = 20.0
) -> np.ndarray:
    """Weights float32 `[classes]` that make rare classes count as much as common ones.

    Multi-label: negatives per positive of the class (`pos_weight` of binary cross-entropy). Single-label: inverse
    frequency, so that a sample's weight is 1 on average. Weights stay within 1/`max_weight` and `max_weight`: a class
    of five clips would otherwise take over the gradient whenever one of them is drawn.

    Args:
        label_counts: number of training clips (or windows) of each class `[classes]`.
        num_clips: number of training clips (or windows); where labels are partial, of those of which each class is
            known `[classes]`. `FeatureDataset.class_counts` gives both.

    Raises:
        InputError: a class has no training clip.
    """
    counts = np.asarray(label_counts, dtype=np.float64)
    if (counts <= 0).any():
        absent = ", ".join(name for name, count in zip(labels.names, counts, strict=True) if count <= 0)
        raise InputError(f"No training clip carries {absent}: class weights need at least one a class; drop the class")
    num_clips = np.asarray(num_clips, dtype=np.float64)
    weights = (num_clips - counts) / counts if labels.is_multi_label else num_clips / (len(counts) * counts)
    return np.clip(weights, 1 / max_weight, max_weight).astype(np.float32)
