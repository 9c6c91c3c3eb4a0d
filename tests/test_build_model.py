"""Models by name: presets, timm networks and checkpoints, and settings that they refuse."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperConfig, WhisperFeatureExtractor
from transformers import WhisperForAudioClassification as WhisperClassifier

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.data.index.table import Clip, index_of
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.extractors.classical import ClassicalFeatureExtractor
from hf_audio.extractors.spectrogram import SpectrogramFeatureExtractor
from hf_audio.kinds import KINDS, Form
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.kinds.classical import ClassicalFeatures
from hf_audio.kinds.waveform import Waveform
from hf_audio.models import PRESETS, build_model, with_extractor_of
from hf_audio.models.presets import NETWORKS
from hf_audio.models.timm_backbone import ParallelTimmClassifier, TimmClassifier

LABELS = LabelSpace(("violin", "bell", "hum"), MULTI_LABEL)
WINDOW = {"fbank": (98, 128), "waveform": (16_000,), "classical": (1, 174)}


def features_of(kind: str, labels: LabelSpace = LABELS) -> FeatureDataset:
    """A dataset for windows of 1 s that contains none: a model only needs its properties."""
    extractors = {
        "fbank": (ASTFeatureExtractor(max_length=98, mean=-8.0, std=3.0), KaldiFbank()),
        "waveform": (Wav2Vec2FeatureExtractor(return_attention_mask=False), Waveform()),
        "classical": (ClassicalFeatureExtractor(), ClassicalFeatures()),
    }
    extractor, source = extractors[kind]
    manifest = {"extractor": source.parameters, "window_s": 1.0}
    return FeatureDataset({}, labels, extractor, manifest, "nowhere")


def kind_of(name: str) -> str:
    if name in NETWORKS:
        return "classical" if NETWORKS[name].form is Form.VECTORS else "fbank"
    return "waveform" if name.startswith("wav2vec2") else "fbank"


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in ("ast-small", "ast-base")])
def test_a_preset_reads_its_features_and_has_the_class_names(name):
    features = features_of(kind_of(name))
    model = build_model(name, features).eval()
    logits = model(torch.randn(2, *WINDOW[features.kind.name])).logits
    assert logits.shape == (2, 3)
    assert list(model.config.id2label.values()) == list(LABELS.names) and model.config.problem_type == MULTI_LABEL
    assert model.config.num_labels == 3


@pytest.mark.parametrize("name", ["cnn", "ast-mini", "lstm", "mlp", "wav2vec2-mini", "test_efficientnet"])
def test_every_head_fits_every_model(name):
    features = features_of(kind_of(name))
    for options in ({"head": "fluffy", "head_sizes": [4]}, {"head": "arcface"}, {"head": "deep", "head_sizes": [5]}):
        model = build_model(name, features, options=options).eval()
        assert model(torch.randn(2, *WINDOW[features.kind.name])).logits.shape == (2, 3)
        assert model.config.head == options["head"]


def test_weights_depend_on_the_seed_and_the_random_state_is_restored():
    features = features_of("fbank")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (build_model("cnn", features, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_a_timm_network_by_its_bare_name_can_be_frozen():
    model = build_model("test_efficientnet", features_of("fbank"), freeze="backbone").train()
    assert isinstance(model, TimmClassifier)
    trained = {name.split(".")[0] for name, weights in model.named_parameters() if weights.requires_grad}
    assert trained == {"classifier"}
    assert not any(module.training for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d))


def test_mobilenets_divide_the_classes_between_networks():
    options = {"num_backbones": 3, "combine": "predictions"}
    model = build_model("mobilenets", features_of("fbank"), options=options)
    assert isinstance(model, ParallelTimmClassifier) and len(model.networks) == 3


def test_a_preset_is_fine_tuned_for_other_classes(tmp_path):
    features = features_of("fbank")
    trained = build_model("cnn", features, options={"channels": [4] * 5})
    trained.save_pretrained(tmp_path)
    features.extractor.save_pretrained(tmp_path)
    others = LabelSpace(("a", "b", "c", "d"), SINGLE_LABEL)
    model = build_model(str(tmp_path), features_of("fbank", others))
    assert model(torch.randn(1, 98, 128)).logits.shape == (1, 4)
    kept = {name: weights for name, weights in trained.state_dict().items() if not name.startswith("classifier")}
    assert kept and all(torch.equal(model.state_dict()[name], weights) for name, weights in kept.items())
    assert model.config.problem_type == SINGLE_LABEL


def test_a_network_on_classical_features_is_loaded_with_its_extractor(tmp_path):
    features = features_of("classical")
    build_model("mlp", features).save_pretrained(tmp_path)
    features.extractor.save_pretrained(tmp_path)
    model = build_model(str(tmp_path), features)
    assert model(torch.randn(1, 1, 174)).logits.shape == (1, 3)


def test_waveforms_are_read_by_the_checkpoints_own_extractor(tmp_path):
    """Whisper's extractor pads to 30 s by default, which windows of 1 s do not need."""
    config = WhisperConfig(
        d_model=16, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=16, decoder_layers=1, num_mel_bins=80
    )
    WhisperClassifier(config).save_pretrained(tmp_path)
    WhisperFeatureExtractor().save_pretrained(tmp_path)
    features = with_extractor_of(str(tmp_path), features_of("waveform"))
    assert isinstance(features.extractor, WhisperFeatureExtractor)
    sound = torch.randn(16_000).numpy()
    inputs = features.extractor(sound, sampling_rate=16_000, return_tensors="pt")
    assert inputs["input_features"].shape == (1, 80, 100)
    model = build_model(str(tmp_path), features_of("waveform"))
    assert model(**inputs).logits.shape == (1, 3)


