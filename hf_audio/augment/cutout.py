"""Cutout: masks rectangles of time and frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import Windows
from hf_audio.augment.masks import MaskNumbers, edges_of, hide


@dataclass(frozen=True)
class Cutout:
    """Masks rectangles (DeVries and Taylor 2017, arXiv 1708.04552) like SpecAugment, separately for each window.

    A SpecAugment mask hides a complete stretch of time or a complete band; a rectangle hides a band for some time.
    Rectangles cover sound, not padding.

    Attributes:
        longest_frames, longest_bins: maximum sides of a rectangle; the minimum is 1.
        count: rectangles per window; they may overlap.
        is_centered: whether an input of 0 is the mean, see Normalization.
    """

    longest_frames: int
    longest_bins: int
    count: int = 2
    is_centered: bool = True
    reads_energies = False

    def draw(self, lot: Lot) -> MaskNumbers:
        time, time_at, bins, bins_at = np.split(lot.uniform(4 * self.count), 4, axis=1)
        time, bins = 1 + np.floor(time * self.longest_frames), 1 + np.floor(bins * self.longest_bins)
        return MaskNumbers(time, time_at, bins, bins_at)

    def apply(self, windows: Windows, drawn: MaskNumbers) -> Windows:
        """`windows.values` are inputs here, `[batch, channels, frames, bins]`."""
        num_bins = windows.values.shape[3]
        starts, ends = edges_of(windows.num_frames.view(-1, 1).float(), drawn.time_widths, drawn.time_positions)
        bin_starts, bin_ends = edges_of(num_bins, drawn.bin_widths, drawn.bin_positions)
        bins = torch.arange(num_bins, device=windows.values.device)
        in_time = (windows.frames >= starts[:, :, None]) & (windows.frames < ends[:, :, None])
        in_bins = (bins >= bin_starts[:, :, None]) & (bins < bin_ends[:, :, None])
        hidden = (in_time[:, :, :, None] & in_bins[:, :, None]).any(dim=1, keepdim=True)
        return hide(windows, hidden, self.is_centered)
