"""Mixing each window with another one, and their labels with them."""

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
    """Of each window its own share, 1 where it stays alone, the logarithms of that and of its partner's share, and the
    partner's place in the batch."""

    share: Any
    own: Any
    other: Any
    partner: Any


@dataclass(frozen=True)
class Mixup:
    """Mixes each window with another of the batch (Zhang et al. 2018, arXiv 1710.09412), as if their sounds mixed.

    Adding two recordings adds their mel energies (up to a cross term that is zero on average), so features are mixed
    as log(share * energy + (1 - share) * energy of the partner). Averaging log-mel values instead would make images
    that no sound has. Harmonic and percussive parts are mixed alike, which is near to the parts of the mixture.

    Attributes:
        alpha: both parameters of the Beta distribution of the share, drawn for each window.
        probability: that a window is mixed at all. AST's authors mix half of them, with an alpha of 10.
        labels: "interpolate" gives each its share; "union" (multi-label) keeps all labels that are heard, in full.
            Of partial labels (NaN where unknown), "interpolate" keeps what is known of both; "union" also what is
            known to be present in one of them, so it suits labels that are mostly unknown.
        audible_share: of energy, from which on "union" counts the partner as heard; 0.05 is 13 dB below the rest.
    """

    alpha: float
    labels: str = "interpolate"
    probability: float = 1.0
    audible_share: float = 0.05
    reads_energies = True
    mixes_windows = True

    def __post_init__(self) -> None:
        if self.labels not in ("interpolate", "union"):
            raise unknown_name("mixup_labels", self.labels, ("interpolate", "union"))

    def draw(self, lot: Lot) -> MixupNumbers:
        share = np.array([random.beta(self.alpha, self.alpha) for random in lot.randoms])
        # The larger share stays with the window itself: mixing (a, b) and (b, a) are the same thing.
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
        """Unknown labels of a partner that cannot be heard say nothing."""
        if self.labels == "interpolate":
            return shared_targets(targets, partner, share)
        others = targets[partner].masked_fill(share > 1 - self.audible_share, 0.0)
        either = torch.fmax(targets, others)  # of the known ones
        is_open = (targets + others).isnan() & (either < 1)
        return either.masked_fill(is_open, torch.nan)


def _sum(values: Tensor, windows: Windows, drawn: MixupNumbers) -> Tensor:
    """The energies of windows and of their partners among `values`, each times its share."""
    own = windows.values + drawn.own.view(-1, 1, 1, 1)
    return torch.logaddexp(own, values[drawn.partner] + drawn.other.view(-1, 1, 1, 1))


def shared_targets(targets: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Labels of windows by what each has of itself and of its partner; unknown (NaN) is what is unknown of one of both,
    unless nothing of that one is there.

    Args:
        targets: `[batch, classes]`.
        partner: int64 `[batch]`.
        share: `[batch, 1]`, of the window itself.
    """
    others = targets[partner].masked_fill(share >= 1, 0.0)
    return torch.lerp(others, targets.masked_fill(share <= 0, 0.0), share.to(targets.dtype))


def mixup_numbers(share: np.ndarray, partner: np.ndarray) -> MixupNumbers:
    """The numbers of windows with these shares (1 stays alone) and partners."""
    with np.errstate(divide="ignore"):
        return MixupNumbers(share, np.log(share), np.log1p(-share), partner)
