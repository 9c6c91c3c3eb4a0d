"""What all augmentations of waveforms share: some windows are chosen, and nothing else of a batch is touched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import Windows

KEYS = 1 << 24  # integers that float32 holds exactly


class WaveformStep(ABC):
    """An augmentation of waveforms `[batch, samples]`; a subclass draws numbers and changes the windows chosen.

    The first field of what is drawn is `chosen`, `[batch]`, 1 or 0. Numbers come as they are on the CPU, so that
    windows are chosen there without waiting for the device, and windows that are not chosen cost nothing. What a window
    becomes depends on its own samples and numbers alone: not on other windows, nor on how long the batch is.

    Attributes:
        probability: that a window is changed at all.
        reads_energies: it comes before masks.
        draws_on_host: `apply` reads what was drawn on the CPU, whatever the device of the windows is.
        keeps_level: the mean energy of a window is brought back to what it was, so that only gain changes loudness.
    """

    probability: float
    reads_energies = True
    draws_on_host = True
    keeps_level = False

    @abstractmethod
    def draw(self, lot: Lot) -> Any:
        """A named tuple of arrays `[batch]`, the first of which is `chosen`."""

    @abstractmethod
    def changed(self, values: Tensor, num_frames: Tensor, drawn: Any) -> tuple[Tensor, Tensor]:
        """The windows chosen, changed.

        Args:
            values: float32 `[windows, samples]`, 0 in padding.
            num_frames: int64 `[windows]`, samples of each that are not padding.
            drawn: of these windows, tensors on the CPU.

        Returns:
            The same: values of the same shape, whatever they are in padding; no num_frames is larger than it was.
        """

    def apply(self, windows: Windows, drawn: Any) -> Windows:
        rows = drawn.chosen.nonzero()[:, 0]
        if not len(rows):
            return windows
        here = sent(rows, windows.values)
        values, num_frames = windows.values[here], windows.num_frames[here]
        # a convolution of samples in half precision would be heard
        with torch.no_grad(), torch.autocast(values.device.type, enabled=False):
            new, longest = self.changed(values, num_frames, type(drawn)(*(field[rows] for field in drawn)))
        new = new.masked_fill(windows.frames >= longest[:, None], 0.0)
        if self.keeps_level:
            new = as_loud(new, longest, values, num_frames)
        return windows._replace(
            values=windows.values.index_copy(0, here, new),
            num_frames=windows.num_frames.index_copy(0, here, longest),
        )

    def choice(self, lot: Lot) -> np.ndarray:
        """Which windows are chosen, 1 or 0 `[batch]`."""
        return (lot.uniform()[:, 0] < self.probability).astype(np.float32)


def between(lot: Lot, span: tuple[float, ...]) -> np.ndarray:
    """A number within a span for each window, all equally likely, `[batch]`."""
    return span[0] + (span[1] - span[0]) * lot.uniform()[:, 0]


def between_in_octaves(lot: Lot, span: tuple[float, ...]) -> np.ndarray:
    """The same of frequencies and other ratios: each octave equally likely."""
    return np.exp(between(lot, (np.log(span[0]), np.log(span[1]))))


def keys(lot: Lot) -> np.ndarray:
    """A key of each window's own noise, see `uniform_noise`."""
    return np.floor(lot.uniform()[:, 0] * KEYS)


def column(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers of windows, `[windows, 1]` beside their values: on the same device, of the same type."""
    return sent(numbers.to(like.dtype), like)[:, None]


def sent(numbers: Tensor, like: Tensor) -> Tensor:
    """A few numbers of the CPU on the device of `like`, without waiting for what it is doing."""
    return numbers.to(like.device, non_blocking=True)


def mean_energy(values: Tensor, num_frames: Tensor) -> Tensor:
    """Of each window, whose padding is silence, `[windows, 1]`."""
    return values.square().sum(dim=1, keepdim=True) / num_frames.clamp(min=1)[:, None]


def as_loud(values: Tensor, num_frames: Tensor, before: Tensor, frames_before: Tensor) -> Tensor:
    """Windows with the mean energy that they had before; of one that has fallen silent nothing is made."""
    wanted, found = mean_energy(before, frames_before), mean_energy(values, num_frames)
    return values * torch.where(found > 0, wanted / found.clamp(min=1e-30), 0.0).sqrt()
