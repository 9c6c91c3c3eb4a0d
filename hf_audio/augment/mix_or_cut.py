"""Mixup and CutMix in one run: each window gets one of the two, or neither."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from hf_audio.augment.cutmix import CutMix, CutMixNumbers
from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import Windows
from hf_audio.augment.mixup import Mixup, MixupNumbers, mixup_numbers


class MixOrCutNumbers(NamedTuple):
    """The fields of `MixupNumbers`, then those of `CutMixNumbers`."""

    mixup_share: Any
    mixup_own: Any
    mixup_other: Any
    mixup_partner: Any
    cutmix_share: Any
    cutmix_time_position: Any
    cutmix_bin_position: Any
    cutmix_partner: Any


@dataclass(frozen=True)
class MixOrCut:
    """Applies mixup to some windows and CutMix to others, never both to one.

    One random number decides, as in timm; here each has its own probability, and other windows are unchanged. Partners
    are the original windows, so no window has parts of three.

    Attributes:
        mixup, cutmix: the two augmentations with their probabilities, whose sum is at most 1.
    """

    mixup: Mixup
    cutmix: CutMix
    reads_energies = True
    mixes_windows = has_partners = True

    def draw(self, lot: Lot) -> MixOrCutNumbers:
        mixed, cut = (replace(one, probability=1.0).draw(lot) for one in (self.mixup, self.cutmix))
        chance = lot.uniform()[:, 0]
        is_mixed = chance < self.mixup.probability
        is_cut = ~is_mixed & (chance < self.mixup.probability + self.cutmix.probability)
        mixed = mixup_numbers(np.where(is_mixed, mixed.share, np.float32(1)), mixed.partner)
        cut = cut._replace(share=np.where(is_cut, cut.share, 1.0))
        return MixOrCutNumbers._make((*mixed, *cut))

    def apply(self, windows: Windows, drawn: MixOrCutNumbers) -> Windows:
        first = len(MixupNumbers._fields)
        mixed = self.mixup.apply(windows, MixupNumbers(*drawn[:first]))
        cut = self.cutmix.apply(windows, CutMixNumbers(*drawn[first:]))
        is_cut = drawn.cutmix_share < 1
        return Windows(
            torch.where(is_cut.view(-1, 1, 1, 1), cut.values, mixed.values),
            torch.where(is_cut.view(-1, 1), cut.targets, mixed.targets),
            torch.where(is_cut, cut.num_frames, mixed.num_frames),
            windows.frames,
        )
