"""Averages of the weights over training, which are evaluated, saved as best and published.

    EMA   after each optimizer step       average = decay * average + (1 - decay) * weights
    SWA   after each of the last epochs   the mean of the weights (Izmailov et al. 2018, arXiv 1803.05407)

A moving average starts at the initial weights, which a large decay would retain for thousands of steps. So the decay at
step n is at most (1 + n) / (10 + n), as in TensorFlow. Each checkpoint has both the current weights and the average, so
that a run resumes with both.
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

IN_TRAINING = "weights_in_training.safetensors"  # in checkpoints whose model is an average
STATISTICS = ("running_mean", "running_var")


class AveragedWeights:
    """Keeps an average of a model's weights, which doubles the memory for trained weights.

    It covers all trained parameters and batch norm statistics.

    Args:
        model: the unwrapped model.
        names: names of its trained parameters.
        optimizing: says which average to keep.
        num_steps, steps_per_epoch: optimizer steps in total and per epoch.
        renew_statistics: recomputes the batch norm statistics for the model's current weights, in place. A mean of
            weights needs new statistics; a moving average also averages the statistics.
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
        self.average: dict[str, Tensor] | None = None  # for SWA, None until its first epoch is over
        self.renew_statistics = renew_statistics if optimizing.swa_epochs and _statistics(model) else None
        self.is_renewed = True

    @torch.no_grad()
    def start(self, checkpoint: Path | None) -> None:
        """Starts with the model's weights; after loading a checkpoint with both, these are the average."""
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
        """Updates the average after an optimizer step, counted from 1."""
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
        """Swaps the average into the model; the current weights are stored meanwhile."""
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
        """Writes the current weights next to a saved average; call it within `in_use`."""
        if self.average is not None:
            write_atomically(checkpoint / IN_TRAINING, save({name: one.cpu() for name, one in self.average.items()}))

    def keep(self) -> None:
        """Puts the average into the model permanently."""
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
    """The step after which a mean of the last epochs exists: the end of the first of these epochs."""
    num_epochs = math.ceil(num_steps / steps_per_epoch)
    return min((num_epochs - swa_epochs + 1) * steps_per_epoch, num_steps)


def check_averages(
    optimizing: OptimizingConfig, num_steps: int, steps_per_epoch: int, *, is_sharded: bool, may_stop_early: bool
) -> None:
    """Checks that the averages can be computed.

    Args:
        is_sharded: whether FSDP or DeepSpeed shards the weights.
        may_stop_early: whether early stopping may end training before its last epochs.

    Raises:
        InputError: the weights are sharded, or training does not or may not reach the last epochs.
    """
    if optimizing.swa_epochs and may_stop_early:
        raise InputError(
            "--swa_epochs averages the last epochs, but --early_stopping_patience may end training before them: use "
            "only one of the two"
        )
    if is_sharded and optimizing.averages:
        raise InputError(
            "--ema_decay and --swa_epochs need all weights in each process, but FSDP and DeepSpeed shard them: use "
            "recipes/accelerate/multi_gpu.yaml, or leave them out"
        )
    num_epochs = num_steps / steps_per_epoch
    if optimizing.swa_epochs > math.ceil(num_epochs):
        raise InputError(
            f"--swa_epochs {optimizing.swa_epochs} averages more epochs than the {num_epochs:g} of this run: use fewer"
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
    """Sets a model's batch norm statistics to the plain mean over batches, as torch's `update_bn` does.

    Only the norms are in training mode, so nothing else is random or learned. Our synchronized batch norms need a
    numeric `momentum`, so it is set to 1 / (number of the batch).

    Args:
        forward_passes: one function per batch, which runs the model on it.
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