def test_metadata_has_an_input_for_each_value_of_the_clips():
    features = features_of("fbank")
    facts = [{"genre": "jazz", "drums": "no"}, {"genre": "folk"}]
    features.clips = lambda: index_of(Clip("", ("a",), "g", str(n), metadata=one) for n, one in enumerate(facts))
    model = build_model("cnn", features, metadata_fields=["genre", "drums"])
    assert model.config.metadata == {"drums": ["no"], "genre": ["folk", "jazz"]}
    with pytest.raises(InputError, match="Unknown metadata field 'genres': did you mean 'genre'"):
        build_model("cnn", features, metadata_fields=["genres"])


@pytest.mark.parametrize(
    ("name", "kind", "settings", "sentence"),
    [
        ("cnnn", "fbank", {}, "did you mean 'cnn'"),
        ("resnet5", "fbank", {}, "did you mean 'resnet50'"),
        (
            "cnn",
            "waveform",
            {},
            "cnn needs fbank or spectrogram features, but these are waveform: use",
        ),
        ("rnn", "fbank", {}, "use --features classical"),
        ("wav2vec2-mini", "fbank", {}, "use --features waveform"),
        ("cnn", "fbank", {"options": {"droput": 0.1}}, "did you mean 'dropout'"),
        ("cnn", "fbank", {"options": {"head": "fluff"}}, "did you mean 'fluffy'"),
        ("cnn", "fbank", {"options": {"pools": [2]}}, "have equal length"),
        ("lstm", "fbank", {"options": {"attention": "dot"}}, "none, additive"),
        ("cnn", "fbank", {"freeze": "convolutional"}, "Wav2Vec2"),
        ("cnn", "fbank", {"lora_rank": 4}, "untrained"),
        ("nobody/nothing", "fbank", {}, "nobody/nothing"),
    ],
)
def test_unsuitable_settings_are_refused(name, kind, settings, sentence):
    with pytest.raises(InputError, match=sentence) as raised:
        build_model(name, features_of(kind), **settings)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


def spectrograms(*channels: str, labels: LabelSpace = LABELS) -> SimpleNamespace:
    """A dataset for windows of 1 s: 44 frames of 64 bins per channel."""
    extractor = SpectrogramFeatureExtractor(num_mel_bins=64, channels=channels, max_length=44, mean=-30.0, std=15.0)
    return SimpleNamespace(kind=KINDS["spectrogram"], labels=labels, extractor=extractor, window_s=1.0)


READ_SPECTROGRAMS = [name for name, network in NETWORKS.items() if network.form is Form.IMAGE]


@pytest.mark.parametrize("name", [*READ_SPECTROGRAMS, "ast-mini", "ast-tiny", "test_efficientnet", "test_vit"])
def test_log_mel_models_read_spectrograms_of_one_channel(name):
    features = spectrograms("mel")
    model = build_model(name, features).eval()
    sound = torch.randn(2, 22_050).numpy()
    assert model(**features.extractor(sound, sampling_rate=22_050, return_tensors="pt")).logits.shape == (2, 3)


