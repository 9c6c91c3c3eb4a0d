"""Speed, pitch and tempo, with a limited number of ratios, so that torchaudio can process windows with the same ratio
together."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchaudio.functional import phase_vocoder, resample

from hf_audio.augment.draws import Lot
from hf_audio.augment.waveform.step import WaveformStep, sent
from hf_audio.errors import InputError

NUM_RATIOS = 16  # maximum number of ratios in a range
MAX_DENOMINATOR = 100  # of ratios as fractions, which is the number of phases of the resampling filter
FRAME_S = 0.064  # of the phase vocoder, rounded to a power of two in samples
OVERLAP = 4
MARGIN_SAMPLES = 64  # more than the length of the resampling filter


class RatioNumbers(NamedTuple):
    """Per window: whether it is chosen, and the index of its ratio."""

    chosen: Any
    ratio: Any


class AtRatio(WaveformStep):
    """Gives each chosen window one of a few ratios between its `bounds`.

    Raises:
        InputError: see `ratios_between`.
    """

    def __post_init__(self) -> None:
        ratios_between(*self.bounds)  # refuses a range without effect now rather than at the first step

    @property
    @abstractmethod
    def bounds(self) -> tuple[float, ...]:
        """Minimum and maximum ratio."""

    @property
    def ratios(self) -> tuple[Fraction, ...]:
        return ratios_between(*self.bounds)

    def draw(self, lot: Lot) -> RatioNumbers:
        return RatioNumbers(self.choice(lot), one_of(lot, len(self.ratios)))


@dataclass(frozen=True)
class Speed(AtRatio):
    """Faster or slower, changing the pitch too, like a tape; sound beyond the window's end is cut.

    Attributes:
        speed: minimum and maximum.
    """

    probability: float
    speed: tuple[float, ...]

    @property
    def bounds(self) -> tuple[float, ...]:
        return self.speed

    def changed(self, values: Tensor, num_frames: Tensor, drawn: RatioNumbers) -> tuple[Tensor, Tensor]:
        return by_ratio(values, drawn.ratio, self.ratios, faster), shorter(num_frames, drawn.ratio, self.ratios)


@dataclass(frozen=True)
class TimeStretch(AtRatio):
    """Faster or slower at the same pitch, with a phase vocoder, which smears attacks over 64 ms.

    Attributes:
        tempo: minimum and maximum.
        sample_rate: sample rate in Hz.
    """

    probability: float
    tempo: tuple[float, ...]
    sample_rate: int

    @property
    def bounds(self) -> tuple[float, ...]:
        return self.tempo

    def changed(self, values: Tensor, num_frames: Tensor, drawn: RatioNumbers) -> tuple[Tensor, Tensor]:
        def change(some: Tensor, ratio: Fraction) -> Tensor:
            return stretched(some, ratio, self.sample_rate, some.shape[1])

        return by_ratio(values, drawn.ratio, self.ratios, change), shorter(num_frames, drawn.ratio, self.ratios)


@dataclass(frozen=True)
class PitchShift(AtRatio):
    """Higher or lower with the same duration: a phase vocoder stretches the sound, and resampling reverses that.

    Attributes:
        semitones: minimum and maximum; the range is divided into at most 16 steps.
        sample_rate: sample rate in Hz.
    """

    probability: float
    semitones: tuple[float, ...]
    sample_rate: int

    @property
    def bounds(self) -> tuple[float, ...]:
        minimum, maximum = self.semitones
        return 2 ** (minimum / 12), 2 ** (maximum / 12)

    def changed(self, values: Tensor, num_frames: Tensor, drawn: RatioNumbers) -> tuple[Tensor, Tensor]:
        def change(some: Tensor, ratio: Fraction) -> Tensor:
            num_samples = math.ceil(some.shape[1] * ratio) + MARGIN_SAMPLES  # also enough for the window's last samples
            longer = stretched(some, 1 / ratio, self.sample_rate, num_samples)
            return faster(longer, ratio)[:, : some.shape[1]]

        return by_ratio(values, drawn.ratio, self.ratios, change), num_frames


@functools.cache  # called at each step with the same arguments
def ratios_between(minimum: float, maximum: float) -> tuple[Fraction, ...]:
    """At most NUM_RATIOS fractions, evenly spaced in octaves.

    Raises:
        InputError: all of them are 1, so nothing would change.
    """
    wanted = np.geomspace(minimum, maximum, NUM_RATIOS if maximum > minimum else 1)
    found = {Fraction(float(one)).limit_denominator(MAX_DENOMINATOR) for one in wanted}
    if found == {1}:
        raise InputError(
            f"Ratios of speed or pitch between {minimum:.4g} and {maximum:.4g} differ from 1 by less than 1 in "
            f"{MAX_DENOMINATOR}, so nothing would change: use a wider range, or a probability of 0"
        )
    return tuple(sorted(found))


def one_of(lot: Lot, count: int) -> np.ndarray:
    """A random index below `count` for each window, `[batch]`."""
    return np.floor(lot.uniform()[:, 0] * count)


def by_ratio(
    values: Tensor, numbers: Tensor, ratios: Sequence[Fraction], change: Callable[[Tensor, Fraction], Tensor]
) -> Tensor:
    """Windows `[windows, samples]` after `change`, which gets all windows of a ratio at once; cut or padded to their
    original length.

    Args:
        numbers: index of each window's ratio, on the CPU.
    """
    found = torch.empty_like(values)
    for number in numbers.unique():
        rows = sent((numbers == number).nonzero()[:, 0], values)
        changed = change(values[rows], ratios[int(number)])[:, : values.shape[1]]
        found[rows] = functional.pad(changed, (0, values.shape[1] - changed.shape[1]))
    return found


def faster(values: Tensor, ratio: Fraction) -> Tensor:
    """Windows played faster by this ratio, `[windows, samples / ratio]`."""
    return resample(values, ratio.numerator, ratio.denominator)


def shorter(num_frames: Tensor, numbers: Tensor, ratios: Sequence[Fraction]) -> Tensor:
    """Lengths of windows after a change of speed, at most those before."""
    ratio = torch.tensor([float(one) for one in ratios], dtype=torch.float64)[numbers.long()]
    return torch.minimum(num_frames, (num_frames / sent(ratio, num_frames)).round().clamp(min=1).long())


def stretched(values: Tensor, tempo: Fraction, sample_rate: int, num_samples: int) -> Tensor:
    """Windows played faster by this ratio at the same pitch: the first `num_samples` of the result."""
    size = 1 << round(math.log2(FRAME_S * sample_rate))
    hop, window = size // OVERLAP, torch.hann_window(size, device=values.device)
    enough = math.ceil(num_samples * tempo) + 2 * size  # the rest is not needed
    padded = functional.pad(values[:, :enough], (0, size))
    spectrum = torch.stft(padded, size, hop, window=window, pad_mode="constant", return_complex=True)
    advance = torch.linspace(0, math.pi * hop, size // 2 + 1, device=values.device)[:, None]
    moved = phase_vocoder(spectrum, float(tempo), advance)
    found = torch.istft(moved, size, hop, window=window)[:, :num_samples]
    return functional.pad(found, (0, num_samples - found.shape[1]))
