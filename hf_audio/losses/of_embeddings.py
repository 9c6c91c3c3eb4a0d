"""Losses on the input of the classifier, for windows of one class each; they are added to the loss on the logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SURE = 1 - 1e-4  # a target from here on is of a window that is not mixed of several classes


def batch_hard_triplet(embedding: Tensor, targets: Tensor, margin: float) -> Tensor:
    """Triplet loss of each window with its hardest partners in the batch (Hermans et al. 2017, arXiv 1703.07737).

    max(0, margin + distance to the farthest window of its class - distance to the nearest of another), `[batch]`.
    Distances are Euclidean between embeddings scaled to length 1, so that a margin is the same for every model; the
    paper leaves them as they are. A window without such partners costs nothing. So does one that is mixed of several
    classes, which is nobody's partner either.

    It is no loss of one window: partners are sought among those that are given, which in training is the micro-batch
    of a process. With more gradient accumulation or processes, and as many windows in a step, there are fewer.

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
    # partners that are not there are replaced before the difference: infinite ones would give gradients that are NaN
    farthest, nearest = (one.masked_fill(~has_both, 0.0) for one in (farthest, nearest))
    return (margin + farthest - nearest).relu().masked_fill(~has_both, 0.0)


class CenterLoss(nn.Module):
    """Half the squared distance to the center of a window's class (Wen et al. 2016, ECCV, equation 2), `[batch]`.

    Centers are parameters `[classes, size]`: where the paper moves them by a rule of its own, here the optimizer does,
    at a rate of their own. Of a window that is mixed of several classes, each center counts by its share.

    Each window's loss is its own. The centers are those of the step's beginning, the same in all processes.

    Args:
        learning_rate: of the centers.
    """

    def __init__(self, num_classes: int, size: int, learning_rate: float = 0.01) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.centers = nn.Parameter(torch.zeros(num_classes, size))

    def forward(self, embedding: Tensor, targets: Tensor) -> Tensor:
        """Embeddings `[batch, size]` and targets `[batch, classes]`, not smoothed -> `[batch]`."""
        squares = (embedding[:, None, :] - self.centers).square().sum(dim=2)
        return 0.5 * (targets * squares).sum(dim=1)
