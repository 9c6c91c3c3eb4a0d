"""Warping of spectrograms `[batch, (channels,) frames, bins]`: the same sound at another moment, speed and pitch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hf_audio.augment.spectrogram import Normalisation, over_bins, over_windows


class WarpParameters(NamedTuple):
    """Uniform numbers in [-1, 1) `[batch]`, and the starting points in [0, 1) `[batch]`."""

    stretch: Tensor
    scale: Tensor
    shift: Tensor
    gain: Tensor
    start: Tensor


@dataclass(frozen=True)
class Warp:
    """Time shift and stretch, frequency shift and scaling, gain: one resampling of the picture, each sample its own.

    Frequency scaling and shift on the mel axis are what another instrument or another speaker's vocal tract does to a
    sound (Jaitly and Hinton 2013); gain adds to all logarithms. A window that is full of sound is a loop: it may start
    anywhere in it. A shorter clip starts where it does, grows or shrinks, and its padding stays padding. Channels of a
    sample are warped alike.

    Attributes:
        normalisation: of the features, to recognise padding and to give gain its unit.
        time_stretch: speeds are between 1 / (1 + this) and 1 + this.
        frequency_scale: the mel axis is scaled by 1 / (1 + this) to 1 + this.
        frequency_shift_bins: and shifted by up to so many bins, up or down.
        gain_db: loudness changes by up to so many decibels, up or down.
        time_shift: whether a full window starts anywhere.
    """

    normalisation: Normalisation
    time_stretch: float = 0.0
    frequency_scale: float = 0.0
    frequency_shift_bins: float = 0.0
    gain_db: float = 0.0
    time_shift: bool = True

    def draw(self, batch_size: int, generator: torch.Generator) -> WarpParameters:
        """The random numbers of one batch, from a CPU generator."""
        numbers = torch.rand(5, batch_size, generator=generator)
        return WarpParameters(*(2 * numbers[:4] - 1), numbers[4])

    def apply(self, features: Tensor, targets: Tensor, drawn: WarpParameters) -> tuple[Tensor, Tensor]:
        """Warped features `[batch, (channels,) frames, bins]`, and the targets as they came."""
        drawn = WarpParameters(*(numbers.to(features.device)[:, None] for numbers in drawn))
        num_frames, num_bins = features.shape[-2:]
        padding = self.normalisation.is_padding(features)
        length = (num_frames - padding.sum(dim=1, keepdim=True)).clamp(min=1)
        is_full = length == num_frames

        stretch = (1 + self.time_stretch) ** drawn.stretch
        frames = torch.arange(num_frames, device=features.device)[None, :]
        start = drawn.start * num_frames * is_full if self.time_shift else 0
        new_length = torch.where(is_full, length, (length * stretch).round().clamp(1, num_frames))
        source = torch.where(is_full, torch.remainder(frames / stretch + start, length), frames / stretch)
        warped = _interpolated(features, source, length, dim=-2, circular=is_full)

        centre = (num_bins - 1) / 2
        scale = (1 + self.frequency_scale) ** drawn.scale
        bins = torch.arange(num_bins, device=features.device)[None, :]
        source = (bins - centre) / scale + centre - self.frequency_shift_bins * drawn.shift
        warped = _interpolated(warped, source, torch.full_like(length, num_bins), dim=-1)

        if self.gain_db:
            warped = warped + self.normalisation.of_decibels(over_windows(self.gain_db * drawn.gain, features))
        is_padding = over_bins(frames >= new_length, features)
        return warped.masked_fill(is_padding, self.normalisation.padding_value).to(features.dtype), targets


def _interpolated(values: Tensor, source: Tensor, length: Tensor, dim: int, circular: Tensor | bool = False) -> Tensor:
    """`values` read along `dim` at the places `source` `[batch, places]`, linearly between neighbours.

    Places beyond the first and the last of `length` `[batch, 1]` read these, or go round where `circular`.
    """
    last = length - 1
    circular = torch.as_tensor(circular, device=source.device)
    source = torch.where(circular, source, torch.minimum(source.clamp(min=0), last))
    low = source.floor().long().clamp(min=0)
    low = torch.minimum(low, last)
    high = torch.where(circular, torch.remainder(low + 1, length), torch.minimum(low + 1, last))
    low, high, share = (_along(dim, index, values) for index in (low, high, source - low))
    return torch.lerp(values.gather(dim, low), values.gather(dim, high), share.to(values.dtype))


def _along(dim: int, index: Tensor, values: Tensor) -> Tensor:
    """`[batch, places]` along the last dimension (-1) or the one before it (-2), and the same along all others."""
    index = index[:, :, None] if dim == -2 else index[:, None, :]
    return (index[:, None] if values.ndim == 4 else index).expand_as(values)
