"""Augmentations of normalised log-mel features `[batch, frames, bins]`, per sample, on the batch's own device.

Each is split in two: `draw` makes all random numbers of a batch from a generator on the CPU, `apply` is a pure
function of them. The same generator state therefore gives the same batch on every device, which resuming needs.

Frames that only pad a short clip hold the normalised value of log-mel 0 in every bin. That is *louder* than most
sound, so padding is recognised and left alone: masks are placed on real frames, and mixing treats padding as silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import ASTFeatureExtractor

from hf_audio.errors import unknown_name


@dataclass(frozen=True)
class Normalisation:
    """How stored log-mel values become inputs: (value - mean) / (2 * std), as ASTFeatureExtractor does."""

    mean: float
    std: float

    @classmethod
    def of(cls, extractor: ASTFeatureExtractor) -> Normalisation:
        """The normalisation that an extractor applies."""
        return cls(extractor.mean, extractor.std) if extractor.do_normalize else cls(0.0, 0.5)

    def apply(self, log_mel: Tensor) -> Tensor:
        return (log_mel - self.mean) / (2 * self.std)

    def undo(self, features: Tensor) -> Tensor:
        return features * (2 * self.std) + self.mean

    def is_padding(self, features: Tensor) -> Tensor:
        """Bool `[batch, frames]`: frames whose every bin holds the padding value, which no sound gives."""
        padding_value = -self.mean / (2 * self.std)
        tolerance = 1e-2 if features.dtype in (torch.bfloat16, torch.float16) else 1e-4
        return ((features - padding_value).abs() < tolerance).all(dim=-1)


class MaskParameters(NamedTuple):
    """Uniform numbers in [0, 1) `[batch, masks]`: widths as shares of the widest, positions as shares of the room."""

    time_widths: Tensor
    time_positions: Tensor
    bin_widths: Tensor
    bin_positions: Tensor


@dataclass(frozen=True)
class SpecAugment:
    """Masks stretches of time and bands of frequency (Park et al. 2019, arXiv 1904.08779), each sample its own.

    Masked values become 0, the mean of the normalised training features: it carries no information and leaves the
    batch's mean in place, unlike the padding value or silence.

    Attributes:
        longest_time_mask_frames: a time mask covers 0 to this many frames; 0 switches time masks off.
        widest_bin_mask_bins: a frequency mask covers 0 to this many mel bins; 0 switches frequency masks off.
        normalisation: of the features, to recognise padding.
        num_masks: number of masks of each kind a sample.
    """

    longest_time_mask_frames: int
    widest_bin_mask_bins: int
    normalisation: Normalisation
    num_masks: int = 2

    def draw(self, batch_size: int, generator: torch.Generator) -> MaskParameters:
        """The random numbers of one batch, from a CPU generator."""
        return MaskParameters(*torch.rand(4, batch_size, self.num_masks, generator=generator))

    def apply(self, features: Tensor, targets: Tensor, drawn: MaskParameters) -> tuple[Tensor, Tensor]:
        """features `[batch, frames, bins]` with their masks, and the targets as they came."""
        drawn = MaskParameters(*(numbers.to(features.device) for numbers in drawn))
        padding = self.normalisation.is_padding(features)
        num_frames = features.shape[1] - padding.sum(dim=1)
        num_bins = torch.full_like(num_frames, features.shape[2])
        frames = _masked(
            features.shape[1], num_frames, self.longest_time_mask_frames, drawn.time_widths, drawn.time_positions
        )
        bins = _masked(features.shape[2], num_bins, self.widest_bin_mask_bins, drawn.bin_widths, drawn.bin_positions)
        hidden = (frames[:, :, None] | bins[:, None, :]) & ~padding[:, :, None]
        return features.masked_fill(hidden, 0.0), targets


def _masked(length: int, usable: Tensor, widest: int, widths: Tensor, positions: Tensor) -> Tensor:
    """Bool `[batch, length]`, True inside any of a sample's masks; all of them lie within its first `usable` places."""
    usable = usable[:, None]
    width = torch.minimum((widths * (widest + 1)).long(), usable)
    start = (positions * (usable - width + 1)).long()
    place = torch.arange(length, device=widths.device)
    inside = (place >= start[..., None]) & (place < (start + width)[..., None])
    return inside.any(dim=1)


