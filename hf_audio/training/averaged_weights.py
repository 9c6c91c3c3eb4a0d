"""Averages of the weights over training, which are what is scored, kept as best and published.

    EMA   after every optimizer step   average = decay * average + (1 - decay) * weights
    SWA   after each of the last epochs   the plain mean of those weights (Izmailov et al. 2018, arXiv 1803.05407)

A moving average begins with the weights that training starts from, which a large decay would remember for thousands of
steps: at step n at most (1 + n) / (10 + n) of it is kept, as in TensorFlow. The weights of training themselves lie
beside the average in each checkpoint, so that a run goes on with both.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hf_audio.config.optimizing import OptimizingConfig
from hf_audio.errors import InputError
from hf_audio.files import write_atomically

IN_TRAINING = "weights_in_training.safetensors"  # of a checkpoint whose model is an average
STATISTICS = ("running_mean", "running_var")


class AveragedWeights:
    """An average of a model's weights beside the weights themselves: twice the memory of what is trained.

    Averaged are all parameters that are trained and the statistics of batch norms.

    Args:
        model: the bare model.
        names: of its parameters that are trained.
        optimizing: which average.
        num_steps, steps_per_epoch: optimizer steps of the whole training and of an epoch.
        renew_statistics: measures the statistics of batch norms with the weights that the model has, in place. Means of
            weights have statistics of their own; a moving average has moved those along with its weights.
    """

    def __init__(
        self,
        model: nn.Module,
        names: set[str],
        optimizing: OptimizingConfig,
        num_steps: int,
        steps_per_epoch: int,
        renew_statistics: Callable[[], None],
    ) -> None:
        self.optimizing, self.num_steps, self.steps_per_epoch = optimizing, num_steps, steps_per_epoch
        self.live = {name: one.data for name, one in model.named_parameters() if name in names} | _statistics(model)
        self.first_step = first_averaged_step(optimizing.swa_epochs, num_steps, steps_per_epoch)
        self.average: dict[str, Tensor] | None = None  # of SWA not before its first epoch is over
        self.renew_statistics = renew_statistics if optimizing.swa_epochs and _statistics(model) else None
        self.is_renewed = True

    @torch.no_grad()
    def start(self, checkpoint: Path | None) -> None:
        """Begins with the weights that the model has; those of a checkpoint are an average if it says so."""
        beside = checkpoint and checkpoint / IN_TRAINING
        if beside and beside.is_file():
            self._copy_live()
            in_training = load_file(beside)
            for name, one in self.live.items():
                one.copy_(in_training[name])
        elif self.optimizing.ema_decay:
            self._copy_live()

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after an optimizer step, counted from 1."""
        if self.optimizing.ema_decay:
            self._move(1 - min(self.optimizing.ema_decay, (1 + step) / (10 + step)))
        elif step >= self.first_step and (step % self.steps_per_epoch == 0 or step == self.num_steps):
            number = math.ceil((step - self.first_step) / self.steps_per_epoch) + 1  # of epochs in the mean
            if self.average is None:
                self._copy_live()
            else:
                self._move(1 / number)
            self.is_renewed = False

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Lends the model its average; the weights of training are kept in its place meanwhile."""
        if self.average is None:
            yield
            return
        self._swap()
        try:
            if self.renew_statistics and not self.is_renewed:
                self.renew_statistics()
                self.is_renewed = True
            yield
        finally:
            self._swap()

    def save_other(self, checkpoint: Path) -> None:
        """Writes the weights of training beside a model that is the average; for use within `in_use`."""
        if self.average is not None:
            write_atomically(checkpoint / IN_TRAINING, save({name: one.cpu() for name, one in self.average.items()}))

    def keep(self) -> None:
        """Leaves the average in the model for good."""
        with self.in_use():
            self.average = None

    def _copy_live(self) -> None:
        self.average = {name: one.clone(memory_format=torch.contiguous_format) for name, one in self.live.items()}

    def _move(self, share: float) -> None:
        torch._foreach_lerp_(list(self.average.values()), list(self.live.values()), share)

    @torch.no_grad()
    def _swap(self) -> None:
        if self.average is None:
            return
        for name, one in self.live.items():
            kept = one.clone()
            one.copy_(self.average[name])
            self.average[name].copy_(kept)


def first_averaged_step(swa_epochs: int, num_steps: int, steps_per_epoch: int) -> int:
    """The step after which a mean of the last epochs is there first: the end of the first of them."""
    num_epochs = math.ceil(num_steps / steps_per_epoch)
    return min((num_epochs - swa_epochs + 1) * steps_per_epoch, num_steps)


def check_averages(
    optimizing: OptimizingConfig, num_steps: int, steps_per_epoch: int, *, is_sharded: bool, may_stop_early: bool
) -> None:
    """Refuses averages that cannot be.

    Args:
        is_sharded: whether FSDP or DeepSpeed divides weights among processes.
        may_stop_early: whether early stopping may end training before its last epochs.

    Raises:
        InputError: sharded weights, or last epochs that are not there, or may not be.
    """
    if optimizing.swa_epochs and may_stop_early:
        raise InputError(
            "--swa_epochs averages the last epochs, and --early_stopping_patience may end training before them: leave "
            "one of the two out"
        )
    if is_sharded and optimizing.averages:
        raise InputError(
            "--ema_decay and --swa_epochs need whole weights in each process, and FSDP and DeepSpeed divide them: use "
            "recipes/accelerate/multi_gpu.yaml, or leave them out"
        )
    num_epochs = num_steps / steps_per_epoch
    if optimizing.swa_epochs > math.ceil(num_epochs):
        raise InputError(
            f"--swa_epochs {optimizing.swa_epochs} averages more epochs than the {num_epochs:g} of this run: give fewer"
        )


def _statistics(model: nn.Module) -> dict[str, Tensor]:
    return {
        f"{name}.{one}": getattr(module, one)
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
        for one in STATISTICS
    }


@torch.no_grad()
def renew_statistics(model: nn.Module, forward_passes: Iterator[Callable[[], object]]) -> None:
    """Sets the statistics of a model's batch norms to the plain mean over batches, as torch's `update_bn` does.

    Only the norms are in training meanwhile: nothing else is drawn or learned. Our norms over several processes read
    `momentum` as a number, so it is 1 / (number of the batch) here.

    Args:
        forward_passes: of each batch what gives it to the model.
    """
    was_training = model.training
    norms = {norm: norm.momentum for norm in model.modules() if isinstance(norm, _BatchNorm) and norm.training}
    model.eval()
    try:
        for number, forward in enumerate(forward_passes, start=1):
            for norm in norms:
                norm.train()
                norm.momentum = 1 / number
            forward()
    finally:
        for norm, momentum in norms.items():
            norm.momentum = momentum
        model.train(was_training)
