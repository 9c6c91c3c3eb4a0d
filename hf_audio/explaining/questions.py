"""What an explanation is about: the logit of one class for one window."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.explaining.grids import InputGrid, grid_of
from hf_audio.kinds import Form
from hf_audio.models.padding import known_frames
from hf_audio.sound_predictor import SoundPredictor

INPUT_NAMES = ("input_values", "input_features")
QUIET_SHARE = 0.05  # quantile of a window's values that serves as silence
BASELINES = {
    "quiet": "silence: 0 for waveforms, the 5% quantile of the window's values for spectrograms",
    "mean": "the mean of the training data, which is 0 in normalized inputs",
}


@dataclass(frozen=True)
class Question:
    """The question of why a model gives a class its logit for a window.

    Attributes:
        model: the model, in evaluation mode.
        inputs: the model's input for one window, on its device.
        target: the number of the class.
        labels: all classes.
        grid: the axes of the input.
        baseline: an input without evidence for the class, with the same padding as the input.
        baseline_name: a key of BASELINES.
        batch_size: windows per forward pass.
    """

    model: PreTrainedModel
    inputs: dict[str, Tensor]
    target: int
    labels: LabelSpace
    grid: InputGrid
    baseline: Tensor
    baseline_name: str
    batch_size: int = 8

    @property
    def values(self) -> Tensor:
        """The input itself, `[1, ...]`."""
        return self.inputs[self.grid.input_name]

    def of_model(self, model: PreTrainedModel) -> Question:
        """The same question for another model of the same architecture."""
        return replace(self, model=model)

    def outputs(self, values: Tensor, **options: Any) -> Any:
        """The model's output for other inputs `[n, ...]`, with gradients if they are enabled."""
        others = {
            name: one.expand(len(values), *one.shape[1:]) if len(one) == 1 else one
            for name, one in self.inputs.items()
            if name != self.grid.input_name
        }
        return self.model(**{self.grid.input_name: values}, **others, **options)

    def logit(self, values: Tensor) -> Tensor:
        """The logits of the class, `[n]`."""
        return self.outputs(values).logits[:, self.target].float()

    def scores(self, values: Iterator[Tensor]) -> np.ndarray:
        """The scores of the class, float64 `[n]`: softmax or sigmoid of the logits of inputs `[1, ...]`, in batches."""
        found, waiting = [], []
        with torch.inference_mode():
            for one in values:
                waiting.append(one)
                if len(waiting) == self.batch_size:
                    found.append(self.outputs(torch.cat(waiting)).logits.float().cpu())
                    waiting = []
            if waiting:
                found.append(self.outputs(torch.cat(waiting)).logits.float().cpu())
        return self.labels.probabilities(torch.cat(found).numpy())[:, self.target]

    @contextlib.contextmanager
    def differentiable(self) -> Iterator[None]:
        """Enables gradients, without cuDNN for recurrent layers: it supports their backward pass only in training."""
        is_recurrent = any(isinstance(module, nn.RNNBase) for module in self.model.modules())
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=not is_recurrent):
            yield


def ask(predictor: SoundPredictor, window: np.ndarray, target: int, baseline: str | None = None) -> Question:
    """The question for one window.

    Args:
        window: float32 `[samples]` or `[2, samples]`, at the model's rate.
        target: the number of the class.
        baseline: a key of BASELINES; by default "quiet", or "mean" for vectors, which have no silence.

    Raises:
        InputError: a baseline that is undefined for the model's input.
    """
    model = predictor.model
    inputs = predictor.inputs([window])
    name = next(name for name in INPUT_NAMES if name in inputs)
    grid = grid_of(predictor.extractor, inputs, name, window.shape[-1])
    if getattr(model, "reads_num_frames", False):
        known = known_frames(inputs[name], model.config.padding_value)
        inputs |= {} if known is None else {"num_frames": known}  # so that changed values are not taken for padding
    chosen = baseline or ("mean" if grid.form is Form.VECTORS else "quiet")
    inputs = {key: value.to(predictor.device) for key, value in inputs.items()}
    values = _baseline(chosen, inputs[name], grid, predictor)
    return Question(model, inputs, target, predictor.labels, grid, values, chosen, predictor.batch_size)


def _baseline(name: str, values: Tensor, grid: InputGrid, predictor: SoundPredictor) -> Tensor:
    if name == "mean":
        scale = predictor.kind.scale(predictor.extractor)
        if grid.is_sound or (scale is not None and not scale.is_centered):
            raise InputError(
                f"{predictor.name} reads {'waveforms' if grid.is_sound else 'values that are not normalized'}, where "
                "0 is not the mean of the training data: leave out --baseline"
            )
        quiet = torch.zeros_like(values)
    elif grid.form is Form.VECTORS:
        raise InputError(
            f"{predictor.name} reads classical features, for which silence is undefined: give --baseline mean"
        )
    elif grid.is_sound:
        quiet = torch.zeros_like(values)
    else:
        quiet = _quietest(values, grid).expand_as(values)
    is_sound = grid.spread(np.ones((1, grid.num_steps, grid.num_bands), dtype=bool), values)
    return torch.where(is_sound, quiet, values)


def _quietest(values: Tensor, grid: InputGrid) -> Tensor:
    """The QUIET_SHARE quantile of each channel's values within the sound, with time and frequency axes of size 1."""
    real = values[..., : grid.num_steps] if grid.bins_first else values[..., : grid.num_steps, :]
    flat = np.quantile(real.cpu().flatten(-2).numpy(), QUIET_SHARE, axis=-1)
    return torch.from_numpy(np.asarray(flat)).to(values)[..., None, None]
