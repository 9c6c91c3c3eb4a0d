"""Rising curves that logits go through behind the head, by which a trained model is calibrated where no line will do.

They are buffers of the model, saved with its weights, and never trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# What a curve rises by where it would be flat, per unit of the logit, so that logits keep their order
MIN_RISE = 1e-4
SMALLEST_STEP = 1e-12  # between two points of a curve; of repeated ones it is 0, which nothing can be divided by


class LogitCurves(nn.Module):
    """Logits `[..., classes]` -> `[..., classes]`, by line segments between points; flat beyond the first and last.

    Args:
        num_labels: the classes.
        points: of a curve.
        shared: one curve for all classes, on their log-probabilities (softmax); else one per class, on its logit.
    """

    def __init__(self, num_labels: int, points: int, shared: bool) -> None:
        super().__init__()
        self.shared = shared
        size = (1 if shared else num_labels, points)
        self.register_buffer("knots", torch.zeros(size))
        self.register_buffer("values", torch.zeros(size))

    def forward(self, logits: Tensor) -> Tensor:
        scores = logits.float()
        if self.shared:
            scores = functional.log_softmax(scores, dim=-1)
        steps = self.knots.diff(dim=1).clamp(min=SMALLEST_STEP)
        # how far along each segment, 0 in front of it and 1 behind: all operations are elementwise, for exporters
        along = ((scores[..., None] - self.knots[:, :-1]) / steps).clamp(0, 1)
        return self.values[:, 0] + (along * self.values.diff(dim=1)).sum(dim=-1) + MIN_RISE * scores
