"""Colored noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchaudio.functional import add_noise

from hf_audio.augment.draws import Lot
from hf_audio.augment.recording import uniform_noise
from hf_audio.augment.waveform.convolving import convolved
from hf_audio.augment.waveform.step import WaveformStep, between, column, keys, sent

LOWEST_HZ = 20.0  # the spectrum is flat below this: otherwise inaudible frequencies would have most of the energy


class NoiseNumbers(NamedTuple):
    """Per window: whether it is chosen, the signal-to-noise ratio in dB, the exponent of the noise, and its key."""

    chosen: Any
    snr_db: Any
    exponent: Any
    key: Any


@dataclass(frozen=True)
class Noise(WaveformStep):
    """Adds noise whose power falls with frequency as 1 / f^exponent: 0 is white, 1 pink, 2 brown, -1 blue.

    White noise is filtered with fractional order (N. J. Kasdin 1995, "Discrete simulation of colored noise and
    stochastic processes and 1/f^a power law noise generation", doi 10.1109/5.381848).

    Attributes:
        snr_db: ratio of the energies of sound and noise.
        exponent: minimum and maximum.
        sample_rate: sample rate in Hz.
    """

    probability: float
    snr_db: tuple[float, ...]
    exponent: tuple[float, ...]
    sample_rate: int
    keeps_level = True

    def draw(self, lot: Lot) -> NoiseNumbers:
        return NoiseNumbers(self.choice(lot), between(lot, self.snr_db), between(lot, self.exponent), keys(lot))

    def changed(self, values: Tensor, num_frames: Tensor, drawn: NoiseNumbers) -> tuple[Tensor, Tensor]:
        num_taps = math.ceil(self.sample_rate / LOWEST_HZ)
        noise = uniform_noise(sent(drawn.key, values), num_taps + values.shape[1])
        noise = noise.mul_(2).sub_(1).erfinv_()  # normally distributed
        filters = fractional_filters(column(drawn.exponent, values), num_taps)
        return with_noise(values, convolved(noise, filters)[:, num_taps:], drawn.snr_db, num_frames), num_frames


def fractional_filters(exponent: Tensor, num_taps: int) -> Tensor:
    """Impulse responses with a power of 1 / f^exponent, `[windows, taps]`, for exponents `[windows, 1]`."""
    place = torch.arange(num_taps, device=exponent.device)
    ratios = (place - 1 + exponent / 2) / place.clamp(min=1)
    ratios[:, 0] = 1.0
    return ratios.cumprod(dim=1) * torch.cos(place * (math.pi / 2 / num_taps)).square()  # smooth end


def with_noise(values: Tensor, noise: Tensor, snr_db: Tensor, num_frames: Tensor) -> Tensor:
    """The sum of windows and noise `[windows, samples]`; silent noise leaves a window unchanged."""
    is_heard = torch.arange(values.shape[1], device=values.device) < num_frames[:, None]
    noise = noise * is_heard
    mixed = add_noise(values, noise, sent(snr_db, values), num_frames)
    return torch.where(noise.any(dim=1, keepdim=True), mixed, values)
