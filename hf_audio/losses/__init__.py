"""Losses on logits, float targets `[batch, classes]` and embeddings, computed outside the model.

Targets are probabilities: one-hot, multi-hot or, after mixup, values between 0 and 1, so there are no special cases. In
multi-label targets, NaN means that a class is unknown for a clip. Each loss is one number per window, and a batch's
loss is their mean. The denominator does not include class weights or the number of known targets: otherwise the mean
over micro-batches or processes would differ from the mean over all their windows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from hf_audio.config.loss import LossConfig
from hf_audio.data.index.labels import LabelSpace
from hf_audio.losses.class_weights import class_weights_from_counts
from hf_audio.losses.task_loss import TaskLoss, smooth_targets

__all__ = [
    "TaskLoss",
    "class_weights_from_counts",
    "loss_for",
    "smooth_targets",
]


def loss_for(
    labels: LabelSpace, class_weights: np.ndarray | Tensor | None = None, settings: LossConfig | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a task: (logits `[batch, classes]`, targets `[batch, classes]`) -> scalar, the mean over the batch.

    Args, errors: see `TaskLoss`.
    """
    losses = TaskLoss(labels, settings, class_weights=class_weights)
    return lambda logits, targets: losses.of_logits(logits, targets).mean()
