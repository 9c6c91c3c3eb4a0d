"""Pretrained weights of timm, downloaded by timm's own code over HTTP from the tests' Hub."""

import re

import pytest
import timm
import torch
from huggingface_hub import ModelCard
from safetensors.torch import save
from transformers import AutoModelForAudioClassification

from hf_audio.models.lora import add_lora, merged_model, save_adapter
from hf_audio.models.origin import origin_of
from hf_audio.models.saving import save_model
from hf_audio.models.timm_backbone import (
    ParallelTimmClassifier,
    ParallelTimmConfig,
    TimmClassifier,
    timm_from_pretrained,
)
from hf_audio.models.timm_network import TimmClassifierConfig

NAME = "test_resnet.r160_in1k"


def config(name: str = "test_resnet", **settings) -> TimmClassifierConfig:
    return TimmClassifierConfig(name, **{"num_labels": 3, "max_frames": 98, "num_mel_bins": 64, **settings})


def windows() -> torch.Tensor:
    return torch.randn(4, 98, 64, generator=torch.Generator().manual_seed(0))


def publish(hub, name: str) -> dict[str, torch.Tensor]:
    """A checkpoint like those that timm publishes: 3 channels, 1000 classes, under timm's repository name for it."""
    torch.manual_seed(1)
    weights = timm.create_model(name).state_dict()
    for key, tensor in weights.items():
        if "running" in key:
            tensor.uniform_(0.5, 1.5)
    hub.create("models", f"timm/{name}", {"model.safetensors": save(weights, {"format": "pt"})})
    return weights


@pytest.mark.parametrize("num_channels", [1, 2, 3])
def test_weights_are_downloaded_once_and_saved_with_the_model(hub, num_channels, tmp_path):
    published = publish(hub, NAME)
    model = timm_from_pretrained(config("test_resnet", num_channels=num_channels, trainable_blocks=0, num_labels=7))
    assert model.config.timm_name == NAME and model(windows()).logits.shape == (4, 7)
    found = model.backbone.network.state_dict()
    stem = published["conv1.0.weight"]
    published["conv1.0.weight"] = {
        1: stem.sum(dim=1, keepdim=True),
        2: stem[:, :2] * 1.5,
        3: stem,
    }[num_channels]
    for key, tensor in found.items():
        torch.testing.assert_close(tensor, published[key], rtol=0, atol=1e-6, msg=key)
    assert len(hub.log.matching("GET", origin="storage")) <= 1  # none if another test left it in the cache
    model.save_pretrained(tmp_path)
    hub.log.clear()
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert not hub.log.requests
    torch.testing.assert_close(loaded(windows()).logits, model.eval()(windows()).logits, rtol=0, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in loaded.backbone.parameters())


@pytest.mark.parametrize("kind", ["nothing there", "reset"])
def test_a_hub_that_does_not_answer(hub, kind):
    if kind != "nothing there":
        hub.faults.add("GET|HEAD", "test_convnext", kind, times=100)
    with pytest.raises(ValueError, match="download the weights of test_convnext from timm/test_convnext") as error:
        timm_from_pretrained(config("test_convnext"))
    assert "\n" not in str(error.value) and "check the network" in str(error.value)


def test_names_without_weights():
    with pytest.raises(ValueError, match=r"no weights for 'test_coatnet' on the Hub: train it from scratch"):
        timm_from_pretrained(config("test_coatnet"))
    with pytest.raises(ValueError, match=r"Unknown timm network 'test_resnett': did you mean test_resnet"):
        timm_from_pretrained(config("test_resnett"))


def test_parallel_networks_start_equal_and_need_one_download(hub):
    published = publish(hub, "test_byobnet.r160_in1k")
    settings = {"num_backbones": 2, "combine": "predictions", "trainable_blocks": 1}
    model = timm_from_pretrained(ParallelTimmConfig("test_byobnet", num_labels=3, **settings))
    assert isinstance(model, ParallelTimmClassifier) and model(windows()).logits.shape == (4, 3)
    for backbone in model.backbones():
        stem = backbone.network.stem.conv.weight
        torch.testing.assert_close(stem, published["stem.conv.weight"].sum(dim=1, keepdim=True))
    assert len(hub.log.matching("GET", origin="storage")) == 1


def test_position_embeddings_are_resized_to_the_window(hub):
    published = publish(hub, "test_vit.r160_in1k")
    network = timm_from_pretrained(config("test_vit")).backbone.network
    assert published["pos_embed"].shape == (1, 1 + 10 * 10, 64) and network.pos_embed.shape == (1, 1 + 8 * 4, 64)
    assert torch.equal(network.pos_embed[:, 0], published["pos_embed"][:, 0])
    assert torch.equal(network.blocks[2].mlp.fc1.weight, published["blocks.2.mlp.fc1.weight"])


def test_the_origin_of_the_weights_is_recorded(hub, tmp_path):
    """For report and card; the code on an adapter's card loads timm's weights again."""
    publish(hub, NAME)
    model = timm_from_pretrained(config("test_resnet"))
    origin = origin_of(model)
    assert origin["base_model"] == f"timm/{NAME}" and origin["base_license"] == "apache-2.0"
    assert origin_of(TimmClassifier(config("test_resnet"))) == {"base_model": None}
    adapted = add_lora(model, rank=2).eval()
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights)
    save_adapter(adapted, tmp_path / "adapter")
    save_model(merged_model(adapted), tmp_path)
    card = ModelCard.load(tmp_path / "adapter" / "README.md")
    assert (card.data.base_model, card.data.base_model_relation) == (f"timm/{NAME}", "adapter")
    assert "pip install peft transformers torch timm\n" in card.text
    (code,) = re.findall(r"```python\n(.*?)```", card.text, re.S)
    variables = {}
    exec(code.replace("REPO", str(tmp_path)), variables)
    torch.testing.assert_close(
        variables["model"].eval()(windows()).logits, adapted(windows()).logits, atol=1e-5, rtol=0
    )
