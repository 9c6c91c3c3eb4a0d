"""Third-party model repositories: planted code and links are not run, not followed and not published again."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save
from small_transformers import KINDS, LABELS, files_of, headed_of, stock_of, windows
from training_run import trainer_of
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor

from hf_audio.errors import InputError
from hf_audio.extractors.spectrogram import SpectrogramFeatureExtractor
from hf_audio.models import build_model
from hf_audio.models.checkpoints import stock_from_checkpoint, transformer_from_checkpoint
from hf_audio.models.foreign_checkpoint import Checkpoint
from hf_audio.models.lora import add_lora, save_adapter
from hf_audio.models.saving import needs_own_code, save_extractor, save_model
from hf_audio.models.spectrogram_cnn import SpectrogramCNN, SpectrogramCNNConfig
from hf_audio.models.timm_network import TimmClassifierConfig
from hf_audio.models.transformer_classifier import TransformerClassifier, TransformerClassifierConfig
from hf_audio.publishing.model_card import _needs_own_code

EVIL = "evil/x"
PLANTED = {
    "auto_map": {
        "AutoConfig": "evil/code--pwn.Config",
        "AutoModel": "evil/code--pwn.Model",
        "AutoModelForAudioClassification": "evil/code--pwn.Model",
        "AutoFeatureExtractor": "evil/code--pwn.Extractor",
    },
    "custom_pipelines": {"audio-classification": {"impl": "evil/code--pwn.Pipeline"}},
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True, "evil": "evil/code"},
    "attn_implementation": "evil/code",
    "_attn_implementation": "evil/code",
    "_attn_implementation_internal": "evil/code",
    "experts_implementation": "evil/code",
    "fusion_config": {"evil/code": True},
    "transformers_weights": "../../evil/code.safetensors",
    "per_layer_config": {"0": {"hidden_size": 8, "auto_map": {"AutoModel": "evil/code--pwn.Model"}}},
    "text_config": {"auto_map": {"AutoModel": "evil/code--pwn.Model"}},
    "backbone_config": {"model_type": "timm_wrapper", "architecture": "evil/code"},
    "base_model_name_or_path": "evil/code",
    "_name_or_path": "evil/code",
    "tokenizer_class": "evil/code--pwn.Tokenizer",
    "feature_extractor_type": "evil/code--pwn.Extractor",
    "dtype": "evil",
}


def only_asked(hub) -> bool:
    """Whether only the requested repository was accessed."""
    return not hub.log.matching(path="code") and bool(hub.log.matching(path=EVIL))


@pytest.mark.parametrize("kind", KINDS)
def test_links_planted_in_a_config_are_not_followed_or_published(hub, checkpoints, kind, tmp_path):
    hub.create("models", EVIL, files=files_of(checkpoints[kind], **PLANTED))
    model = stock_from_checkpoint(EVIL, LABELS, **KINDS[kind].size)
    assert type(model).__module__.startswith("transformers.models.")
    save_model(model, tmp_path)
    saved = (tmp_path / "config.json").read_text()
    assert "evil" not in saved and "pwn" not in saved and "auto_map" not in saved
    assert model.config._attn_implementation != "evil/code" and only_asked(hub)


def test_links_planted_in_a_wrapped_encoders_config_are_not_followed(hub, checkpoints, tmp_path):
    headed_of(checkpoints, "hubert", head="fluffy", head_sizes=[8]).save_pretrained(tmp_path / "ours")
    backbone = json.loads((tmp_path / "ours" / "config.json").read_text())["backbone"]
    files = files_of(tmp_path / "ours", **PLANTED, backbone={**backbone, **PLANTED})
    hub.create("models", EVIL, files=files)
    model = stock_from_checkpoint(EVIL, LABELS)
    save_model(model, tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert "evil" not in json.dumps(saved) and "pwn" not in json.dumps(saved)
    assert saved["auto_map"] == {
        "AutoConfig": "transformer_classifier.TransformerClassifierConfig",
        "AutoModelForAudioClassification": "transformer_classifier.TransformerClassifier",
    }
    assert model.backbone.config._attn_implementation != "evil/code" and only_asked(hub)


def test_a_run_on_a_planted_checkpoint_publishes_no_foreign_code(hub, checkpoints, tiny_features, tmp_path):
    extractor = {**ASTFeatureExtractor(num_mel_bins=32, max_length=198).to_dict(), **PLANTED}
    extractor["feature_extractor_type"] = "ASTFeatureExtractor"
    files = files_of(checkpoints["ast"], **PLANTED)
    hub.create("models", EVIL, files=files | {"preprocessor_config.json": json.dumps(extractor).encode()})
    trainer = trainer_of(tiny_features, tmp_path, build_model(EVIL, tiny_features))
    trainer.save_run_model()
    saved = [path.read_text() for path in tmp_path.glob("*.json")]
    assert len(saved) >= 2 and not any("evil/code" in text or "auto_map" in text for text in saved)
    assert not list(tmp_path.glob("*.py")) and not _needs_own_code(tmp_path)
    assert only_asked(hub)


def test_configs_are_cleaned_when_a_model_is_saved(checkpoints, tmp_path):
    model = stock_of(checkpoints, "wavlm")
    model.config.auto_map, model.config.custom_pipelines = PLANTED["auto_map"], PLANTED["custom_pipelines"]
    model.config.nested = {"list": [{"auto_map": PLANTED["auto_map"]}]}
    save_model(model, tmp_path)
    extractor = Wav2Vec2FeatureExtractor(auto_map=PLANTED["auto_map"])
    save_extractor(extractor, tmp_path)
    assert not any("pwn" in path.read_text() for path in tmp_path.glob("*.json"))
    own = SpectrogramFeatureExtractor(auto_map=PLANTED["auto_map"])
    save_extractor(own, tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["auto_map"] == {"AutoFeatureExtractor": "spectrogram.SpectrogramFeatureExtractor"}
    assert _needs_own_code(tmp_path), "a stock model, but an extractor of ours"


def test_only_our_own_classes_need_own_code():
    assert not needs_own_code({"model_type": "wav2vec2", **PLANTED}, {**PLANTED})
    assert not needs_own_code({}, ASTFeatureExtractor().to_dict())
    assert needs_own_code({"model_type": "hf_audio_timm"}, {})
    assert needs_own_code({}, SpectrogramFeatureExtractor().to_dict())


@pytest.mark.parametrize("with_config", [True, False])
def test_an_adapter_is_refused_instead_of_following_it_to_another_model(hub, checkpoints, with_config, tiny_features):
    hub.create("models", "victim/private-code", files=files_of(checkpoints["wav2vec2"]))
    for base in ("victim/private-code", checkpoints["wav2vec2"]):
        files = files_of(checkpoints["hubert"]) if with_config else {}
        config = {"peft_type": "LORA", "base_model_name_or_path": base, "auto_mapping": {"parent_library": "pwn"}}
        repo = f"{EVIL}{len(base)}"
        hub.create("models", repo, files=files | {"adapter_config.json": json.dumps(config).encode()})
        with pytest.raises(InputError, match="is an adapter for another model: merge the two"):
            stock_from_checkpoint(repo, LABELS)
        with pytest.raises(InputError, match="is an adapter for another model: merge the two"):
            Checkpoint(repo).config  # noqa: B018
    assert not hub.log.matching(path="victim")


HOSTILE_SIZES = [
    {"num_hidden_layers": 10**7},
    {"num_hidden_layers": 200},
    {"hidden_size": 10**9},
    {"hidden_size": 1 << 20},
    {"intermediate_size": 1 << 24},
    {"num_hidden_layers": "2"},
    {"num_hidden_layers": None},
    {"num_attention_heads": 0},
    {"conv_dim": [16] * 100_000},
    {"conv_dim": {"a": 1}},
    {"conv_dim": [0] * 7},
    {"conv_dim": [0] * 7, "feat_extract_norm": "layer"},
    {"conv_kernel": [1 << 20] * 7},
    {"num_conv_pos_embeddings": -5},
    {"id2label": {str(number): "a" for number in range(70_000)}},
    {"id2label": {"x": "a"}},
    {"id2label": ["a"]},
    {"id2label": {"0": "a" * 100_000}},
    {"layer_norm_eps": 1e300},
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("changes", HOSTILE_SIZES, ids=lambda one: f"{next(iter(one))}-{str(one)[-12:]}")
def test_a_config_with_excessive_sizes_is_refused_immediately(checkpoints, changes, tmp_path):
    for name, content in files_of(checkpoints["wav2vec2"], **changes).items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        Checkpoint(str(tmp_path)).load(Checkpoint(str(tmp_path)).config)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "config",
    [
        SpectrogramCNNConfig(strides=[4096] * 4),
        SpectrogramCNNConfig(depths=[1, 1, 1, 10**6]),
        SpectrogramCNNConfig(channels=[4096] * 4, kernel_sizes=[999] * 4),
        TimmClassifierConfig(timm_name="hf-hub:evil/code"),
        TimmClassifierConfig(timm_name="local-dir:/tmp"),
        TimmClassifierConfig(timm_name="vit_giant_patch14_224", max_frames=224, num_mel_bins=224),
        TimmClassifierConfig(timm_name="resnet18", size_multiple=10**9),
        TransformerClassifierConfig(backbone={"model_type": "timm_wrapper", "architecture": "evil/code"}),
        TransformerClassifierConfig(backbone={"model_type": "llama", "num_hidden_layers": 10**7}),
        TransformerClassifierConfig(backbone={"model_type": "wav2vec2", "num_hidden_layers": 10**7}),
        TransformerClassifierConfig(backbone={"model_type": "wav2vec2", "conv_stride": [4000] * 7}),
        TransformerClassifierConfig(backbone={"model_type": ["wav2vec2"]}),
    ],
    ids=lambda one: f"{one.model_type}-{str(one.to_dict().get('backbone', ''))[-30:]}",
)
def test_a_config_of_our_own_with_excessive_sizes_is_refused_too(hub, config, tmp_path):
    pytest.importorskip("timm")
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(save({"classifier.bias": torch.zeros(2)}))
    with pytest.raises(InputError):
        Checkpoint(str(tmp_path)).load(Checkpoint(str(tmp_path)).config)
    assert not hub.log.matching(path="evil")


def test_a_wrapper_accepts_only_listed_encoders():
    for kind in ("timm_wrapper", "llama", None):
        with pytest.raises(ValueError, match="The backbone must be one of audio-spectrogram-transformer"):
            TransformerClassifier(TransformerClassifierConfig(backbone={"model_type": kind, "x": 1}))


@pytest.mark.parametrize(
    "settings",
    [
        {"feature_extractor_type": "pwn.Extractor"},
        {"feature_extractor_type": "SpeechT5FeatureExtractor"},
        {"sampling_rate": 10**9},
        {"feature_extractor_type": "WhisperFeatureExtractor", "n_fft": 10**12},
    ],
)
@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
def test_the_extractor_of_a_repository_is_checked_in_the_same_way(hub, checkpoints, settings, file):
    settings = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", **PLANTED, **settings}
    if "sampling_rate" in settings:
        settings["feature_extractor_type"] = "Wav2Vec2FeatureExtractor"
    content = {"feature_extractor": settings, **PLANTED} if file == "processor_config.json" else settings
    hub.create("models", EVIL, files={**files_of(checkpoints["hubert"]), file: json.dumps(content).encode()})
    with pytest.raises(InputError):
        Checkpoint(EVIL).extractor  # noqa: B018
    assert only_asked(hub)


def test_configs_of_our_own_models_are_loaded_unchanged(tmp_path):
    config = SpectrogramCNNConfig(dropout=0, channels=(8, 16, 32, 64), metadata={"a": ["b"]}, head="arcface")
    SpectrogramCNN(config).save_pretrained(tmp_path)
    again = Checkpoint(str(tmp_path)).config
    skipped = {"architectures": 0, "auto_map": 0, "dtype": 0}
    assert {**again.to_dict(), **skipped} == {**config.to_dict(), **skipped}


def test_a_model_with_a_new_head_still_loads_its_checkpoint(checkpoints):
    model = transformer_from_checkpoint(checkpoints["wavlm"], LABELS, head="deep", head_sizes=[8]).eval()
    assert model.name_or_path == model.config.name_or_path == checkpoints["wavlm"]
    with torch.no_grad():
        assert model(windows("wavlm")).logits.shape == (2, 3)


LOADS_THE_CARD_S_LINES = """
card = open("run/adapter/README.md").read()
exec(card.split("```python")[1].split("```")[0].replace("REPO", "run"))
print(type(base).__name__)
"""


def test_the_card_of_an_adapter_runs_no_code_of_its_base(tmp_path, forks_without_hf_audio):
    pytest.importorskip("peft")
    settings = {"channels": [4, 8], "kernel_sizes": [3, 3], "strides": [1, 1], "pools": [2, 2], "depths": [1, 1]}
    base = tmp_path / "base"
    save_model(SpectrogramCNN(SpectrogramCNNConfig(**settings)), base)
    (base / "spectrogram_cnn.py").write_text("open('pwned', 'w')\n" + (base / "spectrogram_cnn.py").read_text())
    model = add_lora(stock_from_checkpoint(str(base), LABELS), 2)
    save_adapter(model, tmp_path / "run" / "adapter")
    save_model(model.merge_and_unload(), tmp_path / "run")
    done = forks_without_hf_audio.run(LOADS_THE_CARD_S_LINES, cwd=tmp_path)
    assert done.returncode == 0, done.errors[-2000:]
    assert done.output.strip() == "SpectrogramCNN" and not (tmp_path / "pwned").exists()
