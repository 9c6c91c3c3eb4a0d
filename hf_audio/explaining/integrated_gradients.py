"""Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365), for waveforms with most steps near silence.

For spectrograms this equals captum's implementation with Gauss-Legendre steps. Networks that normalize their input, as
Wav2Vec2 does at each convolution, react to a sound at a thousandth of its amplitude as they do to the full sound. Then
nearly all of the change happens in the first hundredth of the path from silence to the sound. Gauss-Legendre steps
hardly cover that part, and their sum misses the difference of the logits by as much as that difference.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hf_audio.explaining.questions import Question

SOUND_POWER = 8  # for waveforms, the path is parametrized by u^8


def integrated_gradients(question: Question, num_steps: int) -> tuple[Tensor, float]:
    """(input - baseline) x the mean gradient along the straight path from the baseline to the input.

    Args:
        num_steps: number of steps of the Gauss-Legendre quadrature.

    Returns:
        Relevance with the shape of the input, and how much its sum differs from the difference of the logits; they are
        equal with enough steps (completeness).
    """
    places: np.ndarray
    weights: np.ndarray
    places, weights = np.polynomial.legendre.leggauss(num_steps)
    places, weights = 0.5 * (places + 1.0), 0.5 * weights
    power = SOUND_POWER if question.grid.is_sound else 1
    places, weights = places**power, weights * power * places ** (power - 1)
    path = question.values - question.baseline
    total = torch.zeros_like(path, dtype=torch.float64)
    for first in range(0, num_steps, question.batch_size):
        some = slice(first, first + question.batch_size)
        shape = (-1, *(1,) * (path.ndim - 1))
        shares = torch.from_numpy(places[some]).to(path).reshape(shape)
        gradients = _gradients(question, question.baseline + shares * path)
        total += (torch.from_numpy(weights[some]).to(total).reshape(shape) * gradients).sum(dim=0, keepdim=True)
    found = (total * path).float()
    with torch.inference_mode():
        difference = question.logit(question.values) - question.logit(question.baseline)
    return found, float(found.sum()) - float(difference)


def _gradients(question: Question, values: Tensor) -> Tensor:
    """Gradients of the logit for several inputs `[n, ...]`."""
    with question.differentiable():
        values = values.detach().requires_grad_()
        (found,) = torch.autograd.grad(question.logit(values).sum(), values)
    return found
