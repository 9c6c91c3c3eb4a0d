"""Waveform augmentation for models whose extractor normalizes each window."""

from __future__ import annotations

from transformers import FeatureExtractionMixin, Wav2Vec2FeatureExtractor

from hf_audio.augment.waveform.levels import Gain, Standardize
from hf_audio.augment.waveform.step import WaveformStep
from hf_audio.errors import InputError
from hf_audio.kinds import Form, kind_of_extractor


def no_waveforms(extractor: FeatureExtractionMixin) -> InputError:
    """The error for waveform augmentation of batches without waveforms."""
    if kind_of_extractor(extractor).form is Form.SOUND:
        return InputError(
            "Waveform augmentation (--wave_...) needs waveforms, and this model's "
            f"{type(extractor).__name__} computes its own features: leave it out, or choose a model that reads "
            "waveforms, such as Wav2Vec2"
        )
    return InputError(
        "Waveform augmentation (--wave_...) needs waveforms, but this run has other features: add --features_on_device "
        "to compute them in training, or leave it out"
    )


def of_normalized_waveforms(
    steps: tuple[WaveformStep, ...], extractor: Wav2Vec2FeatureExtractor
) -> tuple[WaveformStep | Standardize, ...]:
    """The steps, followed by the normalization that the model's extractor applies.

    Raises:
        InputError: gain is on, but the normalization removes it.
    """
    if not steps or not extractor.do_normalize:
        return steps
    if any(isinstance(step, Gain) for step in steps):
        raise InputError(
            "--wave_gain_probability has no effect, since the model normalizes each window by its own level: leave it "
            "out (--wave_gain_probability 0)"
        )
    return (*steps, Standardize())
