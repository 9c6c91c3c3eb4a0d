"""Second-order filters per window, like those of a microphone, a speaker or a tone control."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchaudio.functional import lfilter

from hf_audio.augment.draws import Lot
from hf_audio.augment.waveform.step import WaveformStep, between, between_in_octaves, sent

Coefficients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
BUTTERWORTH = math.sqrt(0.5)  # Q of a filter without resonance


class Shape(NamedTuple):
    """Parameters of filters, `[windows]` each: cosine of the frequency, half the bandwidth, and the root of the
    gain."""

    cos: Tensor
    alpha: Tensor
    root: Tensor


def _low_pass(one: Shape) -> Coefficients:
    half = (1 - one.cos) / 2
    return half, 2 * half, half, *_poles(one)


def _high_pass(one: Shape) -> Coefficients:
    half = (1 + one.cos) / 2
    return half, -2 * half, half, *_poles(one)


def _band_pass(one: Shape) -> Coefficients:
    return one.alpha, 0 * one.alpha, -one.alpha, *_poles(one)


def _band_stop(one: Shape) -> Coefficients:
    return torch.ones_like(one.cos), -2 * one.cos, torch.ones_like(one.cos), *_poles(one)


def _all_pass(one: Shape) -> Coefficients:
    return 1 - one.alpha, -2 * one.cos, 1 + one.alpha, *_poles(one)


def _peak(one: Shape) -> Coefficients:
    up, down = one.alpha * one.root, one.alpha / one.root
    return 1 + up, -2 * one.cos, 1 - up, 1 + down, -2 * one.cos, 1 - down


def _low_shelf(one: Shape) -> Coefficients:
    a, slope = one.root, 2 * one.root.sqrt() * one.alpha
    more, less = a + 1, a - 1
    return (
        a * (more - less * one.cos + slope),
        2 * a * (less - more * one.cos),
        a * (more - less * one.cos - slope),
        more + less * one.cos + slope,
        -2 * (less + more * one.cos),
        more + less * one.cos - slope,
    )


def _high_shelf(one: Shape) -> Coefficients:
    a, slope = one.root, 2 * one.root.sqrt() * one.alpha
    more, less = a + 1, a - 1
    return (
        a * (more + less * one.cos + slope),
        -2 * a * (less + more * one.cos),
        a * (more + less * one.cos - slope),
        more - less * one.cos + slope,
        2 * (less - more * one.cos),
        more - less * one.cos - slope,
    )


def _poles(one: Shape) -> tuple[Tensor, Tensor, Tensor]:
    return 1 + one.alpha, -2 * one.cos, 1 - one.alpha


# R. Bristow-Johnson, "Cookbook formulae for audio equalizer biquad filter coefficients". torchaudio has the same
# filters, but with only one frequency per batch.
FILTERS: dict[str, Callable[[Shape], Coefficients]] = {
    "low_pass": _low_pass,
    "high_pass": _high_pass,
    "band_pass": _band_pass,
    "band_stop": _band_stop,
    "all_pass": _all_pass,
    "peak": _peak,
    "low_shelf": _low_shelf,
    "high_shelf": _high_shelf,
}


def filtered(
    values: Tensor, kind: str, sample_rate: int, frequency_hz: Tensor, quality: Tensor, gain_db: Tensor | None = None
) -> Tensor:
    """Windows `[windows, samples]`, each with its own filter.

    Args:
        kind: a name in FILTERS.
        frequency_hz: `[windows]` on the CPU, frequency of each filter; limited to just below half the rate.
        quality: `[windows]`, frequency divided by bandwidth.
        gain_db: `[windows]`, for "peak" and the shelves.
    """
    # Poles of low frequencies are so close to the unit circle that float32 cannot distinguish them
    frequency = frequency_hz.double().clamp(max=0.49 * sample_rate) * (2 * math.pi / sample_rate)
    alpha = frequency.sin() / (2 * quality.double())
    root = 10 ** ((torch.zeros_like(frequency) if gain_db is None else gain_db.double()) / 40)
    b0, b1, b2, a0, a1, a2 = FILTERS[kind](Shape(frequency.cos(), alpha, root))
    poles, zeros = torch.stack([a0, a1, a2], dim=1), torch.stack([b0, b1, b2], dim=1)
    return lfilter(values.double(), sent(poles, values), sent(zeros, values), clamp=False).to(values.dtype)


class FilterNumbers(NamedTuple):
    """Per window: whether it is chosen, the filter's frequency in Hz, and its Q."""

    chosen: Any
    frequency_hz: Any
    quality: Any


@dataclass(frozen=True)
class PassFilter(WaveformStep):
    """Attenuates frequencies above a frequency (low pass), below it (high pass), or on both sides of it (band pass).

    The slope is 12 dB per octave; for a band pass, 6 dB per octave on each side.

    Attributes:
        kind: "low_pass", "high_pass" or "band_pass".
        frequency_hz: minimum and maximum; uniform in octaves.
        sample_rate: sample rate in Hz.
        octaves: minimum and maximum bandwidth of a band pass, at -3 dB.
    """

    probability: float
    kind: str
    frequency_hz: tuple[float, float]
    sample_rate: int
    octaves: tuple[float, ...] | None = None

    def draw(self, lot: Lot) -> FilterNumbers:
        chosen, frequency_hz = self.choice(lot), between_in_octaves(lot, self.frequency_hz)
        octaves = None if self.octaves is None else between(lot, self.octaves)
        quality = 0 * chosen + BUTTERWORTH if octaves is None else 2 ** (octaves / 2) / (2**octaves - 1)
        return FilterNumbers(chosen, frequency_hz, quality)

    def changed(self, values: Tensor, num_frames: Tensor, drawn: FilterNumbers) -> tuple[Tensor, Tensor]:
        return filtered(values, self.kind, self.sample_rate, drawn.frequency_hz, drawn.quality), num_frames
