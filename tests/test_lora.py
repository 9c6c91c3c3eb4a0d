from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel
from safetensors.torch import load_file
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    AutoConfig,
    AutoModelForAudioClassification,
)

from hf_audio.data.labels import SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.models import build_model
from hf_audio.models.audio_spectrogram_transformer import ast_from_checkpoint
from hf_audio.models.lora import add_lora, is_lora, merged_model, save_adapter

LABELS = LabelSpace(("bell", "hiss", "hum"), SINGLE_LABEL)
FRAMES, BINS, HIDDEN, LAYERS, RANK = 98, 32, 16, 2, 4


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small trained AST of 7 classes for windows of 198 frames."""
    torch.set_num_threads(1)
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
    """A LoRA model whose adapters and head have moved away from where they started."""
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


def test_an_adapter_reloads_on_its_base_with_equal_logits(base, tmp_path):
    model, features = trained(base), torch.randn(2, FRAMES, BINS)
    save_adapter(model, tmp_path / "adapter")
    merged_model(model).save_pretrained(tmp_path)  # the run folder: merged at the root, adapter beside

    config = AutoConfig.from_pretrained(tmp_path)
    fresh = AutoModelForAudioClassification.from_pretrained(base, config=config, ignore_mismatched_sizes=True)
    assert not fresh.audio_spectrogram_transformer.embeddings.position_embeddings.any()  # why the adapter carries them
    reloaded = PeftModel.from_pretrained(fresh, str(tmp_path), subfolder="adapter").eval()
    torch.testing.assert_close(logits(reloaded, features), logits(model, features), rtol=0, atol=1e-6)

    merged = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits(merged, features), logits(model, features), rtol=1e-5, atol=1e-5)
    assert merged.config.id2label == LABELS.id2label


def test_merging_leaves_the_model_in_training_as_it_was(base):
    model, features = trained(base), torch.randn(2, FRAMES, BINS)
    before = logits(model, features)
    assert not is_lora(merged_model(model)) and is_lora(model)
    assert torch.equal(before, logits(model, features))


def test_an_adapter_is_small_and_names_no_path_of_this_machine(base, tmp_path, hub):
    model = trained(base)
    model.save_pretrained(tmp_path / "as-a-checkpoint")
    save_adapter(model, tmp_path)
    assert hub.log.requests == []  # saving asks no Hub
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
    features = SimpleNamespace(labels=LABELS, extractor=extractor)
    assert is_lora(build_model(base, features, lora_rank=RANK))
    with pytest.raises(InputError, match="LoRA adapts a trained checkpoint and ast-tiny is untrained"):
        build_model("ast-tiny", features, lora_rank=RANK)


def test_bad_settings_are_one_sentence(base):
    model = ast_from_checkpoint(base, LABELS, FRAMES, BINS)
    with pytest.raises(InputError, match=r"Unknown LoRA target 'atention': did you mean 'attention'\?"):
        add_lora(model, RANK, targets="atention")
    with pytest.raises(InputError, match="rank of at least 1, found -2"):
        add_lora(model, -2)
