"""Center frequencies of mel filters on the two mel scales of the extractors, for axes of plots."""

from __future__ import annotations

import math

import numpy as np
from transformers.audio_utils import hertz_to_mel, mel_to_hertz

from hf_audio.extractors.fbank import LOWEST_HZ


def kaldi_middles_hz(sampling_rate: int, num_mel_bins: int) -> np.ndarray:
    """Peaks of the triangles of `kaldi_mel_filters`: float64 `[mel bins]`, in Hz."""
    lowest, highest = (1127.0 * math.log(1.0 + hz / 700.0) for hz in (LOWEST_HZ, 0.5 * sampling_rate))
    return 700.0 * np.expm1(np.linspace(lowest, highest, num_mel_bins + 2)[1:-1] / 1127.0)


def slaney_middles_hz(highest_hz: float, num_mel_bins: int) -> np.ndarray:
    """The same for Slaney's filters from 0 Hz to `highest_hz`, which librosa and Whisper use."""
    highest = hertz_to_mel(float(highest_hz), mel_scale="slaney")
    return mel_to_hertz(np.linspace(0.0, highest, num_mel_bins + 2)[1:-1], mel_scale="slaney")
