"""Augmentation of waveforms, each window by numbers of its own, on the device of the batch."""

from hf_audio.augment.waveform.biquads import PassFilter
from hf_audio.augment.waveform.examples import example_waveform_augmentations
from hf_audio.augment.waveform.levels import Clipping, Gain, Polarity, Standardize
from hf_audio.augment.waveform.noise import Noise
from hf_audio.augment.waveform.shift import Shift
from hf_audio.augment.waveform.step import WaveformStep
from hf_audio.augment.waveform.steps import waveform_steps

__all__ = [
    "Clipping",
    "Gain",
    "Noise",
    "PassFilter",
    "Polarity",
    "Shift",
    "Standardize",
    "WaveformStep",
    "example_waveform_augmentations",
    "waveform_steps",
]
