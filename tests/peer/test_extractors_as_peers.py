"""transformers' common tests of feature extractors on every class of ours: python scripts/peer_tests.py."""

from __future__ import annotations

import importlib.util
import unittest

import numpy as np
import pytest
from transformers import ASTFeatureExtractor

from hf_audio.extractors.classical import ClassicalFeatureExtractor
from hf_audio.extractors.fbank import FbankFeatureExtractor
from hf_audio.extractors.spectrogram import SpectrogramFeatureExtractor

if importlib.util.find_spec("tests.test_sequence_feature_extraction_common") is None:
    reason = "needs the source distribution of transformers: python scripts/peer_tests.py"
    pytest.skip(reason, allow_module_level=True)
from tests.test_sequence_feature_extraction_common import SequenceFeatureExtractionTestMixin

SIZE = 24
# Settings, and the size of a padded step: 1 for extractors that pad waveforms (transformers' AST extractor, our fbank).
SETTINGS = {
    SpectrogramFeatureExtractor: ({"num_mel_bins": SIZE, "sampling_rate": 16_000}, SIZE),
    FbankFeatureExtractor: ({"num_mel_bins": SIZE, "sampling_rate": 22_050}, 1),
    ClassicalFeatureExtractor: ({"sampling_rate": 22_050}, SIZE),
    ASTFeatureExtractor: ({}, 1),
}


class ExtractorTester:
    """The interface that the common tests expect: settings, and sequences `[steps, size]` of three lengths."""

    batch_size, min_seq_length, max_seq_length = 3, 40, 120
    seq_length_diff = (max_seq_length - min_seq_length) // (batch_size - 1)

    def __init__(self, settings: dict, size: int) -> None:
        self.settings, self.feature_size = settings, size

    def prepare_feat_extract_dict(self) -> dict:
        return dict(self.settings)

    def prepare_inputs_for_common(self, equal_length: bool = False, numpify: bool = False) -> list:
        random = np.random.default_rng(0)
        lengths = range(self.min_seq_length, self.max_seq_length + 1, self.seq_length_diff)
        lengths = [self.max_seq_length] * 3 if equal_length else lengths
        shape = (self.feature_size,) if self.feature_size > 1 else ()
        found = [random.random((length, *shape)).astype(np.float32) for length in lengths]
        return found if numpify else [one.tolist() for one in found]


def peer(extractor_class: type) -> type:
    class Peer(SequenceFeatureExtractionTestMixin, unittest.TestCase):
        feature_extraction_class = extractor_class
        feat_extract_tester = ExtractorTester(*SETTINGS[extractor_class])

    Peer.__name__ = Peer.__qualname__ = f"Test_{extractor_class.__name__}"
    return Peer


Test_Spectrogram, Test_Fbank, Test_Classical, Test_Stock = (peer(one) for one in SETTINGS)
