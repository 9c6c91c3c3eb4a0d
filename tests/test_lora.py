from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel
from safetensors.torch import load_file
from small_transformers import KINDS, headed_from_checkpoint, windows
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    AutoConfig,
    AutoModelForAudioClassification,
)

from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.kinds import kind_named
from hf_audio.models import build_model
from hf_audio.models.audio_spectrogram_transformer import ast_from_checkpoint
from hf_audio.models.checkpoints import stock_from_checkpoint
from hf_audio.models.lora import add_lora, is_lora, merged_model, save_adapter, target_names
from hf_audio.models.spectrogram_cnn import SpectrogramCNN, SpectrogramCNNConfig

LABELS = LabelSpace(("bell", "hiss", "hum"), SINGLE_LABEL)
FRAMES, BINS, HIDDEN, LAYERS, RANK = 98, 32, 16, 2, 4


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small trained AST of 7 classes for windows of 198 frames."""
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=7,
        max_length=198,
        num_mel_bins=BINS,
    )
    model = ASTForAudioClassification(config)
    for parameter in model.audio_spectrogram_transformer.embeddings.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    folder = tmp_path_factory.mktemp("private-place") / "base"
    model.save_pretrained(folder)
    ASTFeatureExtractor(num_mel_bins=BINS, max_length=198).save_pretrained(folder)
    return str(folder)


def trained(base, **options):
    """A LoRA model whose adapters and head have moved away from their initial values."""
    torch.manual_seed(1)
    model = add_lora(ast_from_checkpoint(base, LABELS, FRAMES, BINS), RANK, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn_like(parameter)
    return model.eval()


def logits(model, features):
    with torch.no_grad():
        return model(input_values=features).logits


def test_only_adapters_and_head_are_trained(base):
    model = add_lora(ast_from_checkpoint(base, LABELS, FRAMES, BINS), RANK)
    trained_names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    adapters = {name for name in trained_names if "lora_" in name}
    head = {name for name in trained_names if "classifier.modules_to_save" in name}
    assert trained_names == adapters | head
    assert len(adapters) == LAYERS * 2 * 2 and all(".q_proj." in name or ".v_proj." in name for name in adapters)
    assert len(head) == 4
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert count == LAYERS * 2 * 2 * HIDDEN * RANK + (2 * HIDDEN + HIDDEN * 3 + 3)
    every = add_lora(ast_from_checkpoint(base, LABELS, FRAMES, BINS), RANK, targets="all")
    assert sum("lora_" in name for name, _ in every.named_parameters()) == LAYERS * 6 * 2


def test_an_adapter_loaded_on_its_base_has_equal_logits(base, tmp_path):
    model, features = trained(base), torch.randn(2, FRAMES, BINS)
    save_adapter(model, tmp_path / "adapter")
    merged_model(model).save_pretrained(tmp_path)  # merged weights at the root, the adapter below

    config = AutoConfig.from_pretrained(tmp_path)
    fresh = AutoModelForAudioClassification.from_pretrained(base, config=config, ignore_mismatched_sizes=True)
    assert not fresh.audio_spectrogram_transformer.embeddings.position_embeddings.any()  # the adapter has them
    reloaded = PeftModel.from_pretrained(fresh, str(tmp_path), subfolder="adapter").eval()
    torch.testing.assert_close(logits(reloaded, features), logits(model, features), rtol=0, atol=1e-6)

    merged = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits(merged, features), logits(model, features), rtol=1e-5, atol=1e-5)
    assert merged.config.id2label == LABELS.id2label


def test_merging_does_not_change_the_model_in_training(base):
    model, features = trained(base), torch.randn(2, FRAMES, BINS)
    before = logits(model, features)
    assert not is_lora(merged_model(model)) and is_lora(model)
    assert torch.equal(before, logits(model, features))


def test_an_adapter_is_small_and_names_no_path_of_this_machine(base, tmp_path, hub):
    model = trained(base)
    model.save_pretrained(tmp_path / "as-a-checkpoint")
    save_adapter(model, tmp_path)
    assert hub.log.requests == []  # saving sends no request to the Hub
    shutil.rmtree(tmp_path / "as-a-checkpoint")
    assert ModelCard.load(tmp_path / "README.md").data.library_name == "peft"
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "base"
    for path in tmp_path.iterdir():
        assert b"private-place" not in path.read_bytes()
    names = load_file(tmp_path / "adapter_model.safetensors").keys()
    assert {name.split(".")[2] for name in names} == {"audio_spectrogram_transformer", "classifier"}
    assert not any("mlp" in name or "o_proj" in name for name in names)


def test_gradients_pass_through_checkpointed_layers(base):
    model = add_lora(ast_from_checkpoint(base, LABELS, FRAMES, BINS), RANK).train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model(input_values=torch.randn(2, FRAMES, BINS)).logits.square().sum().backward()
    # lora_B starts at zero, so lora_A has no gradient yet
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_build_model_adds_adapters_to_checkpoints_only(base):
    extractor = ASTFeatureExtractor(max_length=FRAMES, num_mel_bins=BINS)
    features = SimpleNamespace(kind=kind_named("fbank"), labels=LABELS, extractor=extractor)
    assert is_lora(build_model(base, features, lora_rank=RANK))
    with pytest.raises(InputError, match="LoRA adapts a pretrained checkpoint, but ast-tiny is untrained"):
        build_model("ast-tiny", features, lora_rank=RANK)


def test_bad_settings_are_one_sentence(base):
    model = ast_from_checkpoint(base, LABELS, FRAMES, BINS)
    with pytest.raises(InputError, match=r"Unknown LoRA target 'atention': did you mean 'attention'\?"):
        add_lora(model, RANK, targets="atention")
    with pytest.raises(InputError, match="rank of at least 1, found -2"):
        add_lora(model, -2)


CLASSES = {"stock": {}, "fluffy": {"head": "fluffy", "head_sizes": [8]}}


def transformer(checkpoints, kind, settings):
    load = headed_from_checkpoint if settings else stock_from_checkpoint
    return load(checkpoints[kind], LABELS, **KINDS[kind].size, **settings)


def moved(model, step=0.3):
    """The adapted model with its trainable weights moved, as if it had been trained."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += step * torch.randn_like(parameter)
    return model.eval()


