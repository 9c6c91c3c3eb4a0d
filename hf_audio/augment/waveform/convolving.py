"""Convolution of windows, each with its own impulse response."""

from __future__ import annotations

from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional
from torchaudio.functional import fftconvolve


def convolved(values: Tensor, responses: Tensor) -> Tensor:
    """A causal convolution, cut to the length of `values`.

    Args:
        values: `[windows, samples]`.
        responses: `[windows, taps]`.
    """
    size = values.shape[1] + responses.shape[1] - 1
    fast = next_fast_len(size, real=True)  # an FFT of 95,999 samples takes four times longer than of 96,000
    return fftconvolve(functional.pad(values, (0, fast - size)), responses)[:, : values.shape[1]]
