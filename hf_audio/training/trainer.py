"""AudioTrainer: transformers' Trainer with the loss, augmentation and evaluation that audio needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import datasets
import numpy as np
import torch
from accelerate.data_loader import DataLoaderShard
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, EvalPrediction, PreTrainedModel, TrainingArguments

from hf_audio.data.loading.features_dataset import FeatureCollator, FeatureDataset
from hf_audio.data.loading.streaming import StreamedWindows, max_workers
from hf_audio.errors import InputError, unknown_name
from hf_audio.losses import loss_for, smooth_targets
from hf_audio.metrics import ClipScores, average_per_clip, validation_metrics
from hf_audio.models.inputs import model_inputs
from hf_audio.models.lora import is_lora
from hf_audio.training.arguments import own_arguments, run_settings
from hf_audio.training.checkpoints import require_writable
from hf_audio.training.facts import run_facts
from hf_audio.training.resumable_trainer import ResumableTrainer
from hf_audio.training.synced_batch_norm import sync_batch_norms

METADATA_DROPOUT = 0.2  # how likely a window's metadata is hidden in training, each field on its own


class Augment(Protocol):
    """What varies training batches, see hf_audio.augment.Compose."""

    def draw(self, places: Sequence[tuple[int, ...]]) -> Any: ...

    def __call__(
        self, features: Tensor, targets: Tensor, num_frames: Tensor, draws: Any
    ) -> tuple[Tensor, Tensor, Tensor]: ...


class AudioTrainer(ResumableTrainer):
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
        augment: see hf_audio.augment.Compose; for training batches only.
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
        if args.gradient_checkpointing and not getattr(model, "supports_gradient_checkpointing", True):
            raise InputError(f"{type(model).__name__} cannot recompute its layers: leave out --gradient_checkpointing")
        self.features, self.augment = features, augment
        run_folder = require_writable(Path(args.output_dir))
        self.label_smoothing = args.label_smoothing_factor
        self.loss = loss_for(features.labels, class_weights)
        args = own_arguments(args, features, early_stopping_patience)
        settings = run_settings(args, model, features, augment, class_weights, early_stopping_patience)
        stopping = [EarlyStoppingCallback(early_stopping_patience)] if early_stopping_patience else []
        if args.world_size > 1:
            sync_batch_norms(model)
        fields = getattr(model.config, "metadata", None)
        super().__init__(
            model=model,
            args=args,
            data_collator=FeatureCollator(
                features.extractor, features.labels, fields, features.metadata if fields else None
            ),
            train_dataset=_train_dataset(features, args),
            eval_dataset=features.splits.get("validation"),
            processing_class=features.extractor,  # each checkpoint carries it
            compute_metrics=self._clip_metrics,
            callbacks=[*(callbacks or []), *stopping],
            run_folder=run_folder,
            settings=settings,
            overwrite_run=overwrite_run,
        )
        # Our loss is the mean of a micro-batch. Trainer takes a model with **kwargs in its forward for one that divides
        # by the number of items in the whole step itself; it would then not divide by the accumulation steps.
        self.model_accepts_loss_kwargs = False
        self._micro_batch, self._micro_batch_sizes = 0, []
        if self.is_fsdp_enabled and is_lora(model):
            raise InputError(
                "LoRA under FSDP is not supported: adapters are small, use recipes/accelerate/multi_gpu.yaml"
            )

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
        inputs, targets = dict(inputs), inputs["labels"]
        if model.training:
            places = self._places(len(targets))
            if self.augment is not None:
                windows = (inputs["input_values"], targets, inputs["num_frames"])
                inputs["input_values"], targets, inputs["num_frames"] = self.augment(
                    *windows, self.augment.draw(places)
                )
            if "metadata" in inputs:
                inputs["metadata"] = _sometimes_unknown(inputs["metadata"], places)
        if self.label_smoothing:
            targets = smooth_targets(targets, self.label_smoothing, self.features.labels)
        # Only ArcFace looks at labels, for its margin, of which unknown classes get none; the loss is computed here in
        # any case.
        margins = {"labels": targets.nan_to_num(0.0)} if getattr(self.model.config, "head", None) == "arcface" else {}
        outputs = model(**model_inputs(self.model, inputs), **margins)
        loss = self._share_of_step(self.loss(outputs.logits, targets), len(targets))
        return (loss, outputs) if return_outputs else loss

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Logits, targets and clip keys; the loss comes with the metrics, over all windows of all processes at once."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            logits = model(**model_inputs(self.model, inputs)).logits
        return None, logits.float(), (inputs["labels"], inputs["clip_keys"])

    def _share_of_step(self, loss: Tensor, num_windows: int) -> Tensor:
        """A micro-batch's mean loss, weighted so that a step's loss is the mean over all its windows.

        Trainer averages a step's micro-batches; only the last one of an epoch may be smaller than the others.
        """
        sizes = self._micro_batch_sizes or [num_windows]
        self._micro_batch += 1
        return loss * (num_windows * len(sizes) / sum(sizes))

    def _places(self, num_windows: int) -> list[tuple[int, ...]]:
        """Of each window of a micro-batch (seed, step, place in the global batch), by which its numbers are drawn.

        The first micro-batches of all processes are the first windows of the global batch, and so on. The same when a
        resumed run comes by again.
        """
        micro_batch = self._micro_batch * self.args.world_size + self.args.process_index
        first = micro_batch * self.args.train_batch_size
        return [(self.args.seed, self.state.global_step, first + window) for window in range(num_windows)]

    def _clip_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        targets, clip_keys = prediction.label_ids
        clips = average_per_clip(prediction.predictions, targets, clip_keys)
        loss = self.loss(torch.from_numpy(prediction.predictions), torch.from_numpy(targets))
        labels = self.features.labels
        return {"loss": loss.item(), **validation_metrics(labels.probabilities(clips.logits), clips.targets, labels)}


def _sometimes_unknown(metadata: Tensor, places: Sequence[tuple[int, ...]]) -> Tensor:
    """Metadata of which some is forgotten, so that the model learns what to do where a user has none."""
    # one number before the place: not the numbers that the same window is augmented by
    numbers = np.stack([np.random.default_rng((0, *place)).random(metadata.shape[1]) for place in places])
    return metadata.masked_fill(torch.from_numpy(numbers < METADATA_DROPOUT).to(metadata.device), 0)


def _train_dataset(features: FeatureDataset, args: TrainingArguments) -> datasets.Dataset | StreamedWindows:
    train = features.splits["train"]
    if not isinstance(train, datasets.IterableDataset):
        return train
    if args.dataloader_drop_last or args.train_sampling_strategy != "random":
        raise InputError(
            "A stream is read in batches of one size and in random order: give --streaming false, or leave out "
            "--dataloader_drop_last and --train_sampling_strategy"
        )
    return StreamedWindows(
        train,
        features.num_windows("train"),
        args.train_batch_size,
        rank=args.process_index,
        world_size=args.world_size,
        num_workers=min(args.dataloader_num_workers, max_workers(train, args.world_size)),
        seed=args.data_seed,
    )
