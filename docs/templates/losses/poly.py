"""A template of a loss: cross-entropy with a term more. Copy it to hf_audio/losses/.

Targets are probabilities `[batch, classes]`, also between 0 and 1 after mixup. What a loss takes by keyword alone are
its settings: fields of `LossConfig` with the same names, which reports then hold.
"""

from __future__ import annotations

from torch import Tensor

from hf_audio.models.window_losses import cross_entropy


def poly(logits: Tensor, targets: Tensor, class_weights: Tensor | None = None, *, poly_epsilon: float = 1.0) -> Tensor:
    """Poly-1 (Leng et al. 2022, arXiv 2204.12511): cross-entropy plus `poly_epsilon * (1 - p)` of the probability p of
    the class, `[batch]`; with 0 it is cross-entropy. Class weights multiply the terms of their class."""
    weights = targets if class_weights is None else targets * class_weights
    missing = (weights * (1 - logits.softmax(dim=1))).sum(dim=1)
    return cross_entropy(logits, targets, class_weights) + poly_epsilon * missing
