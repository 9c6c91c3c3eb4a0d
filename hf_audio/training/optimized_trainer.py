"""transformers' Trainer with the settings of `OptimizingConfig`: layer-wise rates, schedules, unfreezing, averages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from hf_audio.config.optimizing import OptimizingConfig
from hf_audio.errors import InputError
from hf_audio.terminal import show
from hf_audio.training.averaged_weights import AveragedWeights, check_averages, renew_statistics
from hf_audio.training.epoch_batches import BatchLayout
from hf_audio.training.layer_plan import PlannedLayer, plan_table, set_rates
from hf_audio.training.objective import Objective, Places
from hf_audio.training.schedules import require_decay, schedule_of
from hf_audio.training.unfreezing import GradualUnfreezing


class OptimizedTrainer(Trainer):
    """The part of AudioTrainer that optimizes weights.

    Attributes:
        objective: the training task.
        layout: how an epoch is divided into batches.
        optimizing: settings of optimization.
        settings: all settings that determine the run.
        plan: the layers from the head down, see `plan_layers`; empty if all are treated the same.
        trained_names: names of the parameters that are trained at any time.
        averages: the average of the weights, during training; None without averaging.
    """

    objective: Objective
    layout: BatchLayout
    optimizing: OptimizingConfig
    settings: dict[str, Any]
    plan: list[PlannedLayer]
    trained_names: set[str]
    averages: AveragedWeights | None = None

    def add_optimizing(self) -> None:
        """Called once, at the end of `__init__`: checks the settings and adds callbacks.

        Raises:
            InputError: weights are sharded over processes, so they cannot be averaged or unfrozen; or training ends
                before the learning rate's first step down.
        """
        is_sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        self.trained_names = {name for name, one in self.model.named_parameters() if one.requires_grad}
        check_averages(
            self.optimizing,
            self._num_steps(),
            self.layout.steps_per_epoch,
            is_sharded=is_sharded,
            may_stop_early=self.settings["early_stopping_patience"] > 0,
        )
        require_decay(self.optimizing, self._num_steps(), self.layout.steps_per_epoch)
        if self.optimizing.averages:
            self.add_callback(_Averaging(self))
        if self.optimizing.unfreeze_epochs:
            if is_sharded:
                raise InputError(
                    "--unfreeze_epochs does not work if FSDP or DeepSpeed shards the weights: leave it out"
                )
            self.add_callback(GradualUnfreezing(self.plan, self.layout.steps_per_epoch, self.model))
        if self.plan and self.is_world_process_zero():
            show(plan_table(self.plan, self._num_steps() / self.layout.steps_per_epoch))

    def _num_steps(self) -> int:
        args = self.args
        return args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * self.layout.steps_per_epoch)

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if is_new and self.plan and self.optimizing.sets_rates:
            set_rates(optimizer, self.plan)
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer=None):
        if self.optimizing.lr_schedule is None:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:  # type: ignore[has-type]  # of transformers' Trainer
            num_warmup_steps = self.args.get_warmup_steps(num_training_steps)
            steps = (num_warmup_steps, num_training_steps, self.layout.steps_per_epoch)
            self.lr_scheduler = schedule_of(optimizer or self.optimizer, self.optimizing, *steps)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    # The model has its averaged weights during evaluation and saving.

    def evaluation_loop(self, *args, **kwargs):
        if self.averages is None:
            return super().evaluation_loop(*args, **kwargs)
        with self.averages.in_use():
            return super().evaluation_loop(*args, **kwargs)

    def _save_checkpoint(self, model, trial) -> None:
        if self.averages is None:
            super()._save_checkpoint(model, trial)
            return
        with self.averages.in_use():
            super()._save_checkpoint(model, trial)
            if self.args.should_save:
                self.averages.save_other(self._checkpoint())

    def _checkpoint(self) -> Path:
        return Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"

    def start_averages(self) -> None:
        """Called when training starts: the model is on its device and, if resumed, has the checkpoint's weights."""
        bare = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        steps = (self.state.max_steps, self.layout.steps_per_epoch)
        averages = AveragedWeights(bare, self.trained_names, self.optimizing, *steps, self._renew_statistics)
        averages.start(self._checkpoint() if self.state.global_step else None)
        self.averages = averages

    def end_averages(self) -> None:
        """Called when training has ended: the model keeps the best checkpoint's weights, otherwise gets the average."""
        has_best = self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None
        averages, self.averages = self.averages, None
        if averages is not None and not has_best:
            averages.keep()

    def _renew_statistics(self) -> None:
        bare = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        with torch.no_grad(), self.compute_loss_context_manager():
            renew_statistics(bare, self._forward_passes(bare))

    def _forward_passes(self, model) -> Iterator[Callable[[], object]]:
        """A function per batch of an epoch that runs the model on it, without augmentation."""
        places = Places(self.args.seed, None, ())
        for batch in self.get_train_dataloader():
            inputs = self._prepare_inputs(batch)
            yield partial(self.objective.answers, model, inputs, places)


class _Averaging(TrainerCallback):
    """Starts, updates and ends a trainer's averages."""

    def __init__(self, trainer: OptimizedTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args, state, control, **kwargs):
        self.trainer.start_averages()

    def on_step_end(self, args, state, control, **kwargs):
        self.trainer.averages.update(state.global_step)

    def on_train_end(self, args, state, control, **kwargs):
        self.trainer.end_averages()
