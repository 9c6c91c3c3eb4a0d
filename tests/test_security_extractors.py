"""Third-party settings of feature extractors: only known fields with values within limits are accepted."""

from __future__ import annotations

import json

import pytest
from small_features import build_small_features
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from hf_audio.data.foreign.extractor import declared, extractor_class_of, extractor_from_file, known_extractors
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.extractors.classical import ClassicalFeatureExtractor
from hf_audio.extractors.spectrogram import SpectrogramFeatureExtractor

EXTRACTORS = known_extractors()

PLANTED = {
    "auto_map": {"AutoFeatureExtractor": "evil/code--pwn.Extractor"},
    "processor_class": "evil/code--pwn.Processor",
    "custom_pipelines": {"audio-classification": {"impl": "pwn.Pipeline"}},
    "_name_or_path": "evil/code",
    "__class__": "pwn",
    "nested": {"auto_map": {"AutoFeatureExtractor": "evil/code--pwn.Extractor"}},
}


def extractor_of(tmp_path, extractor_class, settings):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(settings))
    return extractor_from_file(extractor_class, path)


@pytest.mark.parametrize("extractor_class", EXTRACTORS.values(), ids=EXTRACTORS)
def test_a_saved_extractor_is_loaded_unchanged(tmp_path, extractor_class):
    made = extractor_class()
    made.save_pretrained(tmp_path)
    again = extractor_from_file(extractor_class, tmp_path / "preprocessor_config.json")
    assert {**again.to_dict(), "auto_map": 0} == {**made.to_dict(), "auto_map": 0}


@pytest.mark.parametrize("extractor_class", EXTRACTORS.values(), ids=EXTRACTORS)
def test_every_setting_of_an_extractor_has_a_limit(extractor_class):
    assert declared(extractor_class).keys() >= extractor_class().to_dict().keys() - {
        *("feature_extractor_type", "n_samples", "nb_max_frames")  # derived from others
    }


@pytest.mark.parametrize("extractor_class", EXTRACTORS.values(), ids=EXTRACTORS)
def test_planted_code_is_not_passed_on(tmp_path, extractor_class):
    extractor = extractor_of(tmp_path, extractor_class, {**extractor_class().to_dict(), **PLANTED})
    extractor.save_pretrained(tmp_path / "saved")
    saved = (tmp_path / "saved" / "preprocessor_config.json").read_text()
    assert "evil" not in saved and "pwn" not in saved and "--" not in saved


def test_a_model_trained_on_a_planted_feature_dataset_names_no_foreign_code(tmp_path):
    folder = build_small_features(tmp_path / "features")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **PLANTED}))
    extractor = load_features(folder).extractor
    extractor.save_pretrained(tmp_path / "run")
    assert "auto_map" not in json.loads((tmp_path / "run" / "preprocessor_config.json").read_text())
    assert "evil" not in (tmp_path / "run" / "preprocessor_config.json").read_text()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("extractor_class", "settings"),
    [
        (ASTFeatureExtractor, {"num_mel_bins": 10**9}),
        (ASTFeatureExtractor, {"max_length": 10**12}),
        (ASTFeatureExtractor, {"max_length": None}),
        (ASTFeatureExtractor, {"max_length": 1 << 25, "num_mel_bins": 4096}),
        (ASTFeatureExtractor, {"mean": [0.0] * 1000}),
        (ASTFeatureExtractor, {"mean": "0"}),
        (Wav2Vec2FeatureExtractor, {"sampling_rate": 10**9}),
        (Wav2Vec2FeatureExtractor, {"sampling_rate": 16000.5}),
        (Wav2Vec2FeatureExtractor, {"sampling_rate": True}),
        (Wav2Vec2FeatureExtractor, {"padding_value": "0"}),
        (Wav2Vec2FeatureExtractor, {"do_normalize": {"a": 1}}),
        (Wav2Vec2FeatureExtractor, {"padding_side": "middle"}),
        (WhisperFeatureExtractor, {"n_fft": 10**12}),
        (WhisperFeatureExtractor, {"chunk_length": 10**12}),
        (WhisperFeatureExtractor, {"chunk_length": 80_000}),
        (WhisperFeatureExtractor, {"feature_size": 1 << 16, "n_fft": 1 << 17}),
        (WhisperFeatureExtractor, {"hop_length": 0}),
        (SpectrogramFeatureExtractor, {"n_fft": 1 << 17, "num_mel_bins": 4096}),
        (SpectrogramFeatureExtractor, {"channels": ["mel"] * 1000}),
        (SpectrogramFeatureExtractor, {"channels": ["harmonics"]}),
        (SpectrogramFeatureExtractor, {"mean": [0.0] * 60_000}),
        (ClassicalFeatureExtractor, {"step_s": 80_000, "entropy_frame_s": 1e-12}),
        (ClassicalFeatureExtractor, {"step_s": 80_000, "entropy_frame_s": 1e-3, "num_steps": 10}),
        (ClassicalFeatureExtractor, {"step_s": 0}),
        (ClassicalFeatureExtractor, {"entropy_frame_s": 1}),
    ],
)
def test_excessive_sizes_and_wrong_types_are_refused_immediately(tmp_path, extractor_class, settings):
    with pytest.raises(InputError) as caught:
        extractor_of(tmp_path, extractor_class, settings)
    assert str(tmp_path) in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "name", ["Wav2Vec2Processor", "evil--pwn", "CLIPImageProcessor", None, ["ASTFeatureExtractor"]]
)
def test_only_listed_extractors_are_loaded(name):
    with pytest.raises(InputError, match="feature extractor of evil/x"):
        extractor_class_of(name, "evil/x")
