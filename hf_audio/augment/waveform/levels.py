"""Gain, polarity and clipping of waveforms, and their standardization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.waveform.step import WaveformStep, between, column


class LevelNumbers(NamedTuple):
    """Per window: whether it is chosen, and decibels."""

    chosen: Any
    level_db: Any


class ChoiceNumbers(NamedTuple):
    """Per window: whether it is chosen."""

    chosen: Any


@dataclass(frozen=True)
class Gain(WaveformStep):
    """Louder or quieter by a random number of decibels."""

    probability: float
    gain_db: tuple[float, ...]

    def draw(self, lot: Lot) -> LevelNumbers:
        return LevelNumbers(self.choice(lot), between(lot, self.gain_db))

    def changed(self, values: Tensor, num_frames: Tensor, drawn: LevelNumbers) -> tuple[Tensor, Tensor]:
        return values * decibels(column(drawn.level_db, values)), num_frames


@dataclass(frozen=True)
class Polarity(WaveformStep):
    """Inverts the sign, which is inaudible and should be ignored by a network on waveforms too."""

    probability: float

    def draw(self, lot: Lot) -> ChoiceNumbers:
        return ChoiceNumbers(self.choice(lot))

    def changed(self, values: Tensor, num_frames: Tensor, drawn: ChoiceNumbers) -> tuple[Tensor, Tensor]:
        return -values, num_frames


@dataclass(frozen=True)
class Clipping(WaveformStep):
    """Clips samples at a level below the window's peak, as in an overloaded recording."""

    probability: float
    below_peak_db: tuple[float, ...]

    def draw(self, lot: Lot) -> LevelNumbers:
        return LevelNumbers(self.choice(lot), between(lot, self.below_peak_db))

    def changed(self, values: Tensor, num_frames: Tensor, drawn: LevelNumbers) -> tuple[Tensor, Tensor]:
        most = values.abs().amax(dim=1, keepdim=True) * decibels(column(-drawn.level_db, values))
        return torch.minimum(torch.maximum(values, -most), most), num_frames


class NoNumbers(NamedTuple):
    """Nothing is drawn."""


@dataclass(frozen=True)
class Standardize:
    """Mean 0 and variance 1 per window, as in the extractor of Wav2Vec2 and similar models; padding stays 0.

    It comes last if the model's extractor normalizes each window in this way.
    """

    reads_energies = True

    def draw(self, lot: Lot) -> NoNumbers:
        return NoNumbers()

    def apply(self, windows, drawn: NoNumbers):
        count = windows.num_frames.clamp(min=1)[:, None]
        is_padding = windows.frames >= windows.num_frames[:, None]
        centered = windows.values - windows.values.sum(dim=1, keepdim=True) / count
        centered = centered.masked_fill(is_padding, 0.0)
        variance = centered.square().sum(dim=1, keepdim=True) / count
        return windows._replace(values=centered / (variance + 1e-7).sqrt())  # its own epsilon


def decibels(level_db: Tensor) -> Tensor:
    """The amplitude factor of a level in dB."""
    return 10 ** (level_db / 20)
