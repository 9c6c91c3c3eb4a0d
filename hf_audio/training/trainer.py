"""AudioTrainer: transformers' Trainer for audio windows and any objective, with runs that can be killed and resumed.

From stored rows to the gradient, in the order of this file:

    get_train_dataloader   rows of an epoch, in micro-batches of the same size       epoch_batches.py
                             → collator, in a worker → copied to the device           the objective's
    get_batch_samples      the micro-batches of one optimizer step
    compute_loss             → augmentation → model → loss of each window             the objective's
                             → their share of the step's mean, over all processes

Base classes: resumable_trainer.py for resuming runs, optimized_trainer.py for optimization.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import DataLoaderShard
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, PreTrainedModel, TrainingArguments

from hf_audio.config.optimizing import OptimizingConfig
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.loading.streaming import StreamedBatches, StreamedWindows
from hf_audio.errors import InputError
from hf_audio.models.usage import Usage
from hf_audio.predictor import Predictor
from hf_audio.training.arguments import own_arguments
from hf_audio.training.balanced_order import window_shares
from hf_audio.training.checkpoints import CheckpointMarker, require_writable
from hf_audio.training.epoch_batches import EpochBatches, layout_of, train_windows
from hf_audio.training.layer_plan import plan_layers
from hf_audio.training.objective import Objective, Places
from hf_audio.training.own_parameters import optimize_own, require_unsharded
from hf_audio.training.precision import scores_in_bfloat16, without_autocast
from hf_audio.training.resumable_trainer import ResumableTrainer
from hf_audio.training.run_settings import optimizing_settings, run_facts, run_settings
from hf_audio.training.sharding import load_whole, name_blocks
from hf_audio.training.synced_batch_norm import sync_batch_norms
from hf_audio.training.trackers import prepare_trackers, told_in_public


class AudioTrainer(ResumableTrainer):
    """Trains a model with an objective, saves and resumes the run, and leaves the best model in the run folder.

    The best checkpoint is chosen by the objective's `main_metric`, or by `metric_for_best_model` if given.

    Args:
        model: stock, ours or LoRA, see `build_model`; for pretraining, from `pretraining_model`.
        args: transformers' TrainingArguments; `output_dir` is the run folder.
        objective: the training task: Classification or Pretraining.
        optimizing: layer-wise learning rates, schedules, averaged weights, balanced sampling; by default none of these.
        early_stopping_patience: evaluations without a better score before training stops; 0: never.
        overwrite_run: delete an earlier run in the run folder and start from the beginning.
        callbacks: additional callbacks.

    Raises:
        InputError: arguments do not match each other, the model or the features; or the folder is not writable.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        objective: Objective,
        *,
        optimizing: OptimizingConfig | None = None,
        early_stopping_patience: int = 0,
        overwrite_run: bool = False,
        callbacks: list | None = None,
    ) -> None:
        self.objective, self.overwrite_run = objective, overwrite_run
        self.optimizing = optimizing or OptimizingConfig()
        objective.attach(model)
        self.run_folder = require_writable(Path(args.output_dir))
        args = own_arguments(args, model, objective, early_stopping_patience, self.optimizing.unfreeze_epochs > 0)
        windows = train_windows(objective.features, args)
        self.shares = window_shares(objective, self.optimizing.balanced_sampling)
        self.plan = plan_layers(model, args.learning_rate, self.optimizing)
        self.settings = run_settings(args, model, objective, early_stopping_patience)
        self.settings |= optimizing_settings(self.optimizing, self.plan, objective.features, self.shares)
        self.layout = layout_of(windows, args)
        self.division = windows.order.division if isinstance(windows, StreamedWindows) else None
        if args.world_size > 1:
            sync_batch_norms(model)
        stopping = [EarlyStoppingCallback(early_stopping_patience)] if early_stopping_patience else []
        super().__init__(
            model=model,
            args=args,
            data_collator=objective.collator,
            train_dataset=windows,
            eval_dataset=objective.features.splits.get("validation"),
            processing_class=objective.features.extractor,  # saved with each checkpoint
            compute_metrics=lambda gathered: objective.metrics(gathered.predictions, gathered.label_ids),
            callbacks=[*(callbacks or []), *stopping, CheckpointMarker(self.division)],
        )
        # Our loss is a micro-batch's share of its step's mean. Trainer assumes that a model with **kwargs in its
        # forward divides by the number of items in the step itself, and would then not divide by accumulation.
        self.model_accepts_loss_kwargs = False
        self._micro_batch = 0
        told_in_public(self.args, model)
        prepare_trackers(self.callback_handler.callbacks, self.run_folder)
        require_unsharded(objective.own is not None, self.is_fsdp_enabled or self.is_deepspeed_enabled)
        if self.is_fsdp_enabled:
            name_blocks(self.accelerator.state.fsdp_plugin, model)
        if self.is_deepspeed_enabled:
            load_whole()
        self.add_optimizing()

    @property
    def features(self) -> FeatureDataset:
        """The data to train and evaluate on."""
        return self.objective.features

    # From rows to the gradient; these are called by Trainer.

    def get_train_dataloader(self) -> DataLoader:
        """Does not use accelerator.prepare, whose order of windows depends on the number of processes."""
        windows, args = self.train_dataset, self.args
        if isinstance(windows, StreamedWindows):
            workers, batches = windows.num_workers, StreamedBatches(windows)
        else:
            seed = args.data_seed if args.train_sampling_strategy == "random" else None
            workers, batches = args.dataloader_num_workers, EpochBatches(self.layout, seed, self.shares)
        return DataLoaderShard(
            windows,
            device=args.device,
            _non_blocking=args.accelerator_config.non_blocking,
            batch_sampler=batches,
            # Starting workers draws a seed, and a resumed run starts them once more, so the seed must not come from
            # the process's own generator, which dropout uses.
            generator=torch.Generator().manual_seed(args.data_seed),
            collate_fn=self.data_collator,
            num_workers=workers,
            pin_memory=args.dataloader_pin_memory,
            persistent_workers=args.dataloader_persistent_workers and workers > 0,
            prefetch_factor=args.dataloader_prefetch_factor if workers else None,
            multiprocessing_context=args.dataloader_multiprocessing_context if workers else None,
            in_order=args.dataloader_in_order,
        )

    def floating_point_ops(self, inputs) -> int:
        """0: Trainer would estimate them from tokens. scripts/benchmark_training.py --share counts them."""
        return 0

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        self._micro_batch = 0
        if self.objective.own is not None:
            self.objective.own.zero_grad()  # Trainer resets only the model's gradients
        return super().get_batch_samples(epoch_iterator, num_batches, device)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """A micro-batch's part of its step's loss, which is the mean over the windows that count.

        Trainer divides by the number of micro-batches, and gradients are averaged over processes: both are undone here.
        """
        share = self.layout.share(self.state.global_step, self._micro_batch)
        self._micro_batch += 1
        losses = self.objective.losses(model, inputs, Places(self.args.seed, self.state.global_step, share.places))
        divided_by = self.current_gradient_accumulation_steps * self.args.world_size
        return losses[: share.num_counted].sum() * (divided_by / share.num_in_step)

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if is_new and self.objective.own is not None:
            optimize_own(self.objective.own, optimizer, self.args.device, self.args.world_size)
        return optimizer

    # Evaluation.

    def predictor(self) -> Predictor:
        """A predictor with the current model; if the model is sharded, with the saved one."""
        if not self.objective.has_classes:
            raise InputError(
                "A pretrained encoder has no classes to predict: fine-tune it first, with --model RUN_FOLDER"
            )
        args = self.args
        options = {"device": args.device, "bf16": scores_in_bfloat16(args), "batch_size": args.eval_batch_size}
        options["num_workers"] = args.dataloader_num_workers
        if self._is_divided:
            return Predictor.load(str(self.run_folder), **options)
        usage = Usage.of_features(self.features.manifest)
        return Predictor(self._scored(), self.features.extractor, usage=usage, **options)

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """The objective's outputs; the loss is one of the metrics, computed over all windows of all processes."""
        inputs = self._prepare_inputs(inputs)
        model = model if scores_in_bfloat16(self.args) else without_autocast(model)
        with torch.no_grad():
            return None, *self.objective.answers(model, inputs, Places(self.args.seed, None, ()))

    def _scored(self) -> PreTrainedModel:
        model = self.accelerator.unwrap_model(self.model)
        return model if scores_in_bfloat16(self.args) else without_autocast(model)

    def get_eval_dataloader(self, eval_dataset=None) -> DataLoader:
        # With persistent workers, Trainer would use the first dataset's loader for all datasets.
        if eval_dataset is not None and not isinstance(eval_dataset, str):
            return self.get_test_dataloader(eval_dataset)
        with self._with_arguments(dataloader_drop_last=False):
            return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset) -> DataLoader:
        # It is read once, so persistent workers would only waste memory.
        with self._with_arguments(dataloader_drop_last=False, dataloader_persistent_workers=False):
            return super().get_test_dataloader(test_dataset)

    @contextlib.contextmanager
    def _with_arguments(self, **values: Any) -> Iterator[None]:
        """Temporarily changes arguments: Trainer's evaluation loaders use those of training."""
        before = {name: getattr(self.args, name) for name in values}
        for name, value in values.items():
            setattr(self.args, name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self.args, name, value)

    def _determine_best_metric(self, metrics, trial):
        wanted = self.args.metric_for_best_model
        if wanted is not None and f"eval_{wanted.removeprefix('eval_')}" not in metrics:
            found = [name.removeprefix("eval_") for name in metrics]
            raise InputError(
                f"--metric_for_best_model {wanted} is undefined on this validation split: use one of "
                f"{', '.join(name for name in self.objective.metric_names if name in found)}"
            )
        return super()._determine_best_metric(metrics, trial)

    def facts(self) -> dict[str, Any]:
        """The report's facts about the model and its training: "model", "training" and "log_history"."""
        return run_facts(self.settings, self.accelerator.unwrap_model(self.model), self.args, self.state)
