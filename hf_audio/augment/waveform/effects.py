"""Effects with SoX's names, with random strengths per window."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchaudio.functional import lfilter

from hf_audio.augment.draws import Lot
from hf_audio.augment.waveform.biquads import filtered
from hf_audio.augment.waveform.speed import one_of
from hf_audio.augment.waveform.step import WaveformStep, column, sent

NUM_STRENGTHS = 3


class Some(NamedTuple):
    """Windows that get the same effect: samples `[windows, samples]`, lengths `[windows, 1]`, and random numbers from 0
    to 1, `[windows, 3]` on the CPU."""

    values: Tensor
    lengths: Tensor
    drawn: Tensor
    sample_rate: int

    def number(self, place: int, minimum: float, maximum: float) -> Tensor:
        """A number per window in [minimum, maximum], `[windows, 1]` on their device."""
        return column(minimum + (maximum - minimum) * self.drawn[:, place], self.values)

    def seconds(self) -> Tensor:
        """Time of each sample, `[samples]`."""
        return torch.arange(self.values.shape[1], device=self.values.device) / self.sample_rate

    def wave(self, place: int, min_hz: float, max_hz: float) -> Tensor:
        """A slow sine per window between 0 and 1, `[windows, samples]`."""
        return 0.5 + 0.5 * torch.sin(2 * math.pi * self.number(place, min_hz, max_hz) * self.seconds())

    def filtered(self, kind: str, min_hz: float, max_hz: float, quality: float, max_db: float = 0.0) -> Tensor:
        """Filtered windows, with a random frequency, uniform in octaves, and gain up to `max_db` either way."""
        frequency = min_hz * (max_hz / min_hz) ** self.drawn[:, 0]
        gain_db = (2 * self.drawn[:, 1] - 1) * max_db
        return filtered(self.values, kind, self.sample_rate, frequency, torch.full_like(frequency, quality), gain_db)

    def later(self, delay_s: Tensor) -> Tensor:
        """The sound delayed by `[windows, 1]`, or by another delay per sample; silence before it."""
        source = torch.arange(self.values.shape[1], device=self.values.device) - delay_s * self.sample_rate
        low = source.floor()
        share, low = source - low, low.long()
        near = self.values.gather(1, low.clamp(min=0)) * (low >= 0)
        far = self.values.gather(1, (low + 1).clamp(0, self.values.shape[1] - 1)) * (low >= -1)
        return torch.lerp(near, far, share)


def allpass(some: Some) -> Tensor:
    """Changes phases, not the spectrum."""
    return some.filtered("all_pass", 100.0, 4000.0, 0.7)


def bandreject(some: Some) -> Tensor:
    """A notch."""
    return some.filtered("band_stop", 200.0, 4000.0, 1.0)


def bass(some: Some) -> Tensor:
    """Boosts or cuts low frequencies, up to 12 dB."""
    return some.filtered("low_shelf", 80.0, 300.0, 0.5, 12.0)


def treble(some: Some) -> Tensor:
    """Boosts or cuts high frequencies, up to 12 dB."""
    return some.filtered("high_shelf", 1500.0, 4000.0, 0.5, 12.0)


def equalizer(some: Some) -> Tensor:
    """Boosts or cuts a band, up to 12 dB."""
    return some.filtered("peak", 100.0, 6000.0, 1.0, 12.0)


def chorus(some: Some) -> Tensor:
    """A second voice, delayed by 20 to 30 ms, with a varying pitch."""
    return some.values + some.number(0, 0.3, 0.7) * some.later(0.02 + 0.01 * some.wave(1, 0.2, 1.0))


def flanger(some: Some) -> Tensor:
    """A second voice, delayed by up to 5 ms: a moving comb of notches."""
    return some.values + some.number(0, 0.5, 0.9) * some.later(0.005 * some.wave(1, 0.1, 1.0))


def tremolo(some: Some) -> Tensor:
    """Loudness that varies 2 to 10 times per second."""
    return some.values * (1 - some.number(0, 0.3, 0.9) * some.wave(1, 2.0, 10.0))


def echo(some: Some) -> Tensor:
    """The sound again, 50 to 300 ms later."""
    return some.values + some.number(0, 0.2, 0.7) * some.later(some.number(1, 0.05, 0.3))


def echos(some: Some) -> Tensor:
    """Three echoes, each quieter than the previous one."""
    level, delay_s = some.number(0, 0.2, 0.7), some.number(1, 0.05, 0.2)
    return some.values + sum(level**times * some.later(times * delay_s) for times in (1, 2, 3))


def contrast(some: Some) -> Tensor:
    """Raises quiet parts, by a sine of amplitudes, as in torchaudio.functional.contrast."""
    scaled = some.values / _peaks(some) * (math.pi / 2)
    return torch.sin(scaled + some.number(0, 0.05, 0.13) * torch.sin(4 * scaled))


def overdrive(some: Some) -> Tensor:
    """Cubic soft clipping, as in torchaudio.functional.overdrive, added to the sound."""
    driven = (some.number(0, 2.0, 10.0) * some.values / _peaks(some)).clamp(-1, 1)
    return 0.5 * some.values / _peaks(some) + 0.75 * (driven - driven**3 / 3)


def compand(some: Some) -> Tensor:
    """Compresses the dynamic range by a factor of 2 to 6 in decibels, over 20 ms; at most 30 dB of gain."""
    keep = math.exp(-1 / (0.02 * some.sample_rate))
    poles, zeros = (sent(torch.tensor(one), some.values) for one in ([1.0, -keep], [1.0 - keep, 0.0]))
    heard = 1 - keep ** (1 + torch.arange(some.values.shape[1], device=some.values.device))  # of the 20 ms
    level = lfilter(some.values.abs(), poles, zeros, clamp=False) / heard
    quiet = level.amax(dim=1, keepdim=True).clamp(min=1e-9) / 1000
    return some.values * level.clamp(min=quiet).pow(1 / some.number(0, 2.0, 6.0) - 1)


def fade(some: Some) -> Tensor:
    """Fades in and out, over up to a quarter of the window each."""
    place = torch.arange(some.values.shape[1], device=some.values.device)
    begins, ends = some.number(0, 0.02, 0.25) * some.lengths, some.number(1, 0.02, 0.25) * some.lengths
    return some.values * (place / begins).clamp(max=1) * ((some.lengths - place) / ends).clamp(0, 1)


def reverse(some: Some) -> Tensor:
    """Backwards."""
    source = some.lengths - 1 - torch.arange(some.values.shape[1], device=some.values.device)
    return some.values.gather(1, source.clamp(min=0))


def _peaks(some: Some) -> Tensor:
    return some.values.abs().amax(dim=1, keepdim=True).clamp(min=1e-9)


EFFECTS: dict[str, Callable[[Some], Tensor]] = {
    effect.__name__: effect
    for effect in (
        *(allpass, bandreject, bass, chorus, compand, contrast, echo, echos),
        *(equalizer, fade, flanger, overdrive, reverse, treble, tremolo),
    )
}


class EffectNumbers(NamedTuple):
    """Per window: whether it is chosen, the index of its effect, and strengths from 0 to 1 `[batch, 3]`."""

    chosen: Any
    effect: Any
    strengths: Any


@dataclass(frozen=True)
class Effects(WaveformStep):
    """One of several effects for each chosen window, all equally likely.

    Attributes:
        names: names in EFFECTS.
        sample_rate: sample rate in Hz.
    """

    probability: float
    names: tuple[str, ...]
    sample_rate: int
    keeps_level = True

    def draw(self, lot: Lot) -> EffectNumbers:
        return EffectNumbers(self.choice(lot), one_of(lot, len(self.names)), lot.uniform(NUM_STRENGTHS))

    def changed(self, values: Tensor, num_frames: Tensor, drawn: EffectNumbers) -> tuple[Tensor, Tensor]:
        found = torch.empty_like(values)
        for number in drawn.effect.unique():
            rows = (drawn.effect == number).nonzero()[:, 0]
            here = sent(rows, values)
            some = Some(values[here], num_frames[here][:, None], drawn.strengths[rows], self.sample_rate)
            found[here] = EFFECTS[self.names[int(number)]](some)
        return found, num_frames
