"""Augmentations of normalised spectrograms, per sample, on the batch's own device.

They are `[batch, frames, bins]`, or `[batch, channels, frames, bins]`, where all channels of a sample get the same.

Each is split in two: `draw` makes all random numbers of a batch from a generator on the CPU, `apply` is a pure
function of them. The same generator state therefore gives the same batch on every device, which resuming needs.

Frames that only pad a short clip hold one value in every bin: of log-mel features the normalised value of 0, which is
*louder* than most sound. So padding is recognised and left alone: masks are placed on real frames, and mixing treats
padding as silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import FeatureExtractionMixin

from hf_audio.errors import unknown_name
from hf_audio.kinds import kind_of_extractor
from hf_audio.kinds.fbank import NATURAL_DB


@dataclass(frozen=True)
class Normalisation:
    """How stored log energies become inputs: (value - mean) / (deviations * std), each channel by its own.

    Attributes:
        mean, std: of the stored values; one number, or one for each channel.
        deviations: ASTFeatureExtractor divides by two standard deviations, SpectrogramFeatureExtractor by one.
        unit_db: decibels of one unit of the stored values, 4.343 of natural logarithms.
        padding: input value of frames behind a clip's end; None is that of a log-mel of 0, as in ASTFeatureExtractor.
        is_centred: whether an input of 0 is the mean of the training data, or of its own clip.
    """

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]
    deviations: float = 2.0
    unit_db: float = NATURAL_DB
    padding: float | None = None
    is_centred: bool = True

    @classmethod
    def of(cls, extractor: FeatureExtractionMixin) -> Normalisation:
        """The normalisation that an extractor of pictures applies; of one by clips, none."""
        return cls(*kind_of_extractor(extractor).scale(extractor)[:-1])

    @property
    def padding_value(self) -> float:
        return -self.mean / (self.deviations * self.std) if self.padding is None else self.padding

    def apply(self, log_energy: Tensor) -> Tensor:
        """Natural logarithms of energies `[batch, (channels,) frames, bins]` → inputs."""
        mean, scale = self._shaped(log_energy)
        return (log_energy * (NATURAL_DB / self.unit_db) - mean) / scale

    def undo(self, features: Tensor) -> Tensor:
        """Inputs → natural logarithms of energies."""
        mean, scale = self._shaped(features)
        return (features * scale + mean) / (NATURAL_DB / self.unit_db)

    def of_decibels(self, level_db: Tensor) -> Tensor:
        """By how much inputs grow where the sound is louder by `level_db`, of any shape that broadcasts with theirs."""
        return level_db / self.unit_db / self._shaped(level_db)[1]

    def is_padding(self, features: Tensor) -> Tensor:
        """Bool `[batch, frames]`: frames at the end whose every bin, of every channel, holds the padding value."""
        tolerance = 1e-2 if features.dtype in (torch.bfloat16, torch.float16) else 1e-4
        is_sound = ((features - self.padding_value).abs() >= tolerance).any(dim=-1)
        if is_sound.ndim == 3:
            is_sound = is_sound.any(dim=1)
        frames = torch.arange(is_sound.shape[1], device=features.device)
        return frames >= (is_sound * (frames + 1)).amax(dim=1, keepdim=True)

    def _shaped(self, features: Tensor) -> tuple[float | Tensor, float | Tensor]:
        """Mean and divisor: numbers, or `[channels, 1, 1]` on the device of the features."""
        if not isinstance(self.mean, tuple):
            return self.mean, self.deviations * self.std
        mean, std = torch.tensor((self.mean, self.std), device=features.device)[:, :, None, None]
        return mean, self.deviations * std


def over_bins(of_frames: Tensor, features: Tensor) -> Tensor:
    """What is said of frames, `[batch, frames]`, shaped to broadcast with `[batch, (channels,) frames, bins]`."""
    return of_frames[:, None, :, None] if features.ndim == 4 else of_frames[:, :, None]


def over_windows(of_samples: Tensor, features: Tensor) -> Tensor:
    """What is said of samples, `[batch]`, shaped to broadcast with `[batch, (channels,) frames, bins]`."""
    return of_samples.view(-1, *[1] * (features.ndim - 1))


class MaskParameters(NamedTuple):
    """Uniform numbers in [0, 1) `[batch, masks]`: widths as shares of the widest, positions as shares of the room."""

    time_widths: Tensor
    time_positions: Tensor
    bin_widths: Tensor
    bin_positions: Tensor


@dataclass(frozen=True)
class SpecAugment:
    """Masks stretches of time and bands of frequency (Park et al. 2019, arXiv 1904.08779), each sample its own.

    Masked values become 0, the mean of the normalised training features, or where features are not normalised the mean
    of their window and channel: it carries no information and leaves the batch's mean in place, unlike silence.

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
        """features `[batch, (channels,) frames, bins]` with their masks, and the targets as they came."""
        drawn = MaskParameters(*(numbers.to(features.device) for numbers in drawn))
        padding = self.normalisation.is_padding(features)
        all_frames, all_bins = features.shape[-2:]
        num_frames = all_frames - padding.sum(dim=1)
        num_bins = torch.full_like(num_frames, all_bins)
        frames = _masked(all_frames, num_frames, self.longest_time_mask_frames, drawn.time_widths, drawn.time_positions)
        bins = _masked(all_bins, num_bins, self.widest_bin_mask_bins, drawn.bin_widths, drawn.bin_positions)
        hidden = (frames[:, :, None] | bins[:, None, :]) & ~padding[:, :, None]
        hidden = hidden[:, None] if features.ndim == 4 else hidden
        if self.normalisation.is_centred:
            return features.masked_fill(hidden, 0.0), targets
        real = ~over_bins(padding, features)
        mean = (features * real).sum(dim=(-2, -1), keepdim=True) / (real.sum(dim=-2, keepdim=True) * all_bins).clamp(1)
        return torch.where(hidden, mean.to(features.dtype), features), targets


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
    that no sound has. Harmonic and percussive parts are mixed alike, which is near to the parts of the mixture.

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
        """Mixed features `[batch, (channels,) frames, bins]` and targets `[batch, classes]`."""
        share, partner = drawn.share.to(features.device), drawn.partner.to(features.device)
        padding = self.normalisation.is_padding(features)
        log_energy = self.normalisation.undo(features.float())
        log_energy = log_energy.masked_fill(over_bins(padding, features), -torch.inf)
        own = log_energy + over_windows(share.log(), features)
        other = log_energy[partner] + over_windows((1 - share).log(), features)
        mixed = self.normalisation.apply(torch.logaddexp(own, other)).to(features.dtype)
        unmixed = (padding & padding[partner]) | (share >= 1)[:, None]
        mixed = torch.where(over_bins(unmixed, features), features, mixed)
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
