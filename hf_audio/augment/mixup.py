"""Mixup: mixes each window with another, and their targets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import Windows, change_some
from hf_audio.errors import unknown_name


class MixupNumbers(NamedTuple):
    """Per window: its own share, 1 if it is not mixed; the logarithms of its own and its partner's share; and the
    partner's place in the batch."""

    share: Any
    own: Any
    other: Any
    partner: Any


@dataclass(frozen=True)
class Mixup:
    """Mixes each window with another of the batch (Zhang et al. 2018, arXiv 1710.09412), as if their sounds were mixed.

    Adding two recordings adds their mel energies (up to a cross term that is zero on average), so features are mixed
    as log(share * energy + (1 - share) * energy of the partner). Averaging log-mel values instead would give images
    that no sound produces. Harmonic and percussive parts are mixed in the same way, which is close to the parts of the
    mixture.

    Attributes:
        alpha: both parameters of the Beta distribution of the share, drawn for each window.
        probability: probability of mixing a window. AST's authors mix half of them, with an alpha of 10.
        labels: "interpolate" is the weighted mean of the targets; "union" (multi-label) keeps all labels of audible
            sounds. With partial labels (NaN is unknown), a class is known after "interpolate" if it is known in both;
            after "union", also if it is present in one, which suits labels that are mostly unknown.
        audible_share: minimum share of energy at which "union" counts the partner; 0.05 is 13 dB below the rest.
    """

    alpha: float
    labels: str = "interpolate"
    probability: float = 1.0
    audible_share: float = 0.05
    reads_energies = True
    mixes_windows = has_partners = True

    def __post_init__(self) -> None:
        if self.labels not in ("interpolate", "union"):
            raise unknown_name("mixup_labels", self.labels, ("interpolate", "union"))

    def draw(self, lot: Lot) -> MixupNumbers:
        share = np.array([random.beta(self.alpha, self.alpha) for random in lot.randoms])
        # The window itself has the larger share: mixing (a, b) and (b, a) is the same.
        share = np.maximum(share, 1 - share).astype(np.float32)
        partner = lot.partners(1)[:, 0]
        is_alone = (lot.uniform()[:, 0] >= self.probability) | (partner == np.arange(len(partner)))
        return mixup_numbers(np.where(is_alone, np.float32(1), share), partner)

    def apply(self, windows: Windows, drawn: MixupNumbers) -> Windows:
        drawn = drawn._replace(partner=drawn.partner.long())
        partner = drawn.partner
        lengths = windows.num_frames[partner] * (drawn.share < 1)
        return windows._replace(
            values=change_some(drawn.share < 1, partial(_sum, windows.values), windows, drawn),
            targets=self._mix_targets(windows.targets, drawn.share.view(-1, 1), partner),
            num_frames=torch.maximum(windows.num_frames, lengths),
        )

    def _mix_targets(self, targets: Tensor, share: Tensor, partner: Tensor) -> Tensor:
        """Mixed targets. Labels of an inaudible partner are ignored, even if unknown."""
        if self.labels == "interpolate":
            return shared_targets(targets, partner, share)
        others = targets[partner].masked_fill(share > 1 - self.audible_share, 0.0)
        either = torch.fmax(targets, others)  # ignores NaN
        is_open = (targets + others).isnan() & (either < 1)
        return either.masked_fill(is_open, torch.nan)


def _sum(values: Tensor, windows: Windows, drawn: MixupNumbers) -> Tensor:
    """The weighted sum of the energies of windows and their partners among `values`."""
    own = windows.values + drawn.own.view(-1, 1, 1, 1)
    return torch.logaddexp(own, values[drawn.partner] + drawn.other.view(-1, 1, 1, 1))


def shared_targets(targets: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Weighted mean of the targets of windows and their partners; unknown (NaN) if either is unknown, unless its share
    is 0.

    Args:
        targets: `[batch, classes]`.
        partner: int64 `[batch]`.
        share: `[batch, 1]`, share of the window itself.
    """
    others = targets[partner].masked_fill(share >= 1, 0.0)
    return torch.lerp(others, targets.masked_fill(share <= 0, 0.0), share.to(targets.dtype))


def mixup_numbers(share: np.ndarray, partner: np.ndarray) -> MixupNumbers:
    """The numbers for windows with these shares (1: not mixed) and partners."""
    with np.errstate(divide="ignore"):
        return MixupNumbers(share, np.log(share), np.log1p(-share), partner)
