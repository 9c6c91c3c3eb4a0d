"""Audible example settings for each waveform augmentation, for figures, tests and benchmarks."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from hf_audio.augment.waveform.codec import CODECS
from hf_audio.augment.waveform.effects import EFFECTS
from hf_audio.augment.waveform.sounds import SoundPool
from hf_audio.augment.waveform.step import WaveformStep
from hf_audio.augment.waveform.steps import SYNTHETIC, AddedSounds, waveform_steps
from hf_audio.config import WaveformAugmentConfig

SUFFIX = "_probability"
MADE_UP = "made up"  # replaces recordings
# Settings in addition to the probability, and several examples of one augmentation
SHOWN: dict[str, dict[str, dict[str, Any]]] = {
    "shift": {f"shift, {mode}": {"wave_shift_s": 0.1, "wave_shift_mode": mode} for mode in ("roll", "pad")},
    "reverb": {
        "reverb, synthetic": {"impulse_responses": SYNTHETIC},
        "reverb, recorded": {"impulse_responses": MADE_UP},
    },
    "background": {"background": {"background": MADE_UP, "wave_background_snr_db": [3.0, 6.0]}},
    "noise": {"noise": {"wave_noise_snr_db": [5.0, 10.0]}},
    "codec": {name: {"wave_codec_names": [name], "wave_codec_compression": [0.9, 1.0]} for name in CODECS},
    "effect": {f"effect {name}": {"wave_effect_names": [name]} for name in EFFECTS},
}


def example_waveform_augmentations() -> dict[str, dict[str, Any]]:
    """Name and settings of WaveformAugmentConfig for each augmentation."""
    found = {}
    for switch in (one.name for one in fields(WaveformAugmentConfig) if one.name.endswith(SUFFIX)):
        what = switch.removeprefix("wave_").removesuffix(SUFFIX)
        for name, settings in SHOWN.get(what, {what.replace("_", " "): {}}).items():
            found[name] = {switch: 1.0, **settings}
    return found


def example_waveform_steps(sample_rate: int) -> dict[str, tuple[WaveformStep, ...]]:
    """The steps of these examples for `Compose`, by name; they change all windows."""
    sounds = example_sounds(sample_rate)
    return {
        name: waveform_steps(WaveformAugmentConfig(**settings), sample_rate, sounds)
        for name, settings in example_waveform_augmentations().items()
    }


def example_sounds(sample_rate: int) -> AddedSounds:
    """A synthetic background, drops of rain, and synthetic impulse responses of two rooms."""
    random = np.random.default_rng(0)
    decay = np.exp(-np.arange(sample_rate // 5) / (0.03 * sample_rate))
    drops = random.standard_normal(2 * sample_rate) * (random.random(2 * sample_rate) < 40 / sample_rate)
    rain = np.convolve(drops, random.standard_normal(sample_rate // 50) * decay[: sample_rate // 50], mode="same")
    rooms = [random.standard_normal(len(decay)) * 0.2 * decay**power for power in (0.5, 1.0)]
    for room in rooms:
        room[0] = 1.0
    background = SoundPool.of(MADE_UP, [rain + 1e-3 * random.standard_normal(len(rain))], sample_rate)
    return AddedSounds(background, SoundPool.of(MADE_UP, rooms, sample_rate))
