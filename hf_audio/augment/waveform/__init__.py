"""Augmentation of waveforms on the device of the batch, with random numbers per window."""

from hf_audio.augment.waveform.background import Background
from hf_audio.augment.waveform.biquads import PassFilter
from hf_audio.augment.waveform.codec import Codec
from hf_audio.augment.waveform.effects import Effects
from hf_audio.augment.waveform.examples import (
    MADE_UP,
    example_sounds,
    example_waveform_augmentations,
    example_waveform_steps,
)
from hf_audio.augment.waveform.levels import Clipping, Gain, Polarity, Standardize
from hf_audio.augment.waveform.noise import Noise
from hf_audio.augment.waveform.reverb import RecordedReverb, SyntheticReverb
from hf_audio.augment.waveform.shift import Shift
from hf_audio.augment.waveform.sounds import SoundPool
from hf_audio.augment.waveform.speed import PitchShift, Speed, TimeStretch
from hf_audio.augment.waveform.step import WaveformStep
from hf_audio.augment.waveform.steps import SYNTHETIC, AddedSounds, waveform_steps

__all__ = [
    "MADE_UP",
    "SYNTHETIC",
    "AddedSounds",
    "Background",
    "Clipping",
    "Codec",
    "Effects",
    "Gain",
    "Noise",
    "PassFilter",
    "PitchShift",
    "Polarity",
    "RecordedReverb",
    "Shift",
    "SoundPool",
    "Speed",
    "Standardize",
    "SyntheticReverb",
    "TimeStretch",
    "WaveformStep",
    "example_sounds",
    "example_waveform_augmentations",
    "example_waveform_steps",
    "waveform_steps",
]
