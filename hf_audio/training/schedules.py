"""Learning rate schedules that transformers' --lr_scheduler_type lacks: one cycle, steps, exponential decay."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from hf_audio.config.optimizing import OptimizingConfig
from hf_audio.errors import InputError

# Smith and Topin 2018 (arXiv 1708.07120); values of torch.optim.lr_scheduler.OneCycleLR
START_SHARE = 1 / 25
END_SHARE = START_SHARE / 1e4


def schedule_of(
    optimizer: Optimizer, optimizing: OptimizingConfig, num_warmup_steps: int, num_steps: int, steps_per_epoch: int
) -> LambdaLR:
    """The schedule `optimizing.lr_schedule`; each group of the optimizer keeps its own peak rate.

    Args:
        num_warmup_steps: steps in which the rate rises: linearly from 0, as in transformers; for one_cycle, along a
            cosine from 1/25, as in torch. Epochs of the decay are counted from the start of training.
        num_steps: steps of the complete training.
    """
    if optimizing.lr_schedule == "one_cycle":
        return LambdaLR(optimizer, _one_cycle(num_warmup_steps, num_steps))
    is_step = optimizing.lr_schedule == "step"
    steps = optimizing.lr_decay_epochs * steps_per_epoch
    return LambdaLR(optimizer, _decay(optimizing.lr_decay_factor, steps, is_step, num_warmup_steps))


def require_decay(optimizing: OptimizingConfig, num_steps: int, steps_per_epoch: int) -> None:
    """Raises InputError if training ends before the first step of a step decay."""
    if optimizing.lr_schedule == "step" and optimizing.lr_decay_epochs * steps_per_epoch >= num_steps:
        raise InputError(
            f"--lr_schedule step would not lower the rate: training ends after {num_steps / steps_per_epoch:.3g} "
            f"epochs, but --lr_decay_epochs is {optimizing.lr_decay_epochs:g}: use fewer"
        )


def _one_cycle(num_warmup_steps: int, num_steps: int) -> Callable[[int], float]:
    """The factors of torch's OneCycleLR, without its cycle of momentum."""
    highest, last = num_warmup_steps - 1, num_steps - 1

    def share(step: int) -> float:
        if step <= highest:
            return _cosine(START_SHARE, 1.0, step / highest if highest else 1.0)
        return _cosine(1.0, END_SHARE, min(1.0, (step - highest) / max(1, last - highest)))

    return share


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * progress))


def _decay(factor: float, steps: float, is_step: bool, num_warmup_steps: int) -> Callable[[int], float]:
    def share(step: int) -> float:
        times = math.floor(step / steps + 1e-9) if is_step else step / steps
        return min(1.0, step / max(1, num_warmup_steps)) * factor**times if num_warmup_steps else factor**times

    return share
