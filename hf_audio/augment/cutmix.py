"""CutMix: a part of each window is another's, and so is that share of its labels."""

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
    """Of each window: the share that is to stay, 1 where all does; where the part lies along time and along frequency,
    each as a share in [0, 1) of the room that it leaves; and the partner's place in the batch."""

    share: Any
    time_position: Any
    bin_position: Any
    partner: Any


class Parts(NamedTuple):
    """Of each window, int64 `[batch, 1]`: where a part starts and ends, along time and along frequency."""

    start: Tensor
    end: Tensor
    bin_start: Tensor
    bin_end: Tensor


@dataclass(frozen=True)
class CutMix:
    """Replaces a part of each window by the same part of another (Yun et al. 2019, arXiv 1905.04899).

    A part lies where both windows have sound: nothing of padding is copied, and none is written on. Labels are shared
    by the area that was replaced, of the area of the window's own sound; of partial labels (NaN where unknown) what is
    known of both stays known. Channels are cut alike.

    Attributes:
        alpha: both parameters of the Beta distribution of the area that stays; 1 in the paper, any share alike.
        shape: "rectangle": both sides by the root of its area; "time": all bins of a stretch of time.
        probability: that a window gets a part of another at all.
    """

    alpha: float
    shape: str = "rectangle"
    probability: float = 1.0
    reads_energies = True
    mixes_windows = True

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
        """The part of each window that becomes its partner's, empty where the window stays as it is."""
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
