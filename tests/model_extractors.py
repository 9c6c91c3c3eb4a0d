"""Small extractors that are published with the models of model_cases.py."""

from __future__ import annotations

import numpy as np
from transformers import (
    ASTFeatureExtractor,
    FeatureExtractionMixin,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from hf_audio.extractors.classical import ClassicalFeatureExtractor
from hf_audio.extractors.spectrogram import SpectrogramFeatureExtractor


def waveform() -> FeatureExtractionMixin:
    return Wav2Vec2FeatureExtractor(return_attention_mask=True)


def whisper_log_mel() -> FeatureExtractionMixin:
    return WhisperFeatureExtractor(feature_size=16, chunk_length=1)


def log_mel() -> FeatureExtractionMixin:
    return ASTFeatureExtractor(num_mel_bins=32, max_length=98, mean=-7.0, std=3.0)


def mel() -> FeatureExtractionMixin:
    return spectrogram(["mel"], mean=[-40.0], std=[15.0])


def stereo() -> FeatureExtractionMixin:
    return spectrogram(["left", "right"], mean=[-40.0, -50.0], std=[15.0, 20.0])


def spectrogram(channels: list[str], **statistics) -> FeatureExtractionMixin:
    sizes = {"sampling_rate": 22_050, "num_mel_bins": 32, "max_length": 98, "n_fft": 1024, "hop_samples": 256}
    return SpectrogramFeatureExtractor(channels=channels, **sizes, **statistics)


def classical(**settings) -> FeatureExtractionMixin:
    random = np.random.default_rng(0)
    statistics = {"mean": random.normal(-20, 10, 174).tolist(), "std": random.uniform(5, 20, 174).tolist()}
    return ClassicalFeatureExtractor(step_s=0.5, **statistics, **settings)
