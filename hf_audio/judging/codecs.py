"""Compressed sound, by the usual bit rates and qualities, and the bit rate that was measured."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from hf_audio.augment.waveform.codec import PEAK, encoded

# Hz that each codec takes
RATES = {
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "vorbis": (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000),
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
}
OPUS_KBIT = (6.0, 256.0)
# Samples before the sound, of LAME's encoder and the decoder. Files of few bits have no header that says so.
MP3_DELAY = 1105


class Coded(NamedTuple):
    """A sound `[samples]` as it came out, and how many kbit/s its file has."""

    sound: np.ndarray
    kbit_per_s: float


def coded(codec: str, strength: float, sample_rate: int, sound: np.ndarray) -> Coded:
    """A sound there and back, of the same length and as loud.

    Args:
        codec: of RATES.
        strength: kbit/s of mp3 (constant) and opus (on average, less where there is little to say); the quality of
            vorbis, 0 to 10 as oggenc has it.
        sample_rate: of the sound in Hz; it is encoded at the lowest rate of the codec that loses nothing.
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
    """The lowest rate of a codec from `sample_rate` on in Hz, or its highest."""
    return next((one for one in RATES[codec] if one >= sample_rate), RATES[codec][-1])


def bit_rates(codec: str, sample_rate: int) -> tuple[float, float]:
    """The lowest and the highest of mp3 or opus in kbit/s, of one channel at a sample rate in Hz."""
    if codec == "opus":
        return OPUS_KBIT
    rate = coded_rate(codec, sample_rate)
    return (32.0, 320.0) if rate >= 32_000 else (8.0, 160.0) if rate >= 16_000 else (8.0, 64.0)


def of_length(sound: np.ndarray, num_samples: int) -> np.ndarray:
    """`[..., num_samples]`, float32: resampling there and back may give a sample more or less."""
    missing = max(0, num_samples - sound.shape[-1])
    widths = [(0, 0)] * (sound.ndim - 1) + [(0, missing)]
    return np.pad(sound[..., :num_samples], widths).astype(np.float32, copy=False)


def _compression(codec: str, strength: float, rate: int) -> float:
    """libsndfile's level, which goes from 0 to 1 through what a codec has."""
    if codec == "vorbis":
        return 1 - strength / 10
    least, most = bit_rates(codec, rate)
    return (most - strength) / (most - least)


def _resampled(sound: np.ndarray, rate: int, other: int) -> np.ndarray:
    return sound if rate == other else soxr.resample(sound, rate, other)
