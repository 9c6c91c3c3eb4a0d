"""Losses that focus on difficult windows: one number per window, as in `models/window_losses.py`.

Targets are probabilities. In multi-label targets, NaN means unknown; its terms and gradients are 0. The keyword
arguments of a loss are its settings in `LossConfig`; reports read their names from here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def focal(logits: Tensor, targets: Tensor, class_weights: Tensor | None = None, *, focal_gamma: float = 2.0) -> Tensor:
    """Focal loss with softmax (Lin et al. 2017, arXiv 1708.02002): cross-entropy whose terms are multiplied by
    `(1 - p) ** focal_gamma` for the class's probability p, `[batch]`; gamma 0 is cross-entropy."""
    log_probabilities = logits.log_softmax(dim=1)
    terms = -targets * _power(1 - log_probabilities.exp(), focal_gamma) * log_probabilities
    return (terms if class_weights is None else terms * class_weights).sum(dim=1)


def binary_focal(
    logits: Tensor, targets: Tensor, class_weights: Tensor | None = None, *, focal_gamma: float = 2.0
) -> Tensor:
    """Multi-label focal loss, mean over classes, `[batch]`: terms of positives are multiplied by
    `(1 - p) ** focal_gamma`, those of negatives by `p ** focal_gamma`; `class_weights` multiply the positive terms."""
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
    """Asymmetric multi-label loss (Ridnik et al. 2021, arXiv 2009.14119), mean over classes, `[batch]`.

    Focusing is stronger for negatives, which are the majority, than for positives. Negatives whose probability is below
    `negative_margin` do not count at all: `p` is replaced by `max(p - negative_margin, 0)`.
    """
    unknown = targets.isnan()
    logits, targets = logits.masked_fill(unknown, 0.0), targets.masked_fill(unknown, 0.0)
    probabilities = logits.sigmoid()
    positive = -functional.logsigmoid(logits) * _power(1 - probabilities, positive_gamma)
    if negative_margin:
        shifted = (probabilities - negative_margin).clamp(min=0.0)
        rest = (1 - shifted).clamp(min=torch.finfo(shifted.dtype).eps)  # rounded to 0 by a tiny margin
        negative = -rest.log() * _power(shifted, negative_gamma)
    else:
        negative = -functional.logsigmoid(-logits) * _power(probabilities, negative_gamma)
    if class_weights is not None:
        positive = positive * class_weights
    terms = targets * positive + (1 - targets) * negative
    return terms.masked_fill(unknown, 0.0).mean(dim=1)


def _power(shares: Tensor, gamma: float) -> Tensor:
    """`shares ** gamma` with `shares` clamped above 0: at 0, a gamma between 0 and 1 would give a NaN gradient."""
    return shares.clamp(min=torch.finfo(shares.dtype).tiny) ** gamma
