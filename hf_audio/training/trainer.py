"""AudioTrainer: transformers' Trainer with the loss, augmentation, evaluation and resuming that audio needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from accelerate.data_loader import DataLoaderShard
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, EvalPrediction, PreTrainedModel, Trainer, TrainingArguments
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import TrainerState

from hf_audio.data.features_dataset import FeatureCollator, FeatureDataset
from hf_audio.data.streaming import StreamedWindows, max_workers
from hf_audio.errors import InputError, unknown_name
from hf_audio.losses import loss_for, smooth_targets
from hf_audio.metrics import ClipScores, average_per_clip, validation_metrics
from hf_audio.models.lora import is_lora, merged_model, save_adapter
from hf_audio.training.arguments import own_arguments, run_settings
from hf_audio.training.checkpoints import (
    RUN_FILE,
    STATE_FILE,
    CheckpointMarker,
    check_same_run,
    delete_incomplete,
    is_finished,
    newest_complete,
    require_writable,
    write_json,
)
from hf_audio.training.facts import run_facts
from hf_audio.training.synced_batch_norm import sync_batch_norms

METADATA_DROPOUT = 0.2  # how likely a window's metadata is hidden in training, each field on its own

Augment = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


class AudioTrainer(Trainer):
    """Trains an audio classifier on a feature dataset and scores it by clips, not by windows.

    The loss is computed here from the logits, so any model with `forward(input_values)` fits. Evaluation reports
    `eval_loss` (mean over windows) and the clip metrics of `validation_metrics`; the best epoch is the one with the
    best mean average precision (multi-label) or accuracy, unless `metric_for_best_model` names another.

        args.output_dir/       the run folder: after training a model repository
          checkpoints/         where an interrupted run is taken up again
          tensorboard/

    Args:
        model: stock or LoRA model, see `build_model`.
        args: transformers' own; `output_dir` is the run folder.
        features: the splits "train" (local or streamed) and "validation" (local) are used here.
        augment: (features, targets, generator) -> (features, targets), for training batches only.
        class_weights: float `[classes]`, see `class_weights_from_counts`.
        early_stopping_patience: evaluations without a better score before training stops; 0 never stops.
        overwrite_run: start anew where another run, or a part of this one, lies in the run folder.
        callbacks: further ones.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        *,
        features: FeatureDataset,
        augment: Augment | None = None,
        class_weights: np.ndarray | None = None,
        early_stopping_patience: int = 0,
        overwrite_run: bool = False,
        callbacks: list | None = None,
    ) -> None:
        self.features, self.augment, self.overwrite_run = features, augment, overwrite_run
        self.run_folder = require_writable(Path(args.output_dir))
        self.label_smoothing = args.label_smoothing_factor
        self.loss = loss_for(features.labels, class_weights)
        args = own_arguments(args, features, early_stopping_patience)
        self.settings = run_settings(args, model, features, augment, class_weights, early_stopping_patience)
        stopping = [EarlyStoppingCallback(early_stopping_patience)] if early_stopping_patience else []
        if args.world_size > 1:
            sync_batch_norms(model)
        fields = getattr(model.config, "metadata", None)
        super().__init__(
            model=model,
            args=args,
            data_collator=FeatureCollator(
                features.extractor, features.labels, fields, features.metadata if fields else None, features.unknown
            ),
            train_dataset=_train_dataset(features, args),
            eval_dataset=features.splits.get("validation"),
            processing_class=features.extractor,  # each checkpoint carries it
            compute_metrics=self._clip_metrics,
            callbacks=[*(callbacks or []), *stopping, CheckpointMarker()],
        )
        # Our loss is the mean of a micro-batch. Trainer takes a model with **kwargs in its forward for one that divides
        # by the number of items in the whole step itself; it would then not divide by the accumulation steps.
        self.model_accepts_loss_kwargs = False
        self._micro_batch, self._micro_batch_sizes = 0, []
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
                callback.logging_dir = str(self.run_folder / "tensorboard")
        if self.is_fsdp_enabled and is_lora(model):
            raise InputError(
                "LoRA under FSDP is not supported: adapters are small, use recipes/accelerate/multi_gpu.yaml"
            )

    def train_resumable(self) -> TrainerState:
        """Trains from the newest complete checkpoint of the same run, or from the start, and saves the best model.

        A run that was killed at any moment ends with the same weights and metrics as an undisturbed one.

        Raises:
            InputError: a run with other settings lies in the run folder.
        """
        folder = Path(self.args.output_dir)
        if not self.overwrite_run:
            check_same_run(folder, self.settings)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            if self.overwrite_run:
                shutil.rmtree(folder, ignore_errors=True)
                shutil.rmtree(self.run_folder / "tensorboard", ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            delete_incomplete(folder)
            write_json(folder / RUN_FILE, self.settings)
        self.accelerator.wait_for_everyone()
        checkpoint = newest_complete(folder)
        if checkpoint is not None and is_finished(checkpoint):
            self._restore_finished(checkpoint)
        else:
            self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        self.save_run_model()
        return self.state

    def predict_clips(self, split: str) -> ClipScores:
        """Scores of every clip of a split, in the split's order, the same in every process."""
        if split not in self.features.splits or isinstance(self.features.splits[split], datasets.IterableDataset):
            local = [name for name, data in self.features.splits.items() if isinstance(data, datasets.Dataset)]
            raise unknown_name("local split", split, local)
        loader = self.get_test_dataloader(self.features.splits[split])
        output = self.evaluation_loop(loader, "Prediction", prediction_loss_only=False, metric_key_prefix=split)
        self.callback_handler.on_predict(self.args, self.state, self.control, output.metrics)  # closes the progress bar
        targets, clip_keys = output.label_ids
        return average_per_clip(output.predictions, targets, clip_keys)

    def facts(self) -> dict[str, Any]:
        """What a report says of the model and its training."""
        return run_facts(self)

    def save_run_model(self) -> None:
        """Makes the run folder a model repository: weights, config, extractor; with LoRA the merged model and adapter/.

        Files are written beside the old ones and renamed, so that a reader never meets half a model.
        """
        state = self.accelerator.get_state_dict(self.model) if self.is_fsdp_enabled else None
        if self.args.should_save:
            model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
            shutil.rmtree(self.run_folder / "adapter", ignore_errors=True)
            temporary = self.run_folder / ".model.tmp"
            shutil.rmtree(temporary, ignore_errors=True)
            self._write_model(temporary, model, state)
            self.features.extractor.save_pretrained(temporary)
            for path in temporary.iterdir():
                os.replace(path, self.run_folder / path.name)
            temporary.rmdir()
        self.accelerator.wait_for_everyone()

    def _write_model(self, folder: Path, model: PreTrainedModel, state: dict[str, Tensor] | None) -> None:
        """The files of the trained model; `state` holds its weights where the model's own are sharded."""
        if is_lora(model):
            save_adapter(model, folder / "adapter")
            model = merged_model(model)
        model.save_pretrained(folder, state_dict=state)

    def train(self, *args, **kwargs):
        """Trainer.train, also right after an evaluation.

        Evaluating first marks the model as prepared, and accelerate would then not wrap it for several processes:
        each would train alone.
        """
        if self.model_wrapped is self.model and getattr(self.model, "_is_accelerate_prepared", False):
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)  # takes mixed precision off again
            del self.model._is_accelerate_prepared
        return super().train(*args, **kwargs)

    # What follows is called by Trainer.

    def get_train_dataloader(self) -> DataLoader:
        windows = self.train_dataset
        if not isinstance(windows, StreamedWindows):
            return super().get_train_dataloader()
        # Not through accelerator.prepare, which would make every process read everything and keep its part.
        return DataLoaderShard(
            windows,
            device=self.args.device,
            batch_size=windows.batch_size,
            collate_fn=self.data_collator,
            num_workers=windows.num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers and windows.num_workers > 0,
            prefetch_factor=self.args.dataloader_prefetch_factor if windows.num_workers else None,
        )

    def get_eval_dataloader(self, eval_dataset=None) -> DataLoader:
        # With persistent workers Trainer would answer every data set with the loader of the first one.
        given = eval_dataset is not None and not isinstance(eval_dataset, str)
        return self.get_test_dataloader(eval_dataset) if given else super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset) -> DataLoader:
        # It is read once: workers that outlive it would only be in the way.
        persistent, self.args.dataloader_persistent_workers = self.args.dataloader_persistent_workers, False
        try:
            return super().get_test_dataloader(test_dataset)
        finally:
            self.args.dataloader_persistent_workers = persistent

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._micro_batch, self._micro_batch_sizes = 0, [len(batch["labels"]) for batch in batches]
        return batches, num_items

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The training loss of one micro-batch."""
        inputs, targets, generator = dict(inputs), inputs["labels"], self._generator()
        if model.training:
            if self.augment is not None:
                inputs["input_values"], targets = self.augment(inputs["input_values"], targets, generator)
            if "metadata" in inputs:
                inputs["metadata"] = _sometimes_unknown(inputs["metadata"], generator)
        if self.label_smoothing:
            targets = smooth_targets(targets, self.label_smoothing, self.features.labels)
        # Only ArcFace looks at labels, for its margin, of which unknown classes get none; the loss is computed here in
        # any case.
        margins = {"labels": targets.nan_to_num(0.0)} if getattr(self.model.config, "head", None) == "arcface" else {}
        outputs = model(**_model_inputs(inputs), **margins)
        loss = self._share_of_step(self.loss(outputs.logits, targets), len(targets))
        return (loss, outputs) if return_outputs else loss

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Logits, targets and clip keys; the loss comes with the metrics, over all windows of all processes at once."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            logits = model(**_model_inputs(inputs)).logits
        return None, logits.float(), (inputs["labels"], inputs["clip_keys"])

    def _share_of_step(self, loss: Tensor, num_windows: int) -> Tensor:
        """A micro-batch's mean loss, weighted so that a step's loss is the mean over all its windows.

        Trainer averages a step's micro-batches; only the last one of an epoch may be smaller than the others.
        """
        sizes = self._micro_batch_sizes or [num_windows]
        self._micro_batch += 1
        return loss * (num_windows * len(sizes) / sum(sizes))

    def _generator(self) -> torch.Generator:
        """Random numbers for one micro-batch of one process, the same when a resumed run comes by again."""
        place = (self.args.seed, self.state.global_step, self._micro_batch, self.args.process_index)
        seed = int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])
        return torch.Generator().manual_seed(seed & (2**63 - 1))

    def _clip_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        targets, clip_keys = prediction.label_ids
        clips = average_per_clip(prediction.predictions, targets, clip_keys)
        loss = self.loss(torch.from_numpy(prediction.predictions), torch.from_numpy(targets))
        labels = self.features.labels
        return {"loss": loss.item(), **validation_metrics(labels.probabilities(clips.logits), clips.targets, labels)}

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        """Weights of a checkpoint, every one of them.

        Trainer compares the file's names with the model's and only warns of those it does not know. Since transformers
        5 files keep AST's first names (`encoder.layer.0.attention.attention.query`) and the class has new ones
        (`layers.0.attention.q_proj`), so it would load no layer at all; `from_pretrained` translates.
        """
        target = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        if self.is_fsdp_enabled or self.is_deepspeed_enabled or is_lora(target):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            saved = type(target).from_pretrained(resume_from_checkpoint, dtype=target.dtype)
            target.load_state_dict(saved.state_dict())

    def _load_best_model(self):
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        else:
            self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _restore_finished(self, checkpoint: Path) -> None:
        """Takes up a run that has nothing left to train: its history and its best (else its last) weights."""
        self.state = TrainerState.load_from_json(str(checkpoint / STATE_FILE))
        self.state.is_world_process_zero = self.is_world_process_zero()
        self.state.is_local_process_zero = self.is_local_process_zero()
        best = checkpoint.parent / f"checkpoint-{self.state.best_global_step}"
        use_best = self.args.load_best_model_at_end and best.is_dir()
        self.state.best_model_checkpoint = str(best if use_best else checkpoint)
        if self.is_fsdp_enabled:
            self.model = self.model_wrapped = self.accelerator.prepare(self.model)
        self._load_best_model()


def _model_inputs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What of a batch is the model's: input_values or input_features, attention_mask, metadata."""
    return {name: value for name, value in batch.items() if name not in ("labels", "clip_keys")}


def _sometimes_unknown(metadata: Tensor, generator: torch.Generator) -> Tensor:
    """Metadata of which some is forgotten, so that the model learns what to do where a user has none."""
    forgotten = torch.rand(metadata.shape, generator=generator) < METADATA_DROPOUT
    return metadata.masked_fill(forgotten.to(metadata.device), 0)


def _train_dataset(features: FeatureDataset, args: TrainingArguments) -> datasets.Dataset | StreamedWindows:
    train = features.splits["train"]
    if not isinstance(train, datasets.IterableDataset):
        return train
    return StreamedWindows(
        train,
        features.num_windows("train"),
        args.train_batch_size,
        rank=args.process_index,
        world_size=args.world_size,
        num_workers=min(args.dataloader_num_workers, max_workers(train, args.world_size)),
        seed=args.data_seed,
    )
