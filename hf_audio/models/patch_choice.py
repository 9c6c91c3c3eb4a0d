"""Choosing patches for pretraining to hide, move and score, separately for each window."""

from __future__ import annotations

import torch
from torch import Tensor


def order_of(noise: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """The patches of each window in random order, padding last: (patch of each rank, rank of each patch)."""
    order = noise.masked_fill(~real, torch.inf).argsort(dim=1)
    return order, order.argsort(dim=1)


def share_of(fraction: float, count: Tensor) -> Tensor:
    """`fraction` of an integer `count`, rounded to the nearest integer, half up."""
    return (fraction * count.float() + 0.5).floor().long()


def gather_patches(patches: Tensor, index: Tensor) -> Tensor:
    """`[batch, patches, size]` and int64 `[batch, chosen]` → `[batch, chosen, size]`."""
    return patches.gather(1, index[:, :, None].expand(-1, -1, patches.shape[-1]))


def mean_over(values: Tensor, scored: Tensor) -> Tensor:
    """Mean `[batch]` of values `[batch, patches]` over the scored patches; 0 if there are none."""
    return (values * scored).sum(dim=1) / scored.sum(dim=1).clamp(min=1)


def sine_positions(rows: int, columns: int, width: int) -> Tensor:
    """Position embeddings `[rows * columns, width]`: sines and cosines of the row, then of the column."""
    frequencies = 10_000 ** (-torch.arange(width // 4) / (width // 4))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [place.flatten()[:, None] * frequencies for place in (row, column)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)
