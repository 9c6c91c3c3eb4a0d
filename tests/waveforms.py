"""Waveforms for tests, and their augmentation by one step."""

from __future__ import annotations

from typing import Any

import torch
from augmenting import places
from torch import Tensor

from hf_audio.augment import Compose
from hf_audio.augment.draws import Draws
from hf_audio.augment.waveform import WaveformStep

RATE = 16_000


def tone(frequency_hz: float, num_samples: int = RATE, amplitude: float = 0.5) -> Tensor:
    """A sine, `[samples]`."""
    return amplitude * torch.sin(2 * torch.pi * frequency_hz * torch.arange(num_samples) / RATE)


def white(count: int = 4, num_samples: int = RATE) -> Tensor:
    """Windows full of white noise, `[windows, samples]`."""
    return 0.1 * torch.randn(count, num_samples, generator=torch.Generator().manual_seed(0))


def augmented_waves(
    step: WaveformStep, values: Tensor, num_frames: Tensor | None = None, drawn: Any = None, first: int = 0
) -> tuple[Tensor, Tensor]:
    """Windows after a step, with its own numbers (for places from `first` on) or given ones; and num_frames."""
    count, num_samples = values.shape
    num_frames = torch.full((count,), num_samples) if num_frames is None else num_frames
    compose = Compose((step,), None)
    draws = compose.draw(places(count, first=first)) if drawn is None else Draws.of([drawn])
    found, _, num_frames = compose(values, torch.zeros(count, 1), num_frames, draws)
    return found, num_frames


def level_db(values: Tensor) -> Tensor:
    """Mean energy of each window in decibels, `[windows]`."""
    return 10 * values.double().square().mean(dim=-1).log10()


def loudest_hz(values: Tensor) -> float:
    """The loudest frequency of a window `[samples]`, interpolated by a parabola through three bins of the spectrum."""
    spectrum = torch.fft.rfft(values * torch.hann_window(len(values))).abs().clamp(min=1e-12).log()
    peak = int(spectrum[1:-1].argmax()) + 1
    left, middle, right = spectrum[peak - 1 : peak + 2].tolist()
    return (peak + (left - right) / 2 / (left - 2 * middle + right)) * RATE / len(values)
