"""Losses on logits and float targets `[batch, classes]`, computed outside the model.

Targets are probabilities: one-hot or multi-hot, or anything between after mixup, so no case is special. NaN in
multi-label targets says that nothing is known of that class in that clip. Each loss is one number per window; a batch's
is their plain mean. Class weights multiply a class's terms and never enter the denominator, nor does the number of
known targets: otherwise the mean of several micro-batches, or of several processes, would differ from the mean over all
their samples together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hf_audio.config.loss import LossConfig
from hf_audio.errors import InputError
from hf_audio.losses.class_weights import class_weights_from_counts
from hf_audio.losses.focusing import asymmetric, binary_focal, focal
from hf_audio.models.window_losses import binary_cross_entropy, cross_entropy

if TYPE_CHECKING:
    from hf_audio.data.index.labels import LabelSpace

__all__ = ["Loss", "class_weights_from_counts", "loss_for", "smooth_targets", "window_losses_for"]

Loss = Callable[[Tensor, Tensor], Tensor]


def loss_for(
    labels: LabelSpace, class_weights: np.ndarray | Tensor | None = None, settings: LossConfig | None = None
) -> Loss:
    """The loss of a task: (logits `[batch, classes]`, targets `[batch, classes]`) -> scalar, the mean over the batch.

    Args, errors: see `window_losses_for`.
    """
    losses = window_losses_for(labels, class_weights, settings)
    return lambda logits, targets: losses(logits, targets).mean()


def window_losses_for(
    labels: LabelSpace, class_weights: np.ndarray | Tensor | None = None, settings: LossConfig | None = None
) -> Loss:
    """The losses of a task: (logits `[batch, classes]`, targets `[batch, classes]`) -> `[batch]`, in float32.

    Args:
        labels: multi-label tasks get the binary form of a loss, single-label ones that over a softmax.
        class_weights: float `[classes]`, see `class_weights_from_counts`.
        settings: which loss, by default cross-entropy.

    Raises:
        InputError: another number of weights, or a loss that is for several labels only.
    """
    if class_weights is not None and len(class_weights) != len(labels):
        raise InputError(f"Found {len(class_weights)} class weights for {len(labels)} classes; give one per class")
    weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
    function = _function(settings or LossConfig(), labels)

    def losses(logits: Tensor, targets: Tensor) -> Tensor:
        nonlocal weights
        weights = None if weights is None else weights.to(logits.device)  # copied once, not at each step
        return function(logits.float(), targets.float(), weights)

    return losses


def _function(settings: LossConfig, labels: LabelSpace) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    if settings.loss == "focal":
        return partial(binary_focal if labels.is_multi_label else focal, gamma=settings.focal_gamma)
    if settings.loss == "asymmetric":
        if not labels.is_multi_label:
            raise InputError(
                "--loss asymmetric is for several labels, where most answers are no, and each clip has exactly one "
                "class here: give --loss focal, or leave it out"
            )
        gammas = {"positive_gamma": settings.positive_gamma, "negative_gamma": settings.negative_gamma}
        return partial(asymmetric, **gammas, negative_margin=settings.negative_margin)
    return binary_cross_entropy if labels.is_multi_label else cross_entropy


def smooth_targets(targets: Tensor, factor: float, labels: LabelSpace) -> Tensor:
    """Label smoothing (Szegedy et al. 2016): each target moves by the share `factor` towards an even answer.

    Even is 1 / classes for a single label, and 1/2 for each class where they are independent. Unknown ones (NaN) stay
    unknown.
    """
    return targets * (1 - factor) + factor * (0.5 if labels.is_multi_label else 1 / len(labels))
