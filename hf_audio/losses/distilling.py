"""The distillation loss between a model and its teacher: Hinton et al. 2015, arXiv 1503.02531.

Logits of both are divided by the temperature, and the loss is multiplied by its square, so that gradients stay about as
large as those of the labels' loss at any temperature.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def softmax_distance(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of the model's softmax from the teacher's, times temperature squared, `[batch]`.

    Args:
        logits, taught: of the model and of its teacher, float `[batch, classes]`, the same classes in the same order.
    """
    own, wanted = ((one / temperature).log_softmax(dim=1) for one in (logits, taught))
    return functional.kl_div(own, wanted, reduction="none", log_target=True).sum(dim=1) * temperature**2


def sigmoid_distance(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Binary cross-entropy to the teacher's probabilities, the mean over the classes, times temperature squared,
    `[batch]`. Arguments as of `softmax_distance`."""
    own, wanted = logits / temperature, (taught / temperature).sigmoid()
    losses = functional.binary_cross_entropy_with_logits(own, wanted, reduction="none")
    return losses.mean(dim=1) * temperature**2
