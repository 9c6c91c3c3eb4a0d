"""Mel filters as thin blocks, since neighboring filters use few FFT bins.

This file is copied to published models, so it does not import hf_audio.
"""

from __future__ import annotations

import torch

# Products with blocks of 16 neighboring mel filters take a quarter of the work of the dense product
FILTERS_PER_BLOCK = 16


def filter_blocks(filters: torch.Tensor) -> list[tuple[int, int, torch.Tensor]]:
    """Filters `[mel bins, FFT bins]` → (first FFT bin, last + 1, `[FFT bins, filters]`) per block of neighbors."""
    blocks = []
    for rows in filters.split(FILTERS_PER_BLOCK):
        touched = rows.any(dim=0).nonzero()
        low, high = (int(touched.min()), int(touched.max()) + 1) if len(touched) else (0, 1)
        blocks.append((low, high, rows[:, low:high].T.contiguous()))
    return blocks
