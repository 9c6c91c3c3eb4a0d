"""Circular shifts of spectrograms in time and frequency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import Windows


class RollNumbers(NamedTuple):
    """Per window: the shift in frames (positive: later) and in bins (positive: up)."""

    frames: Any
    bins: Any


@dataclass(frozen=True)
class Roll:
    """Shifts each window by whole frames and bins, circularly.

    A sound shorter than its window is rolled within its own length, and its padding stays after it. All channels get
    the same shift.

    Attributes:
        longest_frames: maximum shift in time, in frames either way.
        most_bins: maximum shift in frequency, in bins either way.
    """

    longest_frames: int = 0
    most_bins: int = 0
    reads_energies = True

    def draw(self, lot: Lot) -> RollNumbers:
        return RollNumbers(*(_evenly(chance, most) for chance, most in zip(lot.uniform(2).T, self._most, strict=True)))

    @property
    def _most(self) -> tuple[int, int]:
        return self.longest_frames, self.most_bins

    def apply(self, windows: Windows, drawn: RollNumbers) -> Windows:
        values, frames = windows.values, windows.frames
        if self.longest_frames:
            length = windows.num_frames.clamp(min=1).view(-1, 1)
            source = torch.remainder(frames - drawn.frames.view(-1, 1).long(), length)
            values = _read(values, 2, torch.where(frames < length, source, frames))
        if self.most_bins:
            bins = torch.arange(values.shape[3], device=values.device)
            values = _read(values, 3, torch.remainder(bins - drawn.bins.view(-1, 1).long(), len(bins)))
        return windows._replace(values=values)


def _evenly(chance: np.ndarray, most: int) -> np.ndarray:
    """Integers from -most to most from numbers in [0, 1)."""
    return np.floor(chance * (2 * most + 1)) - most


def _read(values: Tensor, dim: int, source: Tensor) -> Tensor:
    """`[batch, channels, frames, bins]` read along `dim` at places int64 `[batch, places]`."""
    shape = (-1, 1, source.shape[1], 1) if dim == 2 else (-1, 1, 1, source.shape[1])
    return values.gather(dim, source.view(shape).expand_as(values))
