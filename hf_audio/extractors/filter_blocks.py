"""Mel filters as thin blocks: neighbouring ones touch few FFT bins.

This file is copied beside published models, so it imports nothing of hf_audio.
"""

from __future__ import annotations

import torch

# 16 neighbouring mel filters touch few FFT bins: thin products do a quarter of the dense one's work
FILTERS_A_BLOCK = 16


def filter_blocks(filters: torch.Tensor) -> list[tuple[int, int, torch.Tensor]]:
    """Filters `[mel bins, FFT bins]` → (first FFT bin, last + 1, `[FFT bins, filters]`) of neighbouring ones."""
    blocks = []
    for rows in filters.split(FILTERS_A_BLOCK):
        touched = rows.any(dim=0).nonzero()
        low, high = (int(touched.min()), int(touched.max()) + 1) if len(touched) else (0, 1)
        blocks.append((low, high, rows[:, low:high].T.contiguous()))
    return blocks
