"""A model's input as an image of time steps and frequency bands, for any order of its axes.

input_values [1, frames, bins], [1, channels, frames, bins]    a cell is a bin of a frame, summed over channels
input_features [1, bins, frames] (Whisper)                     the same
input_values [1, samples]                                      a cell is a step of 10 ms, over all frequencies
[1, steps, features]                                           a cell is a feature of a step
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import FeatureExtractionMixin

from hf_audio.kinds import Form, kind_of_extractor
from hf_audio.models.padding import known_frames

STEP_S = 0.010  # for waveforms: the usual hop of features


@dataclass(frozen=True)
class InputGrid:
    """The axes of a model's input.

    Attributes:
        input_name: "input_values" or "input_features".
        form: form of the features.
        num_steps: number of steps of the sound, without padding.
        size: length of the input's time axis: steps with padding, or samples.
        num_bands: number of bands; 1 for waveforms.
        step_s, first_s: seconds between steps, and up to the middle of the first one.
        hz: float64 `[bands]`, center frequencies; None if bands are not frequencies.
        samples_per_step: for waveforms; otherwise 1.
        bins_first: whether the input is `[bins, frames]`.
    """

    input_name: str
    form: Form
    num_steps: int
    size: int
    num_bands: int
    step_s: float
    first_s: float
    hz: np.ndarray | None
    samples_per_step: int = 1
    bins_first: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether the input is a waveform."""
        return self.form is Form.SOUND and self.num_bands == 1 and self.samples_per_step > 1

    @property
    def middles_s(self) -> np.ndarray:
        """float64 `[steps]`, the middle of each step in the window."""
        return self.first_s + self.step_s * np.arange(self.num_steps)

    def image(self, values: Tensor) -> np.ndarray:
        """Values with the shape of an input `[1, ...]` → float64 `[steps, bands]`, summed over channels and samples."""
        plane = values[0].detach().double().cpu()
        if self.is_sound:
            steps = -(-self.size // self.samples_per_step)
            padded = functional.pad(plane, (0, steps * self.samples_per_step - self.size))
            return padded.reshape(steps, self.samples_per_step).sum(dim=1)[: self.num_steps, None].numpy()
        if plane.ndim == 3:
            plane = plane.sum(dim=0)
        return (plane.T if self.bins_first else plane)[: self.num_steps].numpy()

    def spread(self, cells: np.ndarray, like: Tensor) -> Tensor:
        """Cells, bool `[n, steps, bands]` → bool with the shape of n inputs `like` `[1, ...]`; False in padding."""
        chosen = torch.from_numpy(np.ascontiguousarray(cells))
        if self.is_sound:
            samples = chosen[:, :, 0].repeat_interleave(self.samples_per_step, dim=1)[:, : self.size]
            return functional.pad(samples, (0, self.size - samples.shape[1])).to(like.device)
        chosen = functional.pad(chosen, (0, 0, 0, self.size - chosen.shape[1]))
        chosen = chosen.transpose(1, 2) if self.bins_first else chosen
        return (chosen[:, None] if like.ndim == 4 else chosen).to(like.device)


def grid_of(
    extractor: FeatureExtractionMixin, inputs: dict[str, Tensor], input_name: str, num_samples: int
) -> InputGrid:
    """The grid of one window's input.

    Args:
        extractor: the extractor that made the input.
        inputs: its output for one window.
        num_samples: length of the window's sound, at the extractor's rate.
    """
    kind, values, rate = kind_of_extractor(extractor), inputs[input_name], extractor.sampling_rate
    if values.ndim == 2:
        per_step, size = max(2, round(STEP_S * rate)), values.shape[1]
        num_steps = -(-min(num_samples, size) // per_step)
        step_s = per_step / rate
        return InputGrid(input_name, Form.SOUND, num_steps, size, 1, step_s, step_s / 2, None, per_step)
    axes = kind.axes(extractor)
    if axes is None:
        num_steps = int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else values.shape[-2]
        step_s = num_samples / rate / num_steps
        size, bands = values.shape[-2:]
        return InputGrid(input_name, kind.form, num_steps, size, bands, step_s, step_s / 2, None)
    bands, size = values.shape[-2:] if axes.bins_first else values.shape[:-3:-1]
    known = known_frames(values, kind.padding_value(extractor))
    covered = 1 + int(num_samples / rate / axes.frame_s)
    num_steps = min(covered, size) if known is None else int(known[0])
    return InputGrid(
        input_name, Form.IMAGE, num_steps, size, bands, axes.frame_s, axes.first_s, axes.hz, bins_first=axes.bins_first
    )