class MixupParameters(NamedTuple):
    """share float32 `[batch]` of the sample itself, 1 where it stays alone; partner int64 `[batch]`, a permutation."""

    share: Tensor
    partner: Tensor


@dataclass(frozen=True)
class Mixup:
    """Mixes each sample with another of the batch (Zhang et al. 2018, arXiv 1710.09412), as if their sounds mixed.

    Adding two recordings adds their mel energies (up to a cross term that is zero on average), so features are mixed
    as log(share * energy + (1 - share) * energy of the partner). Averaging log-mel values instead would make pictures
    that no sound has.

    Attributes:
        alpha: both parameters of the Beta distribution of the share, drawn for each sample.
        normalisation: of the features.
        probability: that a sample is mixed at all. AST's authors mix half of them, with an alpha of 10.
        labels: "interpolate" gives each its share; "union" (multi-label) keeps all labels that are heard, in full.
            Of partial labels (NaN where unknown), "interpolate" keeps what is known of both; "union" also what is
            known to be present in one of them, so it suits labels that are mostly unknown.
        audible_share: of energy, from which on "union" counts the partner as heard; 0.05 is 13 dB below the rest.
    """

    alpha: float
    normalisation: Normalisation
    labels: Literal["interpolate", "union"] = "interpolate"
    probability: float = 1.0
    audible_share: float = 0.05

    def __post_init__(self) -> None:
        if self.labels not in ("interpolate", "union"):
            raise unknown_name("mixup_labels", self.labels, ("interpolate", "union"))

    def draw(self, batch_size: int, generator: torch.Generator) -> MixupParameters:
        """The random numbers of one batch, from a CPU generator."""
        # torch's Beta distribution takes no generator; numpy's does, and is seeded from ours.
        seed = int(torch.randint(2**62, (1,), generator=generator))
        share = torch.from_numpy(np.random.default_rng(seed).beta(self.alpha, self.alpha, batch_size)).float()
        # The larger share stays with the sample itself: mixing (a, b) and (b, a) are the same thing.
        share = torch.maximum(share, 1 - share)
        stays_alone = torch.rand(batch_size, generator=generator) >= self.probability
        return MixupParameters(share.masked_fill(stays_alone, 1.0), torch.randperm(batch_size, generator=generator))

    def apply(self, features: Tensor, targets: Tensor, drawn: MixupParameters) -> tuple[Tensor, Tensor]:
        """Mixed features `[batch, frames, bins]` and targets `[batch, classes]`."""
        share, partner = drawn.share.to(features.device), drawn.partner.to(features.device)
        padding = self.normalisation.is_padding(features)
        log_energy = self.normalisation.undo(features.float())
        log_energy = log_energy.masked_fill(padding[:, :, None], -torch.inf)
        own = log_energy + share.log()[:, None, None]
        other = log_energy[partner] + (1 - share).log()[:, None, None]
        mixed = self.normalisation.apply(torch.logaddexp(own, other)).to(features.dtype)
        unmixed = (padding & padding[partner]) | (share >= 1)[:, None]
        mixed = torch.where(unmixed[:, :, None], features, mixed)
        return mixed, self._mix_targets(targets, share[:, None], partner)

    def _mix_targets(self, targets: Tensor, share: Tensor, partner: Tensor) -> Tensor:
        if self.labels == "union":
            others = targets[partner].masked_fill(1 - share < self.audible_share, 0.0)
            either = torch.fmax(targets, others)  # of the known ones
            is_open = (targets.isnan() | others.isnan()) & (either < 1)
            return either.masked_fill(is_open, torch.nan)
        others = torch.where(share < 1, targets[partner], 0.0)  # unknown labels of a silent partner say nothing
        share = share.to(targets.dtype)
        return share * targets + (1 - share) * others
