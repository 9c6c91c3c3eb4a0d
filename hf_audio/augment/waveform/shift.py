"""Time shifts of windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.waveform.step import WaveformStep, between, column


class ShiftNumbers(NamedTuple):
    """Per window: whether it is chosen, and its shift as a share in [-1, 1) of the maximum."""

    chosen: Any
    share: Any


@dataclass(frozen=True)
class Shift(WaveformStep):
    """Shifts the sound of a window within its own length.

    Attributes:
        most_samples: maximum shift either way, in samples; also limited to half of the length.
        mode: "roll": circular; "pad": fill the gap with silence.
    """

    probability: float
    most_samples: int
    mode: str = "roll"

    def draw(self, lot: Lot) -> ShiftNumbers:
        return ShiftNumbers(self.choice(lot), between(lot, (-1.0, 1.0)))

    def changed(self, values: Tensor, num_frames: Tensor, drawn: ShiftNumbers) -> tuple[Tensor, Tensor]:
        length = num_frames.clamp(min=1)[:, None]
        most = (length // 2).clamp(max=self.most_samples)
        offset = (column(drawn.share, values) * (most + 1)).long()
        source = torch.arange(values.shape[1], device=values.device) - offset
        if self.mode == "roll":
            return values.gather(1, source % length), num_frames
        is_outside = (source < 0) | (source >= length)
        return values.gather(1, source.clamp(0, values.shape[1] - 1)).masked_fill(is_outside, 0.0), num_frames
