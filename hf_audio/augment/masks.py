"""Masks on normalized spectrograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import Windows


class MaskNumbers(NamedTuple):
    """Per mask, `[batch, masks]`: its width in frames or bins, and its position as a share in [0, 1) of the possible
    positions."""

    time_widths: Any
    time_positions: Any
    bin_widths: Any
    bin_positions: Any


@dataclass(frozen=True)
class SpecAugment:
    """Masks stretches of time and frequency bands (Park et al. 2019, arXiv 1904.08779), separately for each window.

    Masked values become 0, the mean of the normalized training features; without normalization, the mean of their
    window and channel. Unlike silence, the mean carries no information and does not change the batch's mean. Time masks
    cover only sound; where frequency masks cover padding, Compose restores it.

    Attributes:
        longest_time_mask_frames: a time mask covers 0 to this many frames; 0: no time masks.
        widest_bin_mask_bins: a frequency mask covers 0 to this many mel bins; 0: no frequency masks.
        is_centered: whether an input of 0 is the mean, see Normalization.
        num_masks: number of masks of each kind per window.
        probability: probability that a window gets masks.
    """

    longest_time_mask_frames: int
    widest_bin_mask_bins: int
    is_centered: bool = True
    num_masks: int = 2
    probability: float = 1.0
    reads_energies = False

    def draw(self, lot: Lot) -> MaskNumbers:
        time, time_at, bins, bins_at = np.split(lot.uniform(4 * self.num_masks), 4, axis=1)
        is_masked = lot.happens(self.probability)
        time, bins = time * (self.longest_time_mask_frames + 1), bins * (self.widest_bin_mask_bins + 1)
        return MaskNumbers(np.floor(time) * is_masked, time_at, np.floor(bins) * is_masked, bins_at)

    def apply(self, windows: Windows, drawn: MaskNumbers) -> Windows:
        """`windows.values` are inputs here, `[batch, channels, frames, bins]`."""
        values, (all_frames, all_bins) = windows.values, windows.values.shape[2:]
        starts, ends = edges_of(windows.num_frames.view(-1, 1).float(), drawn.time_widths, drawn.time_positions)
        bin_starts, bin_ends = edges_of(all_bins, drawn.bin_widths, drawn.bin_positions)
        # one axis for both, frames followed by bins: half the number of operations
        starts, ends = torch.cat([starts, bin_starts + all_frames], 1), torch.cat([ends, bin_ends + all_frames], 1)
        places = torch.arange(all_frames + all_bins, device=values.device)
        is_inside = (places >= starts.unsqueeze(2)) & (places < ends.unsqueeze(2))
        in_frames, in_bins = is_inside.any(dim=1).split([all_frames, all_bins], dim=1)
        hidden = in_frames.view(-1, 1, all_frames, 1) | in_bins.view(-1, 1, 1, all_bins)
        return hide(windows, hidden, self.is_centered)


def hide(windows: Windows, hidden: Tensor, is_centered: bool) -> Windows:
    """The windows with 0 where bool `hidden` `[batch, 1, frames, bins]` is true; if inputs are not centered, with the
    mean of the window's channel, without padding."""
    values = windows.values
    if is_centered:
        return windows._replace(values=values.masked_fill(hidden, 0.0))
    total = values.masked_fill(windows.padding(), 0.0).sum(dim=(2, 3), keepdim=True)
    mean = total / (windows.num_frames.clamp(min=1) * values.shape[3]).view(-1, 1, 1, 1)
    return windows._replace(values=torch.where(hidden, mean, values))


def edges_of(usable: Tensor | int, widths: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Start and end of masks, `[batch, masks]` each, within the first `usable` places."""
    widths = torch.minimum(widths, usable) if isinstance(usable, Tensor) else widths.clamp(max=usable)
    starts = (positions * (usable + 1 - widths)).floor_()
    return starts, starts + widths
