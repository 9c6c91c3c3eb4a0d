"""CutMix: replaces a part of a window with the same part of another, and that share of its targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import Windows
from hf_audio.augment.mixup import shared_targets
from hf_audio.errors import unknown_name

SHAPES = ("rectangle", "time")


class CutMixNumbers(NamedTuple):
    """Per window: the share to keep, 1 for all; the position of the part along time and along frequency, as a share in
    [0, 1) of the possible positions; and the partner's place in the batch."""

    share: Any
    time_position: Any
    bin_position: Any
    partner: Any


class Parts(NamedTuple):
    """Start and end of each window's part along time and along frequency, int64 `[batch, 1]`."""

    start: Tensor
    end: Tensor
    bin_start: Tensor
    bin_end: Tensor


@dataclass(frozen=True)
class CutMix:
    """Replaces a part of each window with the same part of another (Yun et al. 2019, arXiv 1905.04899).

    Parts lie where both windows have sound: no padding is copied or overwritten. Targets are mixed by the replaced
    share of the window's own sound. With partial labels (NaN is unknown), a class stays known if it is known in both
    windows. All channels get the same part.

    Attributes:
        alpha: both parameters of the Beta distribution of the kept area; 1 in the paper, the uniform distribution.
        shape: "rectangle": both sides scaled by the root of the area; "time": all bins of a stretch of time.
        probability: probability of changing a window.
    """

    alpha: float
    shape: str = "rectangle"
    probability: float = 1.0
    reads_energies = True
    mixes_windows = has_partners = True

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise unknown_name("cutmix_shape", self.shape, SHAPES)

    def draw(self, lot: Lot) -> CutMixNumbers:
        share = np.array([random.beta(self.alpha, self.alpha) for random in lot.randoms])
        partner = lot.partners(1)[:, 0]
        time_position, bin_position, chance = lot.uniform(3).T
        is_alone = (chance >= self.probability) | (partner == np.arange(len(partner)))
        return CutMixNumbers(np.where(is_alone, 1.0, share), time_position, bin_position, partner)

    def apply(self, windows: Windows, drawn: CutMixNumbers) -> Windows:
        values, partner, num_bins = windows.values, drawn.partner.long(), windows.values.shape[3]
        parts = self.parts(windows.num_frames, drawn, num_bins)
        bins = torch.arange(num_bins, device=values.device)
        in_time = (windows.frames >= parts.start) & (windows.frames < parts.end)
        in_bins = (bins >= parts.bin_start) & (bins < parts.bin_end)
        is_cut = (in_time[:, :, None] & in_bins[:, None])[:, None]
        area = (parts.end - parts.start) * (parts.bin_end - parts.bin_start)
        share = 1 - area / (windows.num_frames.view(-1, 1).clamp(min=1) * num_bins)
        return windows._replace(
            values=torch.where(is_cut, values[partner], values),
            targets=shared_targets(windows.targets, partner, share),
        )

    def parts(self, num_frames: Tensor, drawn: CutMixNumbers, num_bins: int) -> Parts:
        """The part of each window that is replaced; empty if the window is unchanged."""
        cut = 1 - drawn.share
        both = torch.minimum(num_frames, num_frames[drawn.partner.long()])
        side = cut.sqrt() if self.shape == "rectangle" else cut
        width = torch.minimum((side * num_frames).round(), both)
        height = (side * num_bins).round() if self.shape == "rectangle" else torch.full_like(cut, num_bins)
        start, bin_start = (
            (position * (room + 1 - size)).floor()
            for position, room, size in (
                (drawn.time_position, both, width),
                (drawn.bin_position, num_bins, height),
            )
        )
        edges = (start, start + width, bin_start, bin_start + height)
        return Parts(*(edge.long().view(-1, 1) for edge in edges))
