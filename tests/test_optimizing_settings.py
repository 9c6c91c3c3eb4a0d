"""Optimization settings that are invalid or would have no effect: one sentence before anything is read."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from hf_audio import InputError, parse_recipe

VALUES = {"output_dir": "runs/x", "corpus": "irmas"}
PRETRAINING = {"output_dir": "runs/x", "objective": "masked"}


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--lr_schedule", "stap"], "Unknown --lr_schedule 'stap': did you mean 'step'"),
        (
            ["--lr_schedule", "step", "--lr_scheduler_type", "linear"],
            "--lr_scheduler_type would have no effect here: --lr",
        ),
        (
            ["--lr_schedule", "one_cycle", "--lr_decay_factor", "0.5"],
            "it only applies to --lr_schedule step and exponential",
        ),
        (["--lr_decay_epochs", "5"], "it only applies to --lr_schedule step and exponential: give one"),
        (
            ["--lr_schedule", "step", "--max_steps", "9", "--lr_decay_factor", "2"],
            "--lr_decay_factor must be a number, between",
        ),
        (
            ["--lr_schedule", "step", "--num_train_epochs", "10"],
            "--lr_schedule would have no effect here: training ends bef",
        ),
        (
            ["--lr_schedule", "exponential", "--lr_decay_factor", "1"],
            "--lr_decay_factor 1 leaves the rate unchanged: give less, or leave out --lr_schedule",
        ),
        (
            ["--head_learning_rate", "0"],
            "--head_learning_rate must be above 0, found 0: leave it out to train the head",
        ),
        (["--swa_epochs", "9", "--num_train_epochs", "8.5"], None),
        (["--swa_epochs", "10", "--num_train_epochs", "8.5"], "it averages more epochs than --num_train_epochs"),
        (
            ["--teacher", "a/b", "--head", "arcface"],
            "--teacher would have no effect here: this --head lowers the logit",
        ),
        (
            ["--mixup_alpha", "1", "--per_device_train_batch_size", "1"],
            "--mixup_alpha needs other windows in the micro-batch, .* give 2 or more, or --mixup_alpha 0",
        ),
        (["--mixup_alpha", "1", "--mixup_probability", "0.5", "--per_device_train_batch_size", "2"], None),
        (
            ["--teacher", "a/b", "--distillation_weight", "1", "--loss", "focal"],
            "--loss would have no effect here: --distillation_weight 1 learns only from the teacher",
        ),
        (["--layer_decay", "0"], "--layer_decay must be a number, between 1e-06 and 1, found 0"),
        (
            ["--layer_decay", "0.7", "--freeze", "backbone"],
            "--layer_decay would have no effect here: --freeze backbone",
        ),
        (["--layer_decay", "0.7", "--optim", "lomo"], "--layer_decay would have no effect here: this --optim groups"),
        (["--unfreeze_epochs", "1", "--freeze", "convolutional"], "--unfreeze_epochs would have .* for the whole run"),
        (["--unfreeze_epochs", "1", "--lora_rank", "4"], "--freeze and --lora_rank fix what is trained"),
        (["--unfreeze_epochs", "1", "--torch_compile"], "would trigger a full recompilation: leave one of the two out"),
        (["--ema_decay", "0.9", "--fsdp", "full_shard"], "it needs complete weights, but --fsdp and"),
        (["--ema_decay", "0.9", "--swa_epochs", "3"], "are two ways to average weights"),
        (
            ["--swa_epochs", "3", "--early_stopping_patience", "2"],
            "--swa_epochs would have no effect here: early stopping",
        ),
        (["--ema_decay", "1"], "--ema_decay must be a number, between 0 and"),
        (["--balanced_sampling", "full", "--class_weights", "balanced"], "all make rare classes count more"),
        (["--balanced_sampling", "full", "--train_sampling_strategy", "sequential"], "sequential does not sample"),
    ],
)
def test_invalid_settings_and_those_without_effect_are_one_sentence(argv, sentence):
    with pytest.raises(InputError, match=sentence) if sentence else nullcontext():
        parse_recipe(VALUES, argv=argv)


def test_mixing_set_by_a_recipe_needs_enough_windows():
    mixing = {**VALUES, "mixstyle_alpha": 0.3, "cutmix_alpha": 1.0, "cutmix_probability": 0.0}
    with pytest.raises(InputError, match=r"--mixstyle_alpha needs other windows .* or --mixstyle_alpha 0$"):
        parse_recipe(mixing, argv=["--per_device_train_batch_size", "1"])


def test_pretraining_averages_weights_and_refuses_settings_of_labels_and_heads():
    for flags in (["--layer_decay", "0.7"], ["--balanced_sampling", "full"]):
        with pytest.raises(InputError, match=f"{flags[0]} would have no effect here: pretraining"):
            parse_recipe(PRETRAINING, argv=flags)
    assert parse_recipe(PRETRAINING, argv=["--ema_decay", "0.9"]).optimizing.averages


def test_our_own_schedules_have_a_warm_up_too():
    constant = {**VALUES, "lr_scheduler_type": "constant"}
    recipe = parse_recipe(constant, argv=["--lr_schedule", "exponential", "--warmup_steps", "5"])
    assert recipe.optimizing.lr_schedule == "exponential"
