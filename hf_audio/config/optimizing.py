"""How weights are found, beside transformers' own arguments."""

from __future__ import annotations

from dataclasses import dataclass

from hf_audio.config.setting import require_within, setting
from hf_audio.errors import InputError, unknown_name

SCHEDULES = ("one_cycle", "step", "exponential")  # those that transformers' --lr_scheduler_type lacks
BALANCES = ("none", "sqrt", "full")
LAYERWISE_OPTIMIZERS = ("galore", "apollo", "lomo", "adalomo")  # values of --optim that divide a model's layers


@dataclass
class OptimizingConfig:
    """How weights are found, beside transformers' own arguments."""

    _argument_group_name = "optimization"

    layer_decay: float = setting(
        1.0, "Each layer learns at this share of the rate of the layer above it, the head at the whole rate; 1 is off."
    )
    head_learning_rate: float | None = setting(
        None, "Learning rate of the head; --learning_rate is then that of all other layers."
    )
    unfreeze_epochs: float = setting(
        0.0, "Train the head alone at first, and one more layer from the top after every so many epochs; 0 is off."
    )
    lr_schedule: str | None = setting(
        None,
        "One more schedule, in place of --lr_scheduler_type: one_cycle (up by a cosine in --warmup_steps, then down), "
        "step or exponential.",
    )
    lr_decay_factor: float = setting(
        0.1,
        "Of lr_schedule=step and exponential: what the rate is multiplied by per --lr_decay_epochs, at their end "
        "(step) or little by little (exponential).",
    )
    lr_decay_epochs: float = setting(10.0, "Of lr_schedule=step and exponential: see --lr_decay_factor.")
    ema_decay: float = setting(
        0.0,
        "Score, keep and publish an exponential moving average of the weights: what is kept of it at each step, e.g. "
        "0.999 (less in the first steps); 0 is off.",
    )
    swa_epochs: int = setting(
        0, "Score, keep and publish the mean of the weights after each of the last so many epochs (SWA); 0 is off."
    )
    balanced_sampling: str = setting(
        "none",
        "Draw windows of rare classes more often: full (all classes alike), sqrt (halfway, by the square root of their "
        "numbers) or none. A window with several labels counts by its rarest.",
    )

    def __post_init__(self) -> None:
        if self.lr_schedule is not None and self.lr_schedule not in SCHEDULES:
            raise unknown_name("lr_schedule", self.lr_schedule, SCHEDULES)
        if self.balanced_sampling not in BALANCES:
            raise unknown_name("balanced_sampling", self.balanced_sampling, BALANCES)
        require_within(self, ("layer_decay", "lr_decay_factor"), 1e-6, 1)
        require_within(self, ("lr_decay_epochs",), 1e-6)
        require_within(self, ("head_learning_rate", "unfreeze_epochs", "swa_epochs"), 0)
        require_within(self, ("ema_decay",), 0, 0.999999)
        if self.swa_epochs == 1:
            raise InputError("--swa_epochs 1 would average one set of weights: give 2 or more, or leave it out")
        if self.swa_epochs and self.ema_decay:
            raise InputError("--swa_epochs and --ema_decay are two ways to average weights: leave one of the two out")

    @property
    def sets_rates(self) -> bool:
        """Whether layers learn at rates of their own."""
        return self.layer_decay != 1 or self.head_learning_rate is not None

    @property
    def averages(self) -> bool:
        """Whether averaged weights are what is scored and published."""
        return bool(self.ema_decay or self.swa_epochs)
