"""The augmentations of waveforms that settings ask for, in the order of nature."""

from __future__ import annotations

from hf_audio.augment.waveform.biquads import PassFilter
from hf_audio.augment.waveform.levels import Clipping, Gain, Polarity
from hf_audio.augment.waveform.noise import Noise
from hf_audio.augment.waveform.shift import Shift
from hf_audio.augment.waveform.step import WaveformStep
from hf_audio.config import WaveformAugmentConfig
from hf_audio.errors import InputError

PASSES = ("low_pass", "high_pass", "band_pass")


def waveform_steps(config: WaveformAugmentConfig, sample_rate: int) -> tuple[WaveformStep, ...]:
    """The augmentations that settings ask for, for `Compose`; none where all are off.

    In the order of nature: the sound, what sounds beside it, and the recording of both.

    Args:
        sample_rate: of the waveforms in Hz.

    Raises:
        InputError: a filter above half of the sample rate.
    """
    steps: list[WaveformStep] = []
    if config.wave_shift_probability:
        most = round(config.wave_shift_s * sample_rate)
        steps.append(Shift(config.wave_shift_probability, most, config.wave_shift_mode))
    if config.wave_polarity_probability:
        steps.append(Polarity(config.wave_polarity_probability))
    if config.wave_noise_probability:
        snr_db, exponent = tuple(config.wave_noise_snr_db), tuple(config.wave_noise_exponent)
        steps.append(Noise(config.wave_noise_probability, snr_db, exponent, sample_rate))
    steps += _filters(config, sample_rate)
    if config.wave_gain_probability:
        steps.append(Gain(config.wave_gain_probability, tuple(config.wave_gain_db)))
    if config.wave_clip_probability:
        steps.append(Clipping(config.wave_clip_probability, tuple(config.wave_clip_db)))
    return tuple(steps)


def _filters(config: WaveformAugmentConfig, sample_rate: int) -> list[WaveformStep]:
    found: list[WaveformStep] = []
    for kind in PASSES:
        probability, (lowest, highest) = (getattr(config, f"wave_{kind}_{part}") for part in ("probability", "hz"))
        if not probability:
            continue
        if highest >= sample_rate / 2:
            raise InputError(
                f"--wave_{kind}_hz {lowest:g} {highest:g} goes up to half of the sample rate or beyond, {sample_rate} "
                f"Hz here: try --wave_{kind}_hz {min(lowest, sample_rate / 4):g} {0.45 * sample_rate:g}"
            )
        octaves = tuple(config.wave_band_pass_octaves) if kind == "band_pass" else None
        found.append(PassFilter(probability, kind, (lowest, highest), sample_rate, octaves))
    return found
