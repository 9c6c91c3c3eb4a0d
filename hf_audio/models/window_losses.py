"""The losses of a task, one number per window: what training computes, and what a model of ours gives with `labels`.

Targets are probabilities, one-hot, multi-hot or anything between; NaN in those of several labels is unknown.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def binary_cross_entropy(logits: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy over the classes of each window, `[batch]`; `class_weights` `[classes]` multiply the
    positive terms.

    Terms of unknown targets (NaN) are 0, and so is their gradient, whatever the logits say there. The denominator stays
    the number of classes all the same. Dividing by the number of known targets in a batch instead would let a known one
    weigh the more, the fewer others its micro-batch happens to hold: a step's loss, the mean over its micro-batches and
    processes, would then no longer be that of the whole batch, and depend on how batches are cut.
    """
    unknown = targets.isnan()
    return functional.binary_cross_entropy_with_logits(
        # Logits too are replaced: infinite ones would come back as NaN through the product with 0
        logits.masked_fill(unknown, 0.0),
        targets.masked_fill(unknown, 0.0),
        weight=(~unknown).to(logits.dtype),
        pos_weight=class_weights,
        reduction="none",
    ).mean(dim=1)


def cross_entropy(logits: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """-sum_c weight_c target_c log softmax(logits)_c of each window, `[batch]`.

    Their plain mean does not divide by the sum of the weights, as torch does where targets are class indices.
    """
    return functional.cross_entropy(logits, targets, weight=class_weights, reduction="none")
