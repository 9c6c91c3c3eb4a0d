"""Averages of the weights (EMA, SWA): their values, where they are used, and resuming."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from training_run import assert_same_weights, batch_of, tiny_model, trainer_of, weights_of
from transformers import TrainerCallback

from hf_audio.config import OptimizingConfig
from hf_audio.errors import InputError
from hf_audio.models import build_model
from hf_audio.training.averaged_weights import IN_TRAINING

STEPS = 10  # per epoch: 38 windows in batches of 4
EMA, SWA = OptimizingConfig(ema_decay=0.6), OptimizingConfig(swa_epochs=2)
CNN = {"channels": [8, 8], "kernel_sizes": [3, 3], "strides": [2, 2], "pools": [2, 2], "depths": [1, 1]}


class Weights(TrainerCallback):
    """Stores the weights before training and after each step."""

    def __init__(self):
        self.steps = []

    def on_train_begin(self, args, state, control, model, **kwargs):
        self.steps.append(_copy(model))

    def on_step_end(self, args, state, control, model, **kwargs):
        self.steps.append(_copy(model))


def _copy(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def by_hand(steps, decay):
    average = {name: value.double() for name, value in steps[0].items()}
    for step, weights in enumerate(steps[1:], start=1):
        kept = min(decay, (1 + step) / (10 + step))
        average = {name: kept * one + (1 - kept) * weights[name] for name, one in average.items()}
    return average


def assert_close(found, wanted):
    for name, one in wanted.items():
        if one.is_floating_point():
            torch.testing.assert_close(found[name].double(), one.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "arguments", [{}, {"gradient_accumulation_steps": 2}, {"bf16": True, "torch_compile_backend": "eager"}], ids=str
)
def test_a_moving_average_is_evaluated_saved_and_published(tiny_features, tmp_path, arguments):
    watched = Weights()
    arguments = {"num_train_epochs": 2, "save_total_limit": None, "learning_rate": 3e-3, **arguments}
    trainer = trainer_of(tiny_features, tmp_path, arguments=arguments, optimizing=EMA, callbacks=[watched])
    state = trainer.train_resumable()
    num_steps = state.global_step // 2
    for epoch in (1, 2):
        checkpoint = tmp_path / "checkpoints" / f"checkpoint-{epoch * num_steps}"
        wanted = by_hand(watched.steps[: epoch * num_steps + 1], 0.6)
        assert_close(weights_of(checkpoint), wanted)
        in_training = load_file(checkpoint / IN_TRAINING)
        assert all(torch.equal(in_training[name], watched.steps[epoch * num_steps][name]) for name in in_training)
    best = tmp_path / "checkpoints" / f"checkpoint-{state.best_global_step}"
    assert_same_weights(weights_of(tmp_path), weights_of(best))
    assert_same_weights(trainer.model.state_dict(), weights_of(best))
    (scored,) = [
        one["eval_loss"] for one in state.log_history if "eval_loss" in one and one["step"] == state.best_global_step
    ]
    assert trainer.evaluate()["eval_loss"] == pytest.approx(scored, rel=1e-5)
    assert trainer.facts()["training"]["optimizing"] == {"published weights": "moving average, decay 0.6"}


def resumed(start, tmp_path, drop):
    """A run, and a copy resumed from an earlier checkpoint: the checkpoints of the steps in `drop` are deleted."""
    whole = start(tmp_path / "whole")
    whole.train_resumable()
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    for step in drop:
        shutil.rmtree(tmp_path / f"again/checkpoints/checkpoint-{step}")
    again = start(tmp_path / "again")
    again.train_resumable()
    return whole, again


@pytest.mark.parametrize(
    ("optimizing", "drop"), [(EMA, (12, 18, 24, 25)), (SWA, (18, 24, 25)), (SWA, (12, 18, 24, 25))]
)
def test_a_resumed_run_gives_the_same_bytes(tiny_features, tmp_path, optimizing, drop):
    """Resumed in the middle of an epoch, and with SWA before and after its first averaged epoch."""
    steps = {"save_strategy": "steps", "save_steps": 6, "eval_strategy": "steps", "eval_steps": 6, "max_steps": 25}

    def start(folder):
        model = build_model("cnn", tiny_features, options=CNN | {"dropout": 0.2})
        return trainer_of(tiny_features, folder, model, {**steps, "save_total_limit": None}, optimizing=optimizing)

    whole, again = resumed(start, tmp_path, drop)
    last = "checkpoints/checkpoint-24/model.safetensors", "checkpoints/checkpoint-24/" + IN_TRAINING
    for name in (*last, "model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    scores = [[one["eval_loss"] for one in each.state.log_history if "eval_loss" in one] for each in (whole, again)]
    assert scores[0] == scores[1]


def test_a_mean_of_epochs_gets_new_batch_norm_statistics(tiny_features, tmp_path):
    watched = Weights()
    model = build_model("cnn", tiny_features, options=CNN)
    arguments = {"num_train_epochs": 4, "eval_strategy": "no", "learning_rate": 1e-2, "save_total_limit": None}
    arguments |= {"lr_scheduler_type": "constant"}
    trainer = trainer_of(tiny_features, tmp_path, model, arguments, optimizing=SWA, callbacks=[watched])
    trainer.train_resumable()
    ends = [watched.steps[epoch * STEPS] for epoch in (3, 4)]
    mean = {name: (ends[0][name] + ends[1][name]) / 2 for name in dict(model.named_parameters())}
    found = trainer.model.state_dict()
    assert_close(found, mean)
    assert not (tmp_path / "checkpoints/checkpoint-20" / IN_TRAINING).exists(), "averaging starts later"
    assert (tmp_path / "checkpoints/checkpoint-40" / IN_TRAINING).exists()
    assert trainer.facts()["training"]["optimizing"] == {
        "published weights": "mean of the last epochs, at most 2, at step 40"
    }
    trainer.state.best_global_step = 20
    assert "those of step 20, better on" in trainer.facts()["training"]["optimizing"]["published weights"]
    # statistics of the first norm are the mean of its convolution's outputs over the batches of an epoch
    stage = trainer.model.stages[0].first
    sums = []
    hook = stage.convolution.register_forward_hook(lambda module, args, out: sums.append(out.detach()))
    trainer.model.eval()
    with torch.no_grad():
        trainer.model(batch_of(tiny_features, "train")["input_values"])
    hook.remove()
    torch.testing.assert_close(stage.norm.running_mean, sums[0].mean((0, 2, 3)), rtol=0.05, atol=0.02)
    assert not torch.allclose(stage.norm.running_mean, ends[1]["stages.0.first.norm.running_mean"], rtol=0.05)
    assert stage.norm.momentum == 0.1


def test_adapters_are_averaged(tiny_features, tmp_path):
    tiny_model(tiny_features, seed=7).save_pretrained(tmp_path / "base")
    tiny_features.extractor.save_pretrained(tmp_path / "base")

    def start(folder):
        model = build_model(str(tmp_path / "base"), tiny_features, lora_rank=2, lora_dropout=0.2)
        arguments = {"num_train_epochs": 2, "learning_rate": 1e-2, "save_total_limit": None}
        return trainer_of(tiny_features, folder, model, arguments, optimizing=EMA)

    whole, again = resumed(start, tmp_path, (20,))
    assert_same_weights(whole.model.state_dict(), again.model.state_dict())
    beside = load_file(tmp_path / "whole/checkpoints/checkpoint-20" / IN_TRAINING)
    assert len(beside) == sum(one.requires_grad for one in whole.model.parameters())


def test_without_evaluation_the_last_average_remains(tiny_features, tmp_path):
    watched = Weights()
    arguments = {"max_steps": 4, "eval_strategy": "no", "save_strategy": "no"}
    trainer = trainer_of(tiny_features, tmp_path, arguments=arguments, optimizing=EMA, callbacks=[watched])
    trainer.train_resumable()
    assert_close(weights_of(tmp_path), by_hand(watched.steps, 0.6))


def test_impossible_averages_are_refused(tiny_features, tmp_path):
    with pytest.raises(InputError, match="--swa_epochs 1 would average one set of weights"):
        OptimizingConfig(swa_epochs=1)
    with pytest.raises(InputError, match="are two ways to average weights"):
        OptimizingConfig(swa_epochs=2, ema_decay=0.9)
    with pytest.raises(InputError, match=r"--swa_epochs 2 averages more epochs than the 0\.5 of this run"):
        trainer_of(tiny_features, tmp_path, arguments={"max_steps": 5}, optimizing=SWA)
    with pytest.raises(InputError, match="--early_stopping_patience may end training before them"):
        trainer_of(tiny_features, tmp_path, optimizing=SWA, early_stopping_patience=2)


def test_a_changed_average_is_another_run(tiny_features, tmp_path):
    arguments = {"max_steps": 2, "eval_strategy": "no", "save_strategy": "steps", "save_steps": 1}
    trainer_of(tiny_features, tmp_path, arguments=arguments, optimizing=EMA).train_resumable()
    assert json.loads((tmp_path / "checkpoints/run.json").read_text())["ema_decay"] == 0.6
    with pytest.raises(InputError, match=r"ema_decay was 0\.6 and is now None"):
        trainer_of(tiny_features, tmp_path, arguments=arguments).train_resumable()
