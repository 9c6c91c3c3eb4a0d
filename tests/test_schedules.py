"""Schedules that transformers lacks: one cycle, steps and exponential decay."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR
from training_run import assert_same_weights, trainer_of

from hf_audio.config import OptimizingConfig
from hf_audio.errors import InputError
from hf_audio.training.schedules import schedule_of


def rates_of(scheduler, optimizer, num_steps):
    found = []
    for _ in range(num_steps):
        found.append([group["lr"] for group in optimizer.param_groups])
        scheduler.step()
    return torch.tensor(found)


def two_groups(rates=(1e-2, 1e-3)):
    return torch.optim.SGD([{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates])


def own_rates(settings, num_warmup_steps, num_steps, steps_per_epoch=10):
    optimizer = two_groups()
    scheduler = schedule_of(optimizer, OptimizingConfig(**settings), num_warmup_steps, num_steps, steps_per_epoch)
    return rates_of(scheduler, optimizer, num_steps)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize(("num_warmup_steps", "num_steps"), [(30, 100), (1, 10), (5, 12)])
def test_one_cycle_is_that_of_torch(num_warmup_steps, num_steps):
    found = own_rates({"lr_schedule": "one_cycle"}, num_warmup_steps, num_steps)
    if num_warmup_steps > 1:  # torch would divide by 0
        optimizer, share = two_groups(), num_warmup_steps / num_steps
        stock = OneCycleLR(optimizer, [1e-2, 1e-3], num_steps, pct_start=share, cycle_momentum=False)
        torch.testing.assert_close(found, rates_of(stock, optimizer, num_steps))
    assert found.argmax(0).tolist() == [num_warmup_steps - 1] * 2
    assert found[-1, 0].item() == pytest.approx(1e-2 / 25e4)
    torch.testing.assert_close(found[:, 1], found[:, 0] / 10)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_steps_and_exponential_decay_count_epochs_after_the_warm_up():
    settings = {"lr_decay_factor": 0.5, "lr_decay_epochs": 2}
    steps = own_rates({"lr_schedule": "step", **settings}, 5, 60)[:, 0]
    assert steps[:6].tolist() == pytest.approx([0, 2e-3, 4e-3, 6e-3, 8e-3, 1e-2])
    assert steps[[19, 20, 39, 40, 59]].tolist() == pytest.approx([1e-2, 5e-3, 5e-3, 2.5e-3, 2.5e-3])
    slow = own_rates({"lr_schedule": "exponential", **settings}, 0, 60)[:, 0]
    assert slow[[0, 10, 20, 40]].tolist() == pytest.approx([1e-2, 1e-2 * 0.5**0.5, 5e-3, 2.5e-3])


def test_a_resumed_run_continues_its_schedule(tiny_features, tmp_path):
    def start(folder):
        arguments = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3, "eval_strategy": "no"}
        optimizing = OptimizingConfig(lr_schedule="exponential", lr_decay_epochs=0.5, layer_decay=0.5)
        return trainer_of(tiny_features, folder, arguments=arguments, optimizing=optimizing)

    whole = start(tmp_path / "whole")
    whole.train_resumable()
    facts = whole.facts()["training"]
    assert facts["lr_scheduler"] == "exponential" and facts["settings"]["lr_decay_epochs"] == 0.5
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed/checkpoints/checkpoint-6")
    resumed = start(tmp_path / "resumed")
    resumed.train_resumable()
    rates = [[entry["learning_rate"] for entry in one.state.log_history if "loss" in entry] for one in (whole, resumed)]
    assert rates[0] == rates[1] and rates[0][1:] == pytest.approx([1e-3 * 0.1 ** (step / 5) for step in range(1, 6)])
    assert_same_weights(whole.model.state_dict(), resumed.model.state_dict())


def test_a_step_behind_the_end_of_training_is_refused(tiny_features, tmp_path):
    step = OptimizingConfig(lr_schedule="step", lr_decay_epochs=2)
    with pytest.raises(InputError, match="--lr_schedule step would not lower the rate: training ends after 2 epochs"):
        trainer_of(tiny_features, tmp_path, arguments={"num_train_epochs": 2}, optimizing=step)
    trainer_of(tiny_features, tmp_path, arguments={"num_train_epochs": 3}, optimizing=step)
