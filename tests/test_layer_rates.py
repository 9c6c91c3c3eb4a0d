"""Learning rates per layer, and when layers start to learn: layer-wise decay, head rate, gradual unfreezing."""

from __future__ import annotations

import shutil

import pytest
import torch
from model_cases import CASES, Instance
from training_run import assert_same_weights, tiny_model, trainer_of
from transformers import TrainerCallback

from hf_audio.config import OptimizingConfig
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.errors import InputError
from hf_audio.models import build_model
from hf_audio.models.layer_groups import layer_groups
from hf_audio.training.layer_plan import plan_layers

STEPS = 10  # per epoch: 38 windows in batches of 4
# the first parameter (of the embeddings, if there are any) and the first one of the layers after them
FIRST = {
    "ast_stock": ("audio_spectrogram_transformer.embeddings.cls_token", "layers.0.attention.q_proj.weight"),
    "ast": ("backbone.embeddings.patch_embeddings.projection.weight", "backbone.layers.0.layernorm_before.weight"),
    "wav2vec2_stock": ("wav2vec2.feature_extractor.conv_layers.6.conv.weight", "encoder.layers.0.attention"),
    "wav2vec2": ("backbone.encoder.pos_conv_embed.conv.bias", "backbone.encoder.layers.0.final_layer_norm.weight"),
    "wav2vec2_convolutions": ("conv_layers.0.conv.weight", "conv_layers.1.conv.weight"),
    "whisper": ("backbone.conv2.weight", "backbone.layers.0.fc1.weight"),
    "cnn": ("stages.0.first.convolution.weight", "stages.1.first.convolution.weight"),
    "batch_norm_cnn": ("stages.0.first.norm.weight", "stages.1.others.0.norm.bias"),
    "lstm": ("lstm.weight_ih_l0", "lstm.weight_hh_l1"),
    "feature_rnn": ("recurrence.bias_hh_l0_reverse", "recurrence.weight_ih_l1_reverse"),
    "feature_mlp": ("layers.0.linear.weight", "layers.1.linear.weight"),
    "feature_cnn": ("layers.0.convolution.weight", "dense.linear.weight"),
    "timm_efficientnet": ("backbone.network.conv_stem.weight", "backbone.network.blocks.0"),
    "timm_vit": ("backbone.network.pos_embed", "backbone.network.blocks.0.attn.qkv.weight"),
    "timm_parallel": ("networks.2.network.stem.0.weight", "networks.1.network.stages.0"),
}


@pytest.mark.parametrize("case", [one for one in CASES if one.name in FIRST], ids=lambda case: case.name)
def test_every_parameter_is_in_one_layer_and_layers_are_in_order(case):
    model = Instance(case, case.heads[0], SINGLE_LABEL).model()
    groups = layer_groups(model)
    names = [name for group in groups for name in group.parameters]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    for name, place in zip(FIRST[case.name], (0, 1), strict=True):
        assert any(name in one for one in groups[place].parameters), groups[place]
    assert all(name.split(".")[0] in ("classifier", "projector") for name in groups[-1].parameters)
    assert len(groups) > 2 and groups[-1].name == "head"


def test_a_norm_belongs_to_the_layer_that_uses_it():
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    for stable, wanted in ((False, 0), (True, 2)):
        config = Wav2Vec2Config(**sizes, do_stable_layer_norm=stable, conv_dim=[8] * 7, num_conv_pos_embedding_groups=2)
        groups = layer_groups(Wav2Vec2ForSequenceClassification(config))
        (found,) = [place for place, one in enumerate(groups) if "wav2vec2.encoder.layer_norm.weight" in one.parameters]
        assert found == wanted, "before the first layer, or after the last one"


class Rates(TrainerCallback):
    """Records each parameter's learning rate and weight decay by name, and at each step which ones have a gradient."""

    def __init__(self):
        self.rates, self.decays, self.learning = [], {}, []

    def on_pre_optimizer_step(self, args, state, control, model, optimizer, **kwargs):
        names = {id(one): name for name, one in model.named_parameters()}
        groups = optimizer.param_groups
        self.rates.append({names[id(one)]: group["lr"] for group in groups for one in group["params"]})
        self.decays = {names[id(one)]: group["weight_decay"] for group in groups for one in group["params"]}
        self.learning.append({name for name, one in model.named_parameters() if one.grad is not None})


