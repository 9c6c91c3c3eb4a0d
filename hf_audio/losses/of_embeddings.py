"""Losses on embeddings, the input of the classifier, for single-label tasks; they are added to the loss on logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SURE = 1 - 1e-4  # minimum target of a window that is not a mixture of several classes


def batch_hard_triplet(embedding: Tensor, targets: Tensor, margin: float) -> Tensor:
    """Triplet loss of each window with its hardest partners in the batch (Hermans et al. 2017, arXiv 1703.07737).

    max(0, margin + distance to the farthest window of its class - distance to the nearest window of another class),
    `[batch]`. Distances are Euclidean between embeddings scaled to length 1, so that a margin means the same for all
    models; the paper does not scale them. Windows without such partners have a loss of 0, as do mixtures of several
    classes, which are not used as partners either.

    The loss of a window depends on the other windows in the batch, which in training is one process's micro-batch. For
    the same global batch, more gradient accumulation or more processes leave fewer partners.

    Args:
        embedding: `[batch, size]`.
        targets: `[batch, classes]`, not smoothed.
        margin: between 0 and 2.
    """
    share, classes = targets.max(dim=1)
    sure = share >= SURE
    both_sure = sure[:, None] & sure
    same = classes[:, None] == classes
    others = ~torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    positive, negative = both_sure & same & others, both_sure & ~same
    unit = functional.normalize(embedding)
    distances = torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist")
    farthest = distances.masked_fill(~positive, -torch.inf).amax(dim=1)
    nearest = distances.masked_fill(~negative, torch.inf).amin(dim=1)
    has_both = positive.any(dim=1) & negative.any(dim=1)
    # missing partners are replaced before the difference: infinite distances would give NaN gradients
    farthest, nearest = (one.masked_fill(~has_both, 0.0) for one in (farthest, nearest))
    return (margin + farthest - nearest).relu().masked_fill(~has_both, 0.0)


class CenterLoss(nn.Module):
    """Half the squared distance to the center of a window's class (Wen et al. 2016, ECCV, equation 2), `[batch]`.

    Centers are parameters `[classes, size]`. The paper moves them by a separate rule; here the optimizer does, with a
    separate learning rate. For a mixture of several classes, each center is weighted by its share.

    A window's loss does not depend on other windows. The centers are those at the start of the step, the same in all
    processes.

    Args:
        learning_rate: learning rate of the centers.
    """

    def __init__(self, num_classes: int, size: int, learning_rate: float = 0.01) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.centers = nn.Parameter(torch.zeros(num_classes, size))

    def forward(self, embedding: Tensor, targets: Tensor) -> Tensor:
        """Embeddings `[batch, size]` and targets `[batch, classes]`, not smoothed -> `[batch]`."""
        squares = (embedding[:, None, :] - self.centers).square().sum(dim=2)
        return 0.5 * (targets * squares).sum(dim=1)
