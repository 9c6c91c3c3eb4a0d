"""The input of augmentations: log energies, recovered from normalized spectrograms, and known padding."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import FeatureExtractionMixin

from hf_audio.kinds import kind_of_extractor, normalized
from hf_audio.kinds.fbank import NATURAL_DB


class Windows(NamedTuple):
    """A batch between two augmentations.

    Attributes:
        values: float32 `[batch, channels, frames, bins]`, natural logarithms of energies, minus infinity in padding; or
            waveforms `[batch, samples]`.
        targets: float32 `[batch, classes]`.
        num_frames: int64 `[batch]`, number of frames (samples) per window that are not padding.
        frames: int64 `[frames]` (`[samples]`), 0, 1, 2 ...: created once for all augmentations.
    """

    values: Tensor
    targets: Tensor
    num_frames: Tensor
    frames: Tensor

    @classmethod
    def of(cls, values: Tensor, targets: Tensor, num_frames: Tensor) -> Windows:
        """From a batch, with values converted to float32."""
        size = values.shape[2] if values.ndim == 4 else values.shape[1]
        frames = torch.arange(size, device=values.device)
        return cls(values.float(), targets, num_frames.clamp(max=size), frames)

    def padding(self) -> Tensor:
        """Bool `[batch, 1, frames, 1]`, for images: which frames are padding."""
        return (self.frames >= self.num_frames.view(-1, 1)).view(-1, 1, len(self.frames), 1)


def change_some(
    chosen: Tensor, change: Callable[[Windows, Any], Tensor], windows: Windows, drawn: NamedTuple
) -> Tensor:
    """Values of windows after changing some of them. A CPU computes only these. A GPU computes all windows, since
    waiting for `chosen` would take longer.

    Args:
        chosen: bool `[batch]`.
        change: (windows, drawn) -> new values, unchanged for windows that are not chosen.
        drawn: numbers of each window, `[batch, ...]` each.
    """
    if windows.values.device.type != "cpu":
        return change(windows, drawn)
    places = chosen.nonzero()[:, 0]
    if not len(places):
        return windows.values
    some = Windows(windows.values[places], windows.targets[places], windows.num_frames[places], windows.frames)
    changed = change(some, type(drawn)(*(numbers[places] for numbers in drawn)))
    return windows.values.index_copy(0, places, changed)


@dataclass(frozen=True)
class Normalization:
    """How stored log energies become inputs: (value - mean) / (deviations * std), separately for each channel.

    Attributes:
        mean, std: mean and standard deviation of the stored values; one number, or one per channel.
        deviations: ASTFeatureExtractor divides by two standard deviations, SpectrogramFeatureExtractor by one.
        unit_db: decibels per unit of the stored values; 4.343 for natural logarithms.
        padding: input value of padding frames; None: the value of a log-mel of 0, as in ASTFeatureExtractor.
        is_centered: whether an input of 0 is the mean of the training data, or of the clip.
    """

    mean: Any  # a number, or a tuple with one per channel
    std: Any
    deviations: float = 2.0
    unit_db: float = NATURAL_DB
    padding: float | None = None
    is_centered: bool = True

    @classmethod
    def of(cls, extractor: FeatureExtractionMixin) -> Normalization:
        """The normalization of an extractor of images; the identity if each clip is normalized by itself."""
        scale: Any = kind_of_extractor(extractor).scale(extractor)
        return cls(*scale[:-1])

    @property
    def padding_value(self) -> float:
        return normalized(0.0, self.mean, self.deviations * self.std) if self.padding is None else self.padding

    def apply(self, log_energy: Tensor) -> Tensor:
        """Natural logarithms of energies `[batch, (channels,) frames, bins]` → inputs."""
        mean, scale = self._shaped(log_energy)
        return normalized(log_energy, mean, scale)

    def undo(self, features: Tensor) -> Tensor:
        """Inputs → natural logarithms of energies."""
        mean, scale = self._shaped(features)
        return features * scale + mean

    def _shaped(self, features: Tensor) -> tuple[float | Tensor, float | Tensor]:
        """Mean and divisor of natural logarithms: numbers, or `[channels, 1, 1]` on the device of the features."""
        unit = self.unit_db / NATURAL_DB
        if not isinstance(self.mean, tuple):
            return self.mean * unit, self.deviations * self.std * unit
        mean = tuple(one * unit for one in self.mean)
        return _on(mean, features.device), _on(tuple(self.deviations * one * unit for one in self.std), features.device)


@functools.lru_cache(maxsize=64)
def _on(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """A number per channel `[channels, 1, 1]`: copied to a device once, not with every batch."""
    return torch.tensor(numbers, device=device)[:, None, None]
