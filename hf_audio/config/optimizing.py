"""Optimization settings in addition to transformers' own arguments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hf_audio.config.setting import require_choices, require_within, setting
from hf_audio.errors import InputError

LAYERWISE_OPTIMIZERS = ("galore", "apollo", "lomo", "adalomo")  # values of --optim that group parameters themselves


@dataclass
class OptimizingConfig:
    """Optimization settings in addition to transformers' own arguments."""

    _argument_group_name = "optimization"

    layer_decay: float = setting(
        1.0, "Layer-wise learning rate decay: rate of each layer, relative to the layer above it; 1 is off."
    )
    head_learning_rate: float | None = setting(None, "Learning rate of the head. Default: --learning_rate.")
    unfreeze_epochs: float = setting(
        0.0,
        "Gradual unfreezing: train only the head first, and one more layer every this many epochs, from the top down; "
        "0 is off.",
    )
    lr_schedule: Literal["one_cycle", "step", "exponential"] | None = setting(
        None, "Learning rate schedule, instead of --lr_scheduler_type: one_cycle, step or exponential."
    )
    lr_decay_factor: float = setting(
        0.1, "For --lr_schedule step and exponential: factor that the rate is multiplied by every --lr_decay_epochs."
    )
    lr_decay_epochs: float = setting(
        10.0, "For --lr_schedule step and exponential: number of epochs per --lr_decay_factor."
    )
    ema_decay: float = setting(
        0.0, "Evaluate and publish an exponential moving average of the weights with this decay, e.g. 0.999; 0 is off."
    )
    swa_epochs: int = setting(
        0,
        "Stochastic weight averaging: evaluate and publish the mean weights of this many final epochs; 0 is off.",
    )
    balanced_sampling: Literal["none", "sqrt", "full"] = setting(
        "none",
        "Sample windows of rare classes more often: full (all classes equally often) or sqrt (halfway). A multi-label "
        "window counts by its rarest class.",
    )

    def __post_init__(self) -> None:
        require_choices(self)
        require_within(self, ("layer_decay", "lr_decay_factor"), 1e-6, 1)
        require_within(self, ("lr_decay_epochs",), 1e-6)
        require_within(self, ("unfreeze_epochs", "swa_epochs"), 0)
        require_within(self, ("ema_decay",), 0, 0.999999)
        if self.head_learning_rate is not None and not 0 < self.head_learning_rate < math.inf:
            raise InputError(
                f"--head_learning_rate must be above 0, found {self.head_learning_rate:g}: leave it out to train the "
                "head at --learning_rate"
            )
        if self.lr_schedule in ("step", "exponential") and self.lr_decay_factor == 1:
            raise InputError("--lr_decay_factor 1 leaves the rate unchanged: give less, or leave out --lr_schedule")
        if self.swa_epochs == 1:
            raise InputError("--swa_epochs 1 would average one set of weights: give 2 or more, or leave it out")
        if self.swa_epochs and self.ema_decay:
            raise InputError("--swa_epochs and --ema_decay are two ways to average weights: leave one of the two out")

    @property
    def sets_rates(self) -> bool:
        """Whether layers have different learning rates."""
        return self.layer_decay != 1 or self.head_learning_rate is not None

    @property
    def averages(self) -> bool:
        """Whether averaged weights are evaluated and published."""
        return bool(self.ema_decay or self.swa_epochs)
