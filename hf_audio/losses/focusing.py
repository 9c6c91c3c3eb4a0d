"""Losses that focus on what is not yet correct: one number per window, as in `models/window_losses.py`.

Targets are probabilities; NaN in those of several labels is unknown, whose terms and gradients are 0. Keywords are the
settings of `LossConfig` that a loss has: reports read them here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def focal(logits: Tensor, targets: Tensor, class_weights: Tensor | None = None, *, focal_gamma: float = 2.0) -> Tensor:
    """Focal loss over a softmax (Lin et al. 2017, arXiv 1708.02002): cross-entropy whose terms are multiplied by
    `(1 - p) ** focal_gamma` of the class's probability p, `[batch]`; with 0 it is cross-entropy."""
    log_probabilities = logits.log_softmax(dim=1)
    terms = -targets * _power(1 - log_probabilities.exp(), focal_gamma) * log_probabilities
    return (terms if class_weights is None else terms * class_weights).sum(dim=1)


def binary_focal(
    logits: Tensor, targets: Tensor, class_weights: Tensor | None = None, *, focal_gamma: float = 2.0
) -> Tensor:
    """The same for independent classes, the mean over them, `[batch]`: a positive's terms are multiplied by
    `(1 - p) ** focal_gamma`, a negative's by `p ** focal_gamma`; `class_weights` multiply the positive ones."""
    gammas = {"positive_gamma": focal_gamma, "negative_gamma": focal_gamma}
    return asymmetric(logits, targets, class_weights, **gammas, negative_margin=0.0)


def asymmetric(
    logits: Tensor,
    targets: Tensor,
    class_weights: Tensor | None = None,
    *,
    positive_gamma: float = 1.0,
    negative_gamma: float = 4.0,
    negative_margin: float = 0.05,
) -> Tensor:
    """Asymmetric loss for several labels (Ridnik et al. 2021, arXiv 2009.14119), the mean over the classes, `[batch]`.

    Negatives, of which there are most, are focused harder than positives, and do not count at all where their
    probability is below `negative_margin`: `p` is replaced by `max(p - negative_margin, 0)` there.
    """
    unknown = targets.isnan()
    logits, targets = logits.masked_fill(unknown, 0.0), targets.masked_fill(unknown, 0.0)
    probabilities = logits.sigmoid()
    positive = -functional.logsigmoid(logits) * _power(1 - probabilities, positive_gamma)
    if negative_margin:
        shifted = (probabilities - negative_margin).clamp(min=0.0)
        negative = -(1 - shifted).log() * _power(shifted, negative_gamma)
    else:
        negative = -functional.logsigmoid(-logits) * _power(probabilities, negative_gamma)
    if class_weights is not None:
        positive = positive * class_weights
    terms = targets * positive + (1 - targets) * negative
    return terms.masked_fill(unknown, 0.0).mean(dim=1)


def _power(shares: Tensor, gamma: float) -> Tensor:
    """`shares ** gamma`, whose slope at 0 would be infinite for a gamma between 0 and 1, and its gradient no number."""
    return shares.clamp(min=torch.finfo(shares.dtype).tiny) ** gamma
