"""Runs a model on windows of different lengths in batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from hf_audio.sound_predictor import SoundPredictor
from hf_audio.tagging.blocks import joined


def logits_of_windows(predictor: SoundPredictor, windows: Sequence[np.ndarray]) -> np.ndarray:
    """The logits of `SoundPredictor.waveform` for each window, in fewer forward passes: float32 `[windows, classes]`.

    The features of windows with different lengths are extracted separately, since an extractor may pad the shorter
    ones of a batch differently from how it pads a single window. Inputs of the same shape are then batched.

    Args:
        windows: `[samples]` or `[2, samples]` at the model's rate.
    """
    order = sorted(range(len(windows)), key=lambda place: (windows[place].ndim, windows[place].shape[-1]))
    found = np.empty((len(windows), len(predictor.labels)), dtype=np.float32)
    waiting: list[dict[str, Tensor]] = []
    places: list[int] = []

    def answer() -> None:
        if waiting:
            found[places] = predictor.logits(joined(waiting))
        waiting.clear()
        places.clear()

    for alike in _runs(windows, order, predictor.batch_size):
        inputs = predictor.inputs([windows[place] for place in alike])
        is_full = len(places) + len(alike) > predictor.batch_size
        if is_full or (waiting and _shapes(waiting[0]) != _shapes(inputs)):
            answer()
        waiting.append(inputs)
        places += alike
    answer()
    return found


def _runs(windows: Sequence[np.ndarray], order: Sequence[int], max_length: int) -> list[list[int]]:
    """Runs of neighbors with the same shape."""
    runs: list[list[int]] = []
    for place in order:
        if runs and len(runs[-1]) < max_length and windows[runs[-1][-1]].shape == windows[place].shape:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _shapes(inputs: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape[1:]) for name, value in inputs.items()}
