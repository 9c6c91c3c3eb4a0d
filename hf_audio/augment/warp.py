"""Warping of spectrograms: the same sound at another time, speed and pitch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import NATURAL_DB, Windows


class WarpNumbers(NamedTuple):
    """Per window: the factors of time and of the mel axis, the shift in bins, what is added to its logarithms, and its
    start in [0, 1) of a full window."""

    stretch: Any
    scale: Any
    shift: Any
    gain: Any
    start: Any


@dataclass(frozen=True)
class Warp:
    """Time shift and stretch, frequency shift and scaling, and gain, in one resampling of the image per window.

    Scaling and shifting the mel axis imitates another instrument or another speaker's vocal tract (Jaitly and Hinton
    2013). Gain is added to all logarithms. A window without padding is treated as a loop, which may start anywhere. A
    shorter clip keeps its start and gets longer or shorter, and its padding stays padding. All channels of a window are
    warped in the same way.

    Attributes:
        time_stretch: speeds are between 1 / (1 + this value) and 1 + this value.
        frequency_scale: the mel axis is scaled by 1 / (1 + this value) to 1 + this value.
        frequency_shift_bins: maximum shift of the mel axis, in bins up or down.
        gain_db: maximum change of loudness, in decibels up or down.
        time_shift: whether a full window may start anywhere.
        probability: probability that a window's axes are changed; gain and time shift apply to every window.
    """

    time_stretch: float = 0.0
    frequency_scale: float = 0.0
    frequency_shift_bins: float = 0.0
    gain_db: float = 0.0
    time_shift: bool = True
    probability: float = 1.0
    reads_energies = True

    def draw(self, lot: Lot) -> WarpNumbers:
        numbers = lot.uniform(5)
        even = 2 * numbers[:, :4] - 1
        even[:, :3] *= lot.happens(self.probability)
        return WarpNumbers(
            (1 + self.time_stretch) ** even[:, 0],
            (1 + self.frequency_scale) ** even[:, 1],
            self.frequency_shift_bins * even[:, 2],
            self.gain_db / NATURAL_DB * even[:, 3],
            numbers[:, 4],
        )

    def apply(self, windows: Windows, drawn: WarpNumbers) -> Windows:
        if self.time_stretch or self.time_shift:
            windows = self._along_time(windows, drawn)
        values = windows.values
        if self.frequency_scale or self.frequency_shift_bins:
            values = self._along_bins(values, drawn)
        if self.gain_db:
            values = values + drawn.gain.view(-1, 1, 1, 1)
        return windows._replace(values=values)

    def _along_time(self, windows: Windows, drawn: WarpNumbers) -> Windows:
        num_frames = windows.values.shape[2]
        length = windows.num_frames.clamp(min=1).view(-1, 1)
        is_full = length == num_frames
        stretch = drawn.stretch.view(-1, 1)
        source = windows.frames / stretch
        last = length - 1
        turned = source + (drawn.start * num_frames).view(-1, 1) if self.time_shift else source
        source = torch.where(is_full, torch.remainder(turned, length), torch.minimum(source, last))
        low = torch.minimum(source.long(), last)
        high = low + 1
        high = torch.where(is_full, torch.remainder(high, length), torch.minimum(high, last))
        values = _between(windows.values, 2, low, high, source - low)
        if not self.time_stretch:
            return windows._replace(values=values.masked_fill_(windows.padding(), -torch.inf))
        longer = (length * stretch).round_().clamp_(1, num_frames).long()
        windows = windows._replace(num_frames=torch.where(is_full, length, longer).view(-1))
        return windows._replace(values=values.masked_fill_(windows.padding(), -torch.inf))

    def _along_bins(self, values: Tensor, drawn: WarpNumbers) -> Tensor:
        last = values.shape[3] - 1
        bins = torch.arange(last + 1, device=values.device) - last / 2
        source = (bins / drawn.scale.view(-1, 1) - (drawn.shift - last / 2).view(-1, 1)).clamp_(0, last)
        low = source.long()
        # keeps padding, which would become NaN as the difference of two infinities
        found = _between(values, 3, low, (low + 1).clamp(max=last), source - low)
        return torch.where(values[..., :1].isneginf(), values[..., :1], found)


def _between(values: Tensor, dim: int, low: Tensor, high: Tensor, share: Tensor) -> Tensor:
    """`values` `[batch, channels, frames, bins]` interpolated along `dim`, between the places `low` and `high`.

    Args:
        low, high: int64 `[batch, places]`.
        share: `[batch, places]`, weight of the higher place.
    """
    shape = (-1, 1, low.shape[1], 1) if dim == 2 else (-1, 1, 1, low.shape[1])
    low, high = (index.view(shape).expand_as(values) for index in (low, high))
    return torch.lerp(values.gather(dim, low), values.gather(dim, high), share.view(shape))
