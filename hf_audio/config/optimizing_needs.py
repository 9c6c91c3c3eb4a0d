"""Which settings of optimization have no effect without others."""

from __future__ import annotations

import math

from hf_audio.config.needs import Needs, as_typed
from hf_audio.config.optimizing import LAYERWISE_OPTIMIZERS
from hf_audio.config.rare_classes import RARE_CLASSES_NEED

OF_LAYERS = ("layer_decay", "head_learning_rate", "unfreeze_epochs")  # settings that treat layers differently

OPTIMIZING_NEEDS = (
    Needs(
        ("lr_scheduler_type", "lr_scheduler_kwargs"),
        lambda run: not run.lr_schedule,
        "--lr_schedule sets the schedule: leave one of the two out",
    ),
    Needs(
        ("lr_decay_factor", "lr_decay_epochs"),
        lambda run: run.lr_schedule in ("step", "exponential"),
        "it only applies to --lr_schedule step and exponential: give one, or leave it out",
    ),
    Needs(
        ("lr_schedule", "lr_decay_epochs"),
        lambda run: run.lr_schedule != "step" or run.max_steps > 0 or run.lr_decay_epochs < run.num_train_epochs,
        "training ends before --lr_decay_epochs: give less than --num_train_epochs",
    ),
    Needs(
        ("swa_epochs",),
        lambda run: run.max_steps > 0 or run.swa_epochs <= math.ceil(run.num_train_epochs),
        "it averages more epochs than --num_train_epochs: give fewer",
    ),
    Needs(
        (*OF_LAYERS, "balanced_sampling"),
        lambda run: not run.objective,
        "pretraining trains all layers in the same way and uses no labels: leave it out",
    ),
    Needs(
        OF_LAYERS,
        lambda run: run.freeze != "backbone",
        "--freeze backbone trains only the head: leave one of the two out",
    ),
    Needs(
        ("layer_decay", "head_learning_rate", "center_weight"),
        lambda run: not as_typed(run.optim).startswith(LAYERWISE_OPTIMIZERS),
        "this --optim groups the model's parameters itself: leave it out, or give another --optim",
    ),
    Needs(
        ("unfreeze_epochs",),
        lambda run: run.freeze == "none" and not run.lora_rank,
        "--freeze and --lora_rank fix what is trained for the whole run: leave one of them out",
    ),
    Needs(
        ("unfreeze_epochs", "torch_compile"),
        lambda run: not (run.unfreeze_epochs and run.torch_compile),
        "each layer that --unfreeze_epochs unfreezes would trigger a full recompilation: leave one of the two out",
    ),
    Needs(
        ("unfreeze_epochs", "ema_decay", "swa_epochs"),
        lambda run: not (run.fsdp or run.deepspeed),
        "it needs complete weights, but --fsdp and --deepspeed shard them across processes: leave it out",
    ),
    Needs(
        ("swa_epochs", "early_stopping_patience"),
        lambda run: not (run.swa_epochs and run.early_stopping_patience),
        "early stopping may end training before the last epochs, which --swa_epochs averages: leave one of the two out",
    ),
    RARE_CLASSES_NEED,
    Needs(
        ("balanced_sampling",),
        lambda run: run.train_sampling_strategy == "random",
        "--train_sampling_strategy sequential does not sample windows: leave one of the two out",
    ),
)
