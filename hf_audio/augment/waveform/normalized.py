"""Waveforms as models read them that hear no level: each window normalized by itself."""

from __future__ import annotations

from transformers import FeatureExtractionMixin, Wav2Vec2FeatureExtractor

from hf_audio.augment.waveform.levels import Gain, Standardize
from hf_audio.augment.waveform.step import WaveformStep
from hf_audio.errors import InputError
from hf_audio.kinds import Form, kind_of_extractor


def no_waveforms(extractor: FeatureExtractionMixin) -> InputError:
    """The error where waveforms are to be varied and a batch has none."""
    if kind_of_extractor(extractor).form is Form.SOUND:
        return InputError(
            "Waveform augmentation (--wave_...) varies sound, and this model's "
            f"{type(extractor).__name__} makes features of its own of it: leave it out, or choose a model that reads "
            "waveforms, such as Wav2Vec2"
        )
    return InputError(
        "Waveform augmentation (--wave_...) varies sound, and this run reads other features: add --features_on_device, "
        "which computes them in training, or leave it out"
    )


def of_normalized_waveforms(
    steps: tuple[WaveformStep, ...], extractor: Wav2Vec2FeatureExtractor
) -> tuple[WaveformStep | Standardize, ...]:
    """The steps, and behind them the normalization that a model's extractor does when it predicts.

    Raises:
        InputError: gain, of which nothing is left then.
    """
    if not steps or not extractor.do_normalize:
        return steps
    if any(isinstance(step, Gain) for step in steps):
        raise InputError(
            "--wave_gain_probability would do nothing here: the model reads each window normalized by its own level; "
            "leave it out (--wave_gain_probability 0)"
        )
    return (*steps, Standardize())
