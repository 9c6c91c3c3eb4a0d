"""Choosing among the patches of windows, each window its own: what pretraining hides, moves and scores."""

from __future__ import annotations

import torch
from torch import Tensor


def order_of(noise: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """A window's patches in random order, those of padding last: (patch of each rank, rank of each patch)."""
    order = noise.masked_fill(~real, torch.inf).argsort(dim=1)
    return order, order.argsort(dim=1)


def share_of(fraction: float, count: Tensor) -> Tensor:
    """`fraction` of an integer `count`, rounded to the nearest integer, halves up."""
    return (fraction * count.float() + 0.5).floor().long()


def gather_patches(patches: Tensor, index: Tensor) -> Tensor:
    """`[batch, patches, size]` and int64 `[batch, chosen]` → `[batch, chosen, size]`."""
    return patches.gather(1, index[:, :, None].expand(-1, -1, patches.shape[-1]))


def mean_over(values: Tensor, scored: Tensor) -> Tensor:
    """Of values `[batch, patches]` the mean `[batch]` over those that are scored; 0 where none is."""
    return (values * scored).sum(dim=1) / scored.sum(dim=1).clamp(min=1)


def sine_positions(rows: int, columns: int, width: int) -> Tensor:
    """Positions `[rows * columns, width]`: sines and cosines of the row in one half, of the column in the other."""
    frequencies = 10_000 ** (-torch.arange(width // 4) / (width // 4))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [place.flatten()[:, None] * frequencies for place in (row, column)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)
