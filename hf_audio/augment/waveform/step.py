"""Base class of waveform augmentations: some windows of a batch are chosen and changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import Windows

KEYS = 1 << 24  # float32 represents integers exactly up to this


class WaveformStep(ABC):
    """An augmentation of waveforms `[batch, samples]`; a subclass draws numbers and changes the chosen windows.

    The first field of the numbers is `chosen`, `[batch]`, 1 or 0. Numbers are on the CPU, so windows are chosen without
    waiting for the device, and other windows cost nothing. The result for a window depends only on its own samples and
    numbers, not on other windows or the length of the batch.

    Attributes:
        probability: probability of changing a window.
        reads_energies: True, so it comes before masks.
        draws_on_host: `apply` gets the numbers on the CPU, for windows on any device.
        keeps_level: restore the mean energy of a window, so that only gain changes loudness.
    """

    probability: float
    reads_energies = True
    draws_on_host = True
    keeps_level = False

    @abstractmethod
    def draw(self, lot: Lot) -> Any:
        """A named tuple of arrays `[batch]`, starting with `chosen`."""

    @abstractmethod
    def changed(self, values: Tensor, num_frames: Tensor, drawn: Any) -> tuple[Tensor, Tensor]:
        """Changes the chosen windows.

        Args:
            values: float32 `[windows, samples]`, 0 in padding.
            num_frames: int64 `[windows]`, samples per window that are not padding.
            drawn: numbers of these windows, tensors on the CPU.

        Returns:
            New values of the same shape, with arbitrary values in padding; and num_frames, not larger than before.
        """

    def apply(self, windows: Windows, drawn: Any) -> Windows:
        rows = drawn.chosen.nonzero()[:, 0]
        if not len(rows):
            return windows
        here = sent(rows, windows.values)
        values, num_frames = windows.values[here], windows.num_frames[here]
        # a convolution in half precision would be audible
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
    """A uniform number within a range for each window, `[batch]`."""
    return span[0] + (span[1] - span[0]) * lot.uniform()[:, 0]


def between_in_octaves(lot: Lot, span: tuple[float, ...]) -> np.ndarray:
    """The same for frequencies and ratios, uniform in octaves."""
    return np.exp(between(lot, (np.log(span[0]), np.log(span[1]))))


def keys(lot: Lot) -> np.ndarray:
    """A key for the noise of each window, see `uniform_noise`."""
    return np.floor(lot.uniform()[:, 0] * KEYS)


def column(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers of windows as `[windows, 1]`, with the device and type of their values."""
    return sent(numbers.to(like.dtype), like)[:, None]


def sent(numbers: Tensor, like: Tensor) -> Tensor:
    """Copies a few numbers from the CPU to the device of `like`, without waiting for the device."""
    return numbers.to(like.device, non_blocking=True)


def mean_energy(values: Tensor, num_frames: Tensor) -> Tensor:
    """Mean energy of each window, whose padding is silent, `[windows, 1]`."""
    return values.square().sum(dim=1, keepdim=True) / num_frames.clamp(min=1)[:, None]


def as_loud(values: Tensor, num_frames: Tensor, before: Tensor, frames_before: Tensor) -> Tensor:
    """Windows scaled to the mean energy that they had before; windows that became silent stay silent."""
    wanted, found = mean_energy(before, frames_before), mean_energy(values, num_frames)
    return values * torch.where(found > 0, wanted / found.clamp(min=1e-30), 0.0).sqrt()
