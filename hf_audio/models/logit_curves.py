"""Monotonic curves that map logits after the head, to calibrate a trained model when scaling and shifting are not
enough.

They are buffers of the model, saved with its weights, and never trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Slope of the flat parts of a curve, so that logits keep their order
MIN_RISE = 1e-4
SMALLEST_STEP = 1e-12  # between points of a curve: avoids a division by 0 for repeated points


class LogitCurves(nn.Module):
    """Logits `[..., classes]` -> `[..., classes]`, by line segments between points; flat outside the first and last.

    Args:
        num_labels: number of classes.
        points: number of points per curve.
        shared: one curve for all classes, on their log-probabilities (softmax); otherwise one per class, on its logit.
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
        # position on each segment, 0 before it and 1 after it: elementwise operations only, for exporters
        along = ((scores[..., None] - self.knots[:, :-1]) / steps).clamp(0, 1)
        return self.values[:, 0] + (along * self.values.diff(dim=1)).sum(dim=-1) + MIN_RISE * scores
