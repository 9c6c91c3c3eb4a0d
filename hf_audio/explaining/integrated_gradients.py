"""Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365), of waveforms with most steps near silence.

captum has Gauss-Legendre steps, and of spectrograms this is the same. Networks that normalize what they read, as
Wav2Vec2 and its like do at each convolution, hear a sound at a thousandth of its amplitude as they hear the sound:
nearly all of the way from silence to the sound then lies in the first hundredth of it, where those steps hardly are,
and their sum misses the difference of the logits by as much as that difference.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hf_audio.explaining.questions import Question

SOUND_POWER = 8  # of waveforms, the way is gone as u^8


def integrated_gradients(question: Question, num_steps: int) -> tuple[Tensor, float]:
    """(input - baseline) x the mean of the gradient on the straight way from the baseline to the input.

    Args:
        num_steps: at which the gradient is taken, those of Gauss-Legendre quadrature.

    Returns:
        Numbers as the input, and how far their sum is from the difference of the logits, which it equals with steps
        enough (completeness).
    """
    places, weights = np.polynomial.legendre.leggauss(num_steps)
    places, weights = 0.5 * (places + 1.0), 0.5 * weights
    power = SOUND_POWER if question.grid.is_sound else 1
    places, weights = places**power, weights * power * places ** (power - 1)
    way = question.values - question.baseline
    total = torch.zeros_like(way, dtype=torch.float64)
    for first in range(0, num_steps, question.batch_size):
        some = slice(first, first + question.batch_size)
        shape = (-1, *(1,) * (way.ndim - 1))
        shares = torch.from_numpy(places[some]).to(way).reshape(shape)
        gradients = _gradients(question, question.baseline + shares * way)
        total += (torch.from_numpy(weights[some]).to(total).reshape(shape) * gradients).sum(dim=0, keepdim=True)
    found = (total * way).float()
    with torch.inference_mode():
        difference = question.logit(question.values) - question.logit(question.baseline)
    return found, float(found.sum()) - float(difference)


def _gradients(question: Question, values: Tensor) -> Tensor:
    """Of the logit by each of several inputs `[n, ...]`."""
    with question.differentiable():
        values = values.detach().requires_grad_()
        (found,) = torch.autograd.grad(question.logit(values).sum(), values)
    return found
