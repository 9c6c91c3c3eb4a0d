"""The distillation loss between a model and its teacher: Hinton et al. 2015, arXiv 1503.02531.

Logits of both are divided by the temperature, and the loss is multiplied by its square, so that at any temperature the
gradients are about as large as those of the loss on labels.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def softmax_distance(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of the model's softmax from the teacher's, times temperature squared, `[batch]`.

    Args:
        logits, taught: logits of the model and the teacher, float `[batch, classes]`, with the same order of classes.
    """
    own, wanted = ((one / temperature).log_softmax(dim=1) for one in (logits, taught))
    return functional.kl_div(own, wanted, reduction="none", log_target=True).sum(dim=1) * temperature**2


def sigmoid_distance(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Binary cross-entropy with the teacher's probabilities, mean over classes, times temperature squared, `[batch]`.
    Takes the same arguments as `softmax_distance`."""
    own, wanted = logits / temperature, (taught / temperature).sigmoid()
    losses = functional.binary_cross_entropy_with_logits(own, wanted, reduction="none")
    return losses.mean(dim=1) * temperature**2
