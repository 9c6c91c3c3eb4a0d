"""Lossy compression of sound at common bit rates and qualities, with the measured bit rate."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from hf_audio.augment.waveform.codec import PEAK, encoded

# Sample rates in Hz that each codec accepts.
RATES = {
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "vorbis": (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000),
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
}
OPUS_KBIT = (6.0, 256.0)
# Samples that LAME's encoder and the decoder add before the sound. Files with low bit rates have no header for it.
MP3_DELAY = 1105


class Coded(NamedTuple):
    """The decoded sound `[samples]`, and the bit rate of its file in kbit/s."""

    sound: np.ndarray
    kbit_per_s: float


def coded(codec: str, strength: float, sample_rate: int, sound: np.ndarray) -> Coded:
    """A sound after encoding and decoding, with the same length and level.

    Args:
        codec: a key of RATES.
        strength: kbit/s for mp3 (constant) and opus (on average, less for simple sounds); the quality for vorbis, 0 to
            10 as in oggenc.
        sample_rate: of the sound, in Hz; the sound is encoded at the codec's lowest rate that is not below it.
        sound: float32 `[samples]`.
    """
    rate = coded_rate(codec, sample_rate)
    peak = max(float(np.abs(sound).max()), 1e-9)
    given = _resampled(sound / peak * PEAK, sample_rate, rate)
    mode = "CONSTANT" if codec == "mp3" else None
    file = encoded(given, codec, _compression(codec, strength, rate), rate, mode)
    heard, _ = soundfile.read(io.BytesIO(file), dtype="float32")
    late = MP3_DELAY if codec == "mp3" and len(heard) >= len(given) + MP3_DELAY else 0
    heard = _resampled(of_length(heard[late:], len(given)), rate, sample_rate)
    return Coded(of_length(heard * (peak / PEAK), len(sound)), 8e-3 * len(file) / (len(given) / rate))


def coded_rate(codec: str, sample_rate: int) -> int:
    """The lowest rate of a codec in Hz that is not below `sample_rate`, or its highest rate."""
    return next((one for one in RATES[codec] if one >= sample_rate), RATES[codec][-1])


def bit_rates(codec: str, sample_rate: int) -> tuple[float, float]:
    """The minimum and maximum of mp3 or opus in kbit/s, for one channel at a sample rate in Hz."""
    if codec == "opus":
        return OPUS_KBIT
    rate = coded_rate(codec, sample_rate)
    return (32.0, 320.0) if rate >= 32_000 else (8.0, 160.0) if rate >= 16_000 else (8.0, 64.0)


def of_length(sound: np.ndarray, num_samples: int) -> np.ndarray:
    """`[..., num_samples]`, float32: resampling back and forth may add or remove a sample."""
    missing = max(0, num_samples - sound.shape[-1])
    widths = [(0, 0)] * (sound.ndim - 1) + [(0, missing)]
    return np.pad(sound[..., :num_samples], widths).astype(np.float32, copy=False)


def _compression(codec: str, strength: float, rate: int) -> float:
    """libsndfile's compression level, which spans a codec's range from 0 to 1."""
    if codec == "vorbis":
        return 1 - strength / 10
    minimum, maximum = bit_rates(codec, rate)
    return (maximum - strength) / (maximum - minimum)


def _resampled(sound: np.ndarray, rate: int, other: int) -> np.ndarray:
    return sound if rate == other else soxr.resample(sound, rate, other)
