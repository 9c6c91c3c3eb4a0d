"""Freq-MixStyle: moves the mean and standard deviation of each frequency bin toward those of another recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import Windows

MIN_STD = 0.01  # of natural logarithms: avoids a division by 0 for constant bins


class MixStyleNumbers(NamedTuple):
    """Per window: the share of its own statistics, 1 for no change, and the partner's place in the batch."""

    share: Any
    partner: Any


@dataclass(frozen=True)
class FrequencyMixStyle:
    """Gives each bin of a window a mean and a standard deviation over time between its own and a partner's.

    These statistics of log energies depend more on room and microphone than on the sound, so labels do not change. This
    is MixStyle (Zhou et al. 2021, arXiv 2104.02008) with statistics per frequency (Kim et al. 2022, arXiv 2206.12513;
    Schmid et al., CP-JKU's submission to DCASE 2022). Padding is ignored. Each channel has its own statistics.

    Attributes:
        alpha: both parameters of the Beta distribution of the share; 0.3 in Schmid et al.
        probability: probability of changing a window.
    """

    alpha: float
    probability: float = 0.5
    reads_energies = True
    has_partners = True

    def draw(self, lot: Lot) -> MixStyleNumbers:
        share = np.array([random.beta(self.alpha, self.alpha) for random in lot.randoms])
        partner = lot.partners(1)[:, 0]
        is_changed = lot.uniform()[:, 0] < self.probability
        return MixStyleNumbers(np.where(is_changed, share, 1.0), partner)

    def apply(self, windows: Windows, drawn: MixStyleNumbers) -> Windows:
        mean, std = statistics(windows)
        partner, share = drawn.partner.long(), drawn.share.view(-1, 1, 1, 1)
        scale = torch.lerp(std[partner], std, share) / std
        shift = torch.lerp(mean[partner], mean, share) - mean * scale
        return windows._replace(values=windows.values * scale + shift)


def statistics(windows: Windows) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over time without padding, `[batch, channels, 1, bins]` each."""
    padding, count = windows.padding(), windows.num_frames.clamp(min=1).view(-1, 1, 1, 1)
    mean = windows.values.masked_fill(padding, 0.0).sum(dim=2, keepdim=True) / count
    squares = (windows.values - mean).square().masked_fill_(padding, 0.0).sum(dim=2, keepdim=True)
    return mean, (squares / count).sqrt().clamp(min=MIN_STD)
