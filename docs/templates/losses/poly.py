"""A template for a loss: cross-entropy with an extra term. Copy it to hf_audio/losses/.

Targets are probabilities `[batch, classes]`; after mixup they are not only 0 and 1. Keyword-only arguments are the
settings of the loss: fields of `LossConfig` with the same names, which are recorded in reports.
"""

from __future__ import annotations

from torch import Tensor

from hf_audio.models.window_losses import cross_entropy


def poly(logits: Tensor, targets: Tensor, class_weights: Tensor | None = None, *, poly_epsilon: float = 1.0) -> Tensor:
    """Poly-1 (Leng et al. 2022, arXiv 2204.12511): cross-entropy plus `poly_epsilon * (1 - p)`, with the probability p
    of the class: `[batch]`. With 0, it is cross-entropy. Class weights multiply the terms of their class."""
    weights = targets if class_weights is None else targets * class_weights
    missing = (weights * (1 - logits.softmax(dim=1))).sum(dim=1)
    return cross_entropy(logits, targets, class_weights) + poly_epsilon * missing