@pytest.mark.parametrize("channels", [("left", "right"), ("mel", "harmonic", "percussive")])
@pytest.mark.parametrize("name", [*READ_SPECTROGRAMS, "test_efficientnet", "test_vit"])
def test_presets_have_the_channels_of_the_features(name, channels):
    features = spectrograms(*channels)
    model = build_model(name, features).eval()
    assert model.config.num_channels == (1 if name == "lstm-concert" else len(channels))
    windows = torch.randn(2, len(channels), 44, 64)
    logits = model(windows).logits
    assert logits.shape == (2, 3)
    for number in range(len(channels)):
        changed = windows.clone()
        changed[:, number] += torch.randn(44, 64)
        assert not torch.allclose(model(changed).logits, logits), f"channel {number} has no effect"


def test_recurrent_networks_average_or_concatenate_channels():
    features = spectrograms("left", "right")
    windows = torch.randn(2, 2, 44, 64)
    mono = build_model("lstm-concert", features).eval()
    torch.testing.assert_close(mono.embed(windows), mono.embed(windows.mean(dim=1)))
    both = build_model("lstm-concert", features, options={"num_channels": 2}).eval()
    steps = both.steps_of(windows)
    assert steps.shape == (2, 64, 88) and torch.equal(steps[0, 5], windows[0, :, :, 5].flatten())
    frames = build_model("lstm", features).steps_of(windows)
    assert frames.shape == (2, 44, 128) and torch.equal(frames[0, 5], windows[0, :, 5].flatten())


def test_mono_is_copied_to_the_requested_number_of_channels():
    model = build_model("test_efficientnet", spectrograms("mel"), options={"num_channels": 3}).eval()
    windows = torch.randn(2, 44, 64)
    torch.testing.assert_close(model(windows).logits, model(windows[:, None].expand(-1, 3, -1, -1)).logits)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("ast-mini", {}, r"ast-mini reads one channel, but these features have 2 \(left, right\): use --channels mel"),
        ("cnn", {"num_channels": 3}, "num_channels is 3, but the features have 2 channels"),
        ("cnn", {"num_channels": 1}, "num_channels is 1, but the features"),
        ("mlp", {}, "mlp needs classical features, but these are spectrogram: use --features classical"),
        ("wav2vec2-mini", {}, "use --features waveform"),
    ],
)
def test_unsuitable_channels_are_refused(name, options, sentence):
    with pytest.raises(InputError, match=sentence) as raised:
        build_model(name, spectrograms("left", "right"), options=options)
    assert "\n" not in str(raised.value)


def test_a_checkpoint_refuses_other_spectrograms_than_its_own(tmp_path):
    stereo, others = spectrograms("left", "right"), LabelSpace(("a", "b"), SINGLE_LABEL)
    build_model("cnn-concert", stereo).save_pretrained(tmp_path / "cnn")
    stereo.extractor.save_pretrained(tmp_path / "cnn")
    model = build_model(str(tmp_path / "cnn"), spectrograms("left", "right", labels=others))
    assert model(torch.randn(1, 2, 44, 64)).logits.shape == (1, 2)
    with pytest.raises(InputError, match="channels"):
        build_model(str(tmp_path / "cnn"), spectrograms("mel"))
    with pytest.raises(InputError, match="--features spectrogram"):
        build_model(str(tmp_path / "cnn"), features_of("fbank"))


def test_a_trained_ast_reads_only_its_kind_of_features(tmp_path):
    for kind, features in {"fbank": features_of("fbank"), "spectrogram": spectrograms("mel")}.items():
        build_model("ast-mini", features).save_pretrained(tmp_path / kind)
        features.extractor.save_pretrained(tmp_path / kind)
    model = build_model(str(tmp_path / "spectrogram"), spectrograms("mel"))
    assert model(torch.randn(1, 44, 64)).logits.shape == (1, 3)
    with pytest.raises(InputError, match=r"The features are spectrogram .* give --features fbank"):
        build_model(str(tmp_path / "fbank"), spectrograms("mel"))


def test_a_model_can_be_built_without_a_dataset():
    """`build_model` accepts any object with these attributes, so a model can be built without a dataset."""
    bare = SimpleNamespace(kind=KINDS["fbank"], labels=LABELS, extractor=ASTFeatureExtractor(max_length=98))
    assert build_model("cnn-concert", bare).num_labels == 3