def said(model, inputs):
    with torch.no_grad():
        return model(inputs).logits


@pytest.mark.parametrize("targets", ["attention", "all"])
@pytest.mark.parametrize("settings", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_adapter_and_the_whole_head_get_a_gradient(checkpoints, kind, settings, targets):
    """Through checkpointed layers. WavLM's attention never calls its projections, so it gets no adapter."""
    model = moved(add_lora(transformer(checkpoints, kind, settings), RANK, targets=targets), 0.05).train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model(windows(kind)).logits.square().sum().backward()
    trained_names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name in trained_names:
        assert model.get_parameter(name).grad is not None and model.get_parameter(name).grad.any(), name
    adapters = {name for name in trained_names if "lora_" in name}
    assert len(adapters) >= 2 * 2 * 2
    assert not any("_proj." in name for name in adapters) or kind != "wavlm"
    heads = {name.split(".")[2] for name in trained_names - adapters}
    is_plain = bool(settings) or kind == "ast"  # the other stock classes have a projection before it, which is new too
    assert heads == ({"classifier"} if is_plain else {"classifier", "projector"})


@pytest.mark.parametrize("settings", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("kind", ["wav2vec2", "wavlm", "whisper", "ast"])
def test_the_code_on_the_card_puts_an_adapter_on_its_base(checkpoints, kind, settings, tmp_path, monkeypatch):
    model = moved(add_lora(transformer(checkpoints, kind, settings), RANK))
    expected = said(model, windows(kind))
    save_adapter(model, tmp_path / "adapter")
    merged = merged_model(model)
    torch.testing.assert_close(said(merged, windows(kind)), expected, rtol=1e-5, atol=1e-5)
    merged.save_pretrained(tmp_path)
    alone = AutoModelForAudioClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(said(alone, windows(kind)), expected, rtol=1e-5, atol=1e-5)
    monkeypatch.chdir(Path(checkpoints[kind]).parent)  # the card has only the base's folder name
    torch.testing.assert_close(said(from_card(tmp_path), windows(kind)), expected, rtol=0, atol=1e-6)


def from_card(repo) -> PeftModel:
    """The model that the code on an adapter's card gives."""
    card = (repo / "adapter" / "README.md").read_text()
    names = {}
    exec(card.split("```python")[1].split("```")[0].replace("REPO", str(repo)), names)
    return names["model"].eval()


def test_an_adapter_of_our_own_checkpoint(checkpoints, tmp_path, monkeypatch):
    settings = CLASSES["fluffy"]
    headed_from_checkpoint(checkpoints["hubert"], LABELS, **settings).save_pretrained(tmp_path / "ours")
    labels = LabelSpace(("a", "b", "c", "d"), SINGLE_LABEL)
    model = moved(add_lora(stock_from_checkpoint(str(tmp_path / "ours"), labels), RANK))
    save_adapter(model, tmp_path / "run" / "adapter")
    merged_model(model).save_pretrained(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    reloaded = said(from_card(tmp_path / "run"), windows("hubert"))
    torch.testing.assert_close(reloaded, said(model, windows("hubert")), rtol=0, atol=1e-6)


def test_an_adapter_includes_the_statistics_of_batch_norms(tmp_path):
    settings = {"channels": [4, 8], "kernel_sizes": [3, 3], "strides": [1, 1], "pools": [2, 2], "depths": [1, 1]}
    config = SpectrogramCNNConfig(**settings, norm="batch", id2label=LABELS.id2label, label2id=LABELS.label2id)
    SpectrogramCNN(config).save_pretrained(tmp_path / "base")
    model = add_lora(SpectrogramCNN.from_pretrained(tmp_path / "base"), RANK).train()
    features = torch.randn(4, 40, 32)
    model(3 * features + 2)
    model = moved(model)
    assert {name.split(".")[-4] for name, _ in model.named_parameters() if "lora_A" in name} == {"convolution"}
    save_adapter(model, tmp_path / "adapter")
    base = SpectrogramCNN.from_pretrained(tmp_path / "base")
    reloaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    torch.testing.assert_close(said(reloaded, features), said(model, features), rtol=0, atol=1e-6)
    torch.testing.assert_close(said(merged_model(model), features), said(model, features), rtol=1e-5, atol=1e-5)


def test_targets_are_modules_that_the_model_has(checkpoints):
    stock = {kind: transformer(checkpoints, kind, {}) for kind in ("wav2vec2", "wavlm", "whisper", "ast")}
    assert {kind: target_names(model) for kind, model in stock.items()} == {
        "wav2vec2": ["q_proj", "v_proj"],
        "wavlm": ["intermediate_dense", "output_dense"],
        "whisper": ["q_proj", "v_proj"],
        "ast": ["q_proj", "v_proj"],
    }
    assert sorted(target_names(stock["ast"], "all")) == ["fc1", "fc2", "k_proj", "o_proj", "q_proj", "v_proj"]
    convolutions = headed_from_checkpoint(checkpoints["hubert"], LABELS, encoder="convolutional")
    with pytest.raises(InputError, match=r"A TransformerClassifier of type hubert has no layers for LoRA: leave out"):
        add_lora(convolutions, RANK)
