"""The relevant part of a sound for listening: the sound's spectrogram, masked by the relevance."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from hf_audio.explaining.grids import InputGrid

FFT_S = 0.064  # resolves the harmonics of low voices, and keeps beats sharp
FULL_SHARE = 0.01  # share of the most relevant cells, which are played at full level
SMOOTHING_STEPS, SMOOTHING_BANDS = 2.0, 1.0  # standard deviations; without smoothing, single cells would ring


def mask_of(relevance: np.ndarray) -> np.ndarray:
    """Relevance `[steps, bands]` → levels from 0 to 1, relative to the strongest evidence for the class.

    All levels are 0 if there is no evidence for it.
    """
    smooth = gaussian_filter(np.maximum(relevance, 0.0), (SMOOTHING_STEPS, SMOOTHING_BANDS), mode="nearest")
    positive = smooth[smooth > 0]
    if not positive.size:
        return np.zeros_like(smooth)
    return np.clip(smooth / np.quantile(positive, 1 - FULL_SHARE), 0.0, 1.0)


def masked_sound(window: np.ndarray, sample_rate: int, grid: InputGrid, relevance: np.ndarray) -> np.ndarray:
    """A window whose spectrogram is multiplied by the mask of a relevance, float32 with the window's shape.

    If bands are frequencies, the mask covers time and frequency; otherwise only time, from the sum over bands.

    Args:
        window: `[samples]` or `[2, samples]`.
        relevance: `[steps, bands]`.
    """
    num_samples = window.shape[-1]
    fft_samples = max(16, 1 << round(np.log2(FFT_S * sample_rate)))
    hop = fft_samples // 4
    frames_s = np.arange(1 + num_samples // hop) * hop / sample_rate
    if grid.hz is None:
        over_time = mask_of(relevance.sum(axis=1, keepdims=True))[:, 0]
        seconds = np.arange(num_samples) / sample_rate
        return (window * np.interp(seconds, grid.middles_s, over_time)).astype(np.float32)
    over_bands = np.linspace(0, sample_rate / 2, fft_samples // 2 + 1)
    mask = _at(_at(mask_of(relevance), grid.middles_s, frames_s).T, grid.hz, over_bands)  # [frequencies, frames]
    hann = torch.hann_window(fft_samples)
    sound = torch.from_numpy(np.ascontiguousarray(window, dtype=np.float32))
    padding = {"center": True, "pad_mode": "constant"}
    spectrum = torch.stft(sound, fft_samples, hop, window=hann, return_complex=True, **padding)
    masked = spectrum * torch.from_numpy(mask).float()
    return torch.istft(masked, fft_samples, hop, window=hann, length=num_samples).numpy()


def _at(values: np.ndarray, places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values `[places, ...]`, interpolated linearly along the first axis, and constant beyond its ends."""
    return np.stack([np.interp(wanted, places, column) for column in values.T], axis=1)