def test_each_layer_learns_at_the_rate_of_the_formula(tiny_features, tmp_path, capsys):
    watched = Rates()
    optimizing = OptimizingConfig(layer_decay=0.5, head_learning_rate=1e-2)
    arguments = {"max_steps": 2, "lr_scheduler_type": "constant", "weight_decay": 0.1, "learning_rate": 8e-3}
    trainer = trainer_of(tiny_features, tmp_path, arguments=arguments, optimizing=optimizing, callbacks=[watched])
    assert capsys.readouterr().out.splitlines()[1].split() == ["head", "163", "0.01", "from", "the", "start"]
    trainer.train_resumable()
    rates = watched.rates[0]
    wanted = {"classifier": 1e-2, ".layers.1.": 4e-3, ".layernorm.": 4e-3, ".layers.0.": 2e-3, ".embeddings.": 1e-3}
    for part, rate in wanted.items():
        found = [value for name, value in rates.items() if part in name and ("classifier" in name) == (rate == 1e-2)]
        assert found and found == pytest.approx([rate] * len(found)), part
    assert len(rates) == len(list(trainer.model.named_parameters()))
    assert trainer.state.log_history[0]["learning_rate"] == 1e-2, "the logged rate is the head's"
    for name, decay in watched.decays.items():
        assert decay == (0.0 if "bias" in name or "norm" in name else 0.1), name
    training = trainer.facts()["training"]
    assert training["settings"]["layers"][0] == ["head", 0.01, 0.0]
    assert training["optimizing"] == {"learning rates of layers": "0.001 to 0.01, the head's 0.01"}


def test_adapters_learn_at_the_rate_of_their_layer(tiny_features, tmp_path):
    tiny_model(tiny_features).save_pretrained(tmp_path)
    tiny_features.extractor.save_pretrained(tmp_path)
    model = build_model(str(tmp_path), tiny_features, lora_rank=2)
    plan = plan_layers(model, 1.0, OptimizingConfig(layer_decay=0.5))
    assert [(layer.name, layer.learning_rate) for layer in plan] == [("head", 1.0), ("layer 2", 0.5), ("layer 1", 0.25)]
    assert all("lora_" in name for name in plan[1].parameters)


def test_layer_decay_with_a_single_trained_layer_is_refused(tiny_features):
    model = tiny_model(tiny_features)
    assert plan_layers(model, 1.0, OptimizingConfig()) == []
    model.audio_spectrogram_transformer.requires_grad_(False)
    with pytest.raises(InputError, match="need several layers, but only one is trained"):
        plan_layers(model, 1.0, OptimizingConfig(layer_decay=0.5))


def unfreezing(features, folder, watched=None, **arguments):
    """A trainer that unfreezes layers after 0.5, 1 and 1.5 epochs: at steps 5, 10 and 15 of 20."""
    arguments = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 6, "eval_strategy": "no", **arguments}
    return trainer_of(
        features,
        folder,
        tiny_model(features, dropout=0.1),
        {"save_total_limit": None, **arguments},
        optimizing=OptimizingConfig(unfreeze_epochs=0.5),
        callbacks=[watched] if watched else None,
    )


def test_layers_are_unfrozen_from_the_head_down_also_in_a_resumed_run(tiny_features, tmp_path, capsys):
    watched, again = Rates(), Rates()
    whole = unfreezing(tiny_features, tmp_path / "whole", watched)
    assert "layer 2" in (told := capsys.readouterr().out) and "after epoch 1.5" in told
    whole.train_resumable()
    parts = ("classifier", "layers.1.", "layers.0.", "embeddings")
    found = [[any(part in name for name in step) for part in parts] for step in watched.learning]
    assert found == [[step >= first for first in (0, 5, 10, 15)] for step in range(2 * STEPS)]
    assert all(one.requires_grad for one in whole.model.parameters()), "all are unfrozen at the end"
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    for step in (12, 18, 20):
        shutil.rmtree(tmp_path / f"resumed/checkpoints/checkpoint-{step}")
    resumed = unfreezing(tiny_features, tmp_path / "resumed", again)
    resumed.train_resumable()
    assert again.learning == watched.learning[6:]
    assert_same_weights(whole.model.state_dict(), resumed.model.state_dict())


def test_layers_never_unfrozen_are_reported_and_their_norms_keep_their_statistics(tiny_features, tmp_path, capsys):
    options = {"channels": [8, 8], "kernel_sizes": [3, 3], "strides": [2, 2], "pools": [2, 2], "depths": [1, 1]}
    model = build_model("cnn", tiny_features, options=options)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    arguments = {"max_steps": 15, "eval_strategy": "no", "gradient_checkpointing": True}
    optimizing = OptimizingConfig(unfreeze_epochs=1)
    trainer = trainer_of(tiny_features, tmp_path, model, arguments, optimizing=optimizing)
    told = capsys.readouterr().out.splitlines()
    assert told[-1].startswith("layer 1") and told[-1].endswith("never: 1.5 epochs are too few")
    trainer.train_resumable()
    moved = {name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in moved} == {"classifier", "stages"}
    assert "stages.1.first.norm.running_mean" in moved and not any(name.startswith("stages.0") for name in moved)
