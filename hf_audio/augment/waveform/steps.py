"""Creates the augmentations of waveforms from settings, in the order of the recording process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hf_audio.augment.waveform.background import Background
from hf_audio.augment.waveform.biquads import PassFilter
from hf_audio.augment.waveform.codec import Codec
from hf_audio.augment.waveform.effects import Effects
from hf_audio.augment.waveform.levels import Clipping, Gain, Polarity
from hf_audio.augment.waveform.noise import Noise
from hf_audio.augment.waveform.reverb import RecordedReverb, SyntheticReverb
from hf_audio.augment.waveform.shift import Shift
from hf_audio.augment.waveform.sounds import SoundPool
from hf_audio.augment.waveform.speed import PitchShift, Speed, TimeStretch
from hf_audio.augment.waveform.step import WaveformStep
from hf_audio.config import WaveformAugmentConfig
from hf_audio.errors import InputError

SYNTHETIC = "synthetic"  # generated impulse responses
PASSES = ("low_pass", "high_pass", "band_pass")


class AddedSounds(NamedTuple):
    """Recordings named in the settings that waveforms are mixed or convolved with."""

    background: SoundPool | None = None
    rooms: SoundPool | None = None


NO_SOUNDS = AddedSounds()


def waveform_steps(
    config: WaveformAugmentConfig, sample_rate: int, sounds: AddedSounds = NO_SOUNDS
) -> tuple[WaveformStep, ...]:
    """The augmentations of these settings, for `Compose`; empty if all are off.

    They follow the order of the recording process: the sound, its room, other sounds, and the recording of all.

    Args:
        sample_rate: sample rate of the waveforms in Hz.
        sounds: the recordings named in the settings, see hf_audio.preparation.added_sounds.

    Raises:
        InputError: a shift of less than a sample, a filter above half the sample rate, an unknown effect or codec, or a
            codec that does not support this rate.
    """
    wanted = (
        *_of_the_sound(config, sample_rate),
        *_beside_it(config, sample_rate, sounds),
        *_of_the_recording(config, sample_rate),
    )
    return tuple(step for step in wanted if step.probability)


def _of_the_sound(config: WaveformAugmentConfig, sample_rate: int) -> Iterator[WaveformStep]:
    yield Speed(config.wave_speed_probability, tuple(config.wave_speed_ratio))
    yield TimeStretch(config.wave_stretch_probability, tuple(config.wave_stretch_ratio), sample_rate)
    yield PitchShift(config.wave_pitch_probability, tuple(config.wave_pitch_semitones), sample_rate)
    most_samples = round(config.wave_shift_s * sample_rate)
    if config.wave_shift_probability and not most_samples:
        raise InputError(
            f"--wave_shift_s {config.wave_shift_s:g} is less than a sample, so nothing would change: use e.g. 1, or "
            "--wave_shift_probability 0"
        )
    yield Shift(config.wave_shift_probability, most_samples, config.wave_shift_mode)
    yield Polarity(config.wave_polarity_probability)


def _beside_it(config: WaveformAugmentConfig, sample_rate: int, sounds: AddedSounds) -> Iterator[WaveformStep]:
    probability = config.wave_reverb_probability
    if config.impulse_responses == SYNTHETIC:
        rt60_s, direct_db = tuple(config.wave_reverb_rt60_s), tuple(config.wave_reverb_direct_db)
        yield SyntheticReverb(probability, rt60_s, direct_db, sample_rate)
    elif config.impulse_responses and probability:
        yield RecordedReverb(probability, _read("impulse_responses", sounds.rooms))
    if config.background and config.wave_background_probability:
        pool = _read("background", sounds.background)
        yield Background(config.wave_background_probability, tuple(config.wave_background_snr_db), pool)
    snr_db, exponent = tuple(config.wave_noise_snr_db), tuple(config.wave_noise_exponent)
    yield Noise(config.wave_noise_probability, snr_db, exponent, sample_rate)


def _of_the_recording(config: WaveformAugmentConfig, sample_rate: int) -> Iterator[WaveformStep]:
    yield from _filters(config, sample_rate)
    if config.wave_effect_probability:
        yield Effects(config.wave_effect_probability, tuple(config.wave_effect_names), sample_rate)
    yield Gain(config.wave_gain_probability, tuple(config.wave_gain_db))
    yield Clipping(config.wave_clip_probability, tuple(config.wave_clip_db))
    if config.wave_codec_probability:
        compression = tuple(config.wave_codec_compression)
        yield Codec(config.wave_codec_probability, tuple(config.wave_codec_names), compression, sample_rate)


def _read(setting: str, pool: SoundPool | None) -> SoundPool:
    if pool is None:
        raise ValueError(f"{setting} names recordings: read them with hf_audio.preparation.added_sounds first")
    return pool


def _filters(config: WaveformAugmentConfig, sample_rate: int) -> Iterator[WaveformStep]:
    for kind in PASSES:
        probability, (lowest, highest) = (getattr(config, f"wave_{kind}_{part}") for part in ("probability", "hz"))
        if probability and highest >= sample_rate / 2:
            raise InputError(
                f"--wave_{kind}_hz {lowest:g} {highest:g} must be below half the sample rate, which is {sample_rate} "
                f"Hz here: try --wave_{kind}_hz {min(lowest, sample_rate / 4):g} {0.45 * sample_rate:g}"
            )
        octaves = tuple(config.wave_band_pass_octaves) if kind == "band_pass" else None
        yield PassFilter(probability, kind, (lowest, highest), sample_rate, octaves)
