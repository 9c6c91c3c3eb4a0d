"""Speed, pitch and tempo, at a bounded number of ratios, so that torchaudio does windows of one ratio at once."""

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

NUM_RATIOS = 16  # at most, between the least and the most
MAX_DENOMINATOR = 100  # of a fraction that stands for a ratio: the filter of a resampling has as many phases
FRAME_S = 0.064  # of the phase vocoder, a power of two of samples near it
OVERLAP = 4
BEHIND = 64  # samples under one filter of a resampling, and more


class RatioNumbers(NamedTuple):
    """Of each window: whether it is chosen, and which of the step's ratios it gets."""

    chosen: Any
    ratio: Any


class AtRatio(WaveformStep):
    """Gives each chosen window one of a few ratios between its `bounds`.

    Raises:
        InputError: see `ratios_between`.
    """

    def __post_init__(self) -> None:
        ratios_between(*self.bounds)  # a range that changes nothing is refused now, not at the first step

    @property
    @abstractmethod
    def bounds(self) -> tuple[float, ...]:
        """The least and the greatest ratio."""

    @property
    def ratios(self) -> tuple[Fraction, ...]:
        return ratios_between(*self.bounds)

    def draw(self, lot: Lot) -> RatioNumbers:
        return RatioNumbers(self.choice(lot), one_of(lot, len(self.ratios)))


@dataclass(frozen=True)
class Speed(AtRatio):
    """Faster or slower, pitch and all, as a tape is; what gets longer than the window is cut off.

    Attributes:
        speed: the slowest and the fastest.
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
    """Faster or slower at the same pitch, by a phase vocoder, which smears attacks over 64 ms.

    Attributes:
        tempo: the slowest and the fastest.
        sample_rate: in Hz.
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
    """Higher or lower in the same time: a phase vocoder makes it longer, and speed brings it back.

    Attributes:
        semitones: the most downwards and upwards; a sixteenth of the way apart at least.
        sample_rate: in Hz.
    """

    probability: float
    semitones: tuple[float, ...]
    sample_rate: int

    @property
    def bounds(self) -> tuple[float, ...]:
        least, most = self.semitones
        return 2 ** (least / 12), 2 ** (most / 12)

    def changed(self, values: Tensor, num_frames: Tensor, drawn: RatioNumbers) -> tuple[Tensor, Tensor]:
        def change(some: Tensor, ratio: Fraction) -> Tensor:
            num_samples = math.ceil(some.shape[1] * ratio) + BEHIND  # of which the window's last ones are made too
            longer = stretched(some, 1 / ratio, self.sample_rate, num_samples)
            return faster(longer, ratio)[:, : some.shape[1]]

        return by_ratio(values, drawn.ratio, self.ratios, change), num_frames


@functools.cache  # asked for at each step, and each time the same
def ratios_between(least: float, most: float) -> tuple[Fraction, ...]:
    """At most NUM_RATIOS fractions, evenly spaced in octaves.

    Raises:
        InputError: all of them are 1, so that nothing would change.
    """
    wanted = np.geomspace(least, most, NUM_RATIOS if most > least else 1)
    found = {Fraction(float(one)).limit_denominator(MAX_DENOMINATOR) for one in wanted}
    if found == {1}:
        raise InputError(
            f"Speeds and pitches between {least:.4g} and {most:.4g} of the recorded ones differ by less than 1 in "
            f"{MAX_DENOMINATOR}, and nothing would change: give a wider range, or a probability of 0"
        )
    return tuple(sorted(found))


def one_of(lot: Lot, count: int) -> np.ndarray:
    """Which of `count` things each window gets, `[batch]`."""
    return np.floor(lot.uniform()[:, 0] * count)


def by_ratio(
    values: Tensor, numbers: Tensor, ratios: Sequence[Fraction], change: Callable[[Tensor, Fraction], Tensor]
) -> Tensor:
    """Windows `[windows, samples]`, those of each ratio at once through `change`, and cut or filled to their length.

    Args:
        numbers: which of the ratios each has, on the CPU.
    """
    found = torch.empty_like(values)
    for number in numbers.unique():
        rows = sent((numbers == number).nonzero()[:, 0], values)
        changed = change(values[rows], ratios[int(number)])[:, : values.shape[1]]
        found[rows] = functional.pad(changed, (0, values.shape[1] - changed.shape[1]))
    return found


def faster(values: Tensor, ratio: Fraction) -> Tensor:
    """Windows played so much faster, `[windows, samples / ratio]`."""
    return resample(values, ratio.numerator, ratio.denominator)


def shorter(num_frames: Tensor, numbers: Tensor, ratios: Sequence[Fraction]) -> Tensor:
    """Samples of windows that were played faster; of slower ones what the window holds."""
    ratio = torch.tensor([float(one) for one in ratios], dtype=torch.float64)[numbers.long()]
    return torch.minimum(num_frames, (num_frames / sent(ratio, num_frames)).round().clamp(min=1).long())


def stretched(values: Tensor, tempo: Fraction, sample_rate: int, num_samples: int) -> Tensor:
    """Windows played so much faster at the same pitch, the first `num_samples` of what comes out."""
    size = 1 << round(math.log2(FRAME_S * sample_rate))
    hop, window = size // OVERLAP, torch.hann_window(size, device=values.device)
    enough = math.ceil(num_samples * tempo) + 2 * size  # what is not heard need not be computed
    padded = functional.pad(values[:, :enough], (0, size))
    spectrum = torch.stft(padded, size, hop, window=window, pad_mode="constant", return_complex=True)
    advance = torch.linspace(0, math.pi * hop, size // 2 + 1, device=values.device)[:, None]
    moved = phase_vocoder(spectrum, float(tempo), advance)
    found = torch.istft(moved, size, hop, window=window)[:, :num_samples]
    return functional.pad(found, (0, num_samples - found.shape[1]))
