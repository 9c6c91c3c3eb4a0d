"""Parameters of a loss: optimized and resumed with any class of model, and not published."""

from __future__ import annotations

import shutil

import pytest
import torch
from model_cases import ALL_TASKS, METADATA
from safetensors.torch import load_file
from training_run import assert_same_weights, tiny_model, trainer_of, weights_of

from hf_audio import parse_recipe
from hf_audio.config import LossConfig
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.errors import InputError
from hf_audio.models.embedding_tap import EmbeddingTap
from hf_audio.models.lora import add_lora
from hf_audio.training.own_parameters import OWN_FILE, require_unsharded

LOSS = LossConfig(center_weight=0.05, center_learning_rate=0.02, triplet_weight=0.1)
STEPS = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 6, "eval_strategy": "no"}


def test_centers_are_trained_resumed_exactly_and_not_published(tiny_features, tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"

    def start(folder):
        arguments = {**STEPS, "save_total_limit": None, "gradient_accumulation_steps": 2}
        model = tiny_model(tiny_features, dropout=0.1)
        return trainer_of(tiny_features, folder, model, arguments, {"loss": LOSS, "label_smoothing": 0.1})

    trainer = start(whole)
    assert not trainer.objective.own.centers.any()
    trainer.train_resumable()
    centers, group = trainer.objective.own.centers, trainer.optimizer.param_groups[-1]
    assert group["params"] == [centers] and group["initial_lr"] == 0.02 and group["weight_decay"] == 0
    assert centers.norm(dim=1).min() > 0.01 and group["lr"] < 0.02, "the learning rate follows the schedule"

    shutil.copytree(whole, resumed)
    shutil.rmtree(resumed / "checkpoints" / "checkpoint-10")
    kept = resumed / "checkpoints" / "checkpoint-6" / OWN_FILE
    assert load_file(kept)["centers"].shape == centers.shape
    again = start(resumed)
    again.train_resumable()
    assert torch.equal(again.objective.own.centers, centers)
    assert_same_weights(again.model.state_dict(), trainer.model.state_dict())

    assert not (whole / OWN_FILE).exists() and weights_of(whole).keys() == tiny_model(tiny_features).state_dict().keys()
    told = trainer.facts()["training"]
    assert told["settings"].items() >= {"center_weight": 0.05, "triplet_margin": 0.2}.items()
    losses = "triplet loss times 0.1, center loss times 0.05"
    assert told["objective"] == {"loss": f"cross-entropy, label smoothing 0.1, {losses}"}
    shutil.rmtree(resumed / "checkpoints" / "checkpoint-10")
    kept.write_bytes(b"{}")
    (kept.parent / "complete.json").write_text("{}")
    with pytest.raises(InputError, match=r"checkpoint-6 lacks the parameters of its loss \(objective.safetensors\)"):
        start(resumed).train_resumable()


def test_a_compiled_model_trains_the_same(tiny_features, tmp_path):
    found = []
    for compiled in (False, True):
        arguments = {"max_steps": 3, "eval_strategy": "no", "save_strategy": "no", "torch_compile": compiled}
        arguments |= {"torch_compile_backend": "eager"} if compiled else {}
        trainer = trainer_of(tiny_features, tmp_path / str(compiled), None, arguments, {"loss": LOSS})
        trainer.train_resumable()
        found.append(([entry["loss"] for entry in trainer.state.log_history if "loss" in entry], trainer.objective.own))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-5) and len(found[0][0]) == 3
    torch.testing.assert_close(found[0][1].centers, found[1][1].centers, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "instance",
    [instance for instance in ALL_TASKS if instance.problem_type == SINGLE_LABEL],
    ids=lambda instance: f"{instance.case.name}-{instance.head}",
)
def test_every_model_gives_its_embedding_in_training_without_metadata(instance):
    model, inputs = instance.model(), instance.inputs()
    tap = EmbeddingTap(model)
    model(**inputs)
    assert tap.take() is None, "there is none in evaluation"
    model.train()(**inputs)
    embedding = tap.take()
    assert embedding.shape == (3, tap.size) and tap.take() is None
    frozen = instance.case.name == "timm_frozen"
    assert embedding.requires_grad or frozen
    if instance.head == "metadata":
        sizes = sum(len(values) + 1 for values in METADATA.values())
        assert model.with_metadata(embedding, inputs["metadata"]).shape[1] == tap.size + sizes


def test_the_embedding_of_a_model_with_adapters_and_a_model_without_a_head(tiny_features):
    base = tiny_model(tiny_features)
    base.name_or_path = base.config.name_or_path = "someone/base"
    model = add_lora(base, rank=2)
    tap = EmbeddingTap(model)
    model.train()(torch.randn(3, 40, 32))
    assert tap.take().shape == (3, tap.size) == (3, 32)
    bare = tiny_model(tiny_features).audio_spectrogram_transformer
    with pytest.raises(InputError, match=r"ASTModel has no layer named classifier.* leave out --triplet_weight"):
        EmbeddingTap(bare)


def test_a_loss_with_parameters_is_refused_early_for_sharded_models(monkeypatch):
    require_unsharded(False, True)
    argv = ["--center_weight", "0.1"]
    assert parse_recipe({"output_dir": "runs/x"}, argv=argv).loss.center_weight == 0.1
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match="--center_weight trains class centers, which FSDP and DeepSpeed"):
        parse_recipe({"output_dir": "runs/x"}, argv=argv)
