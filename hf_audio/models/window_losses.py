"""The losses of a task, one number per window, in training and in our models' output if `labels` are given.

Targets are probabilities: one-hot, multi-hot or values between 0 and 1. In multi-label targets, NaN means unknown.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def binary_cross_entropy(logits: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy over the classes of each window, `[batch]`; `class_weights` `[classes]` multiply the
    positive terms.

    Terms of unknown targets (NaN) and their gradients are 0, for any logits. The denominator is always the number of
    classes. If it were the number of known targets in a batch, a known target would weigh more the fewer others are in
    its micro-batch. A step's loss, the mean over its micro-batches and processes, would then depend on how batches are
    divided.
    """
    unknown = targets.isnan()
    return functional.binary_cross_entropy_with_logits(
        # Logits are replaced too: infinite logits times 0 would be NaN
        logits.masked_fill(unknown, 0.0),
        targets.masked_fill(unknown, 0.0),
        weight=(~unknown).to(logits.dtype),
        pos_weight=class_weights,
        reduction="none",
    ).mean(dim=1)


def cross_entropy(logits: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """-sum_c weight_c target_c log softmax(logits)_c of each window, `[batch]`.

    The mean over windows does not divide by the sum of the weights, unlike torch's with class indices.
    """
    return functional.cross_entropy(logits, targets, weight=class_weights, reduction="none")
