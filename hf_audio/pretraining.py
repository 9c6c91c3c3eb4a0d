"""Pretraining without labels: AudioTrainer with the objectives of models/spectrogram_pretraining.py."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import EvalPrediction, TrainingArguments

from hf_audio.data.loading.features_dataset import FeatureCollator, FeatureDataset, clip_key
from hf_audio.errors import InputError
from hf_audio.kinds import Form
from hf_audio.models.saving import save_model
from hf_audio.models.spectrogram_pretraining import PretrainingModel, PretrainingOutput, stock_classifier
from hf_audio.training import AudioTrainer


class PretrainingCollator(FeatureCollator):
    """Rows of a feature dataset → a normalised batch, with what the objectives need to know of each window."""

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A FeatureCollator's batch, and num_frames int64 `[batch]` (how many are no padding), window_keys."""
        batch = super().__call__(rows)
        longest = batch["input_values"].shape[1]
        batch["num_frames"] = torch.tensor([min(row["num_frames"], longest) for row in rows])
        # Numbers, no tensor: they seed generators on the CPU, and are not to be fetched back from the device.
        batch["window_keys"] = [clip_key(f"{row['clip_id']} {row['start_s']}") for row in rows]
        return batch


class PretrainingTrainer(AudioTrainer):
    """Pretrains a spectrogram transformer on the windows of a feature dataset; their labels are not looked at.

    What is drawn for a window hangs on the seed, the step and the window itself. So every process draws its own
    numbers, several processes draw those of one with the same global batch, and a resumed run those of an undisturbed
    one. In evaluation the step is left out: every evaluation asks the same of a window.

    Evaluation reports `eval_loss`, the mean over windows, and where patches were shuffled how well they are told:
    `eval_accuracy` (which is 1 - the share of moved patches for a model that knows nothing), `eval_balanced_accuracy`
    and `eval_roc_auc`. The best epoch is the one with the lowest loss.

    After training the run folder is a checkpoint for fine-tuning, by `build_model(RUN_FOLDER, ...)` or with
    transformers alone: a stock ASTForAudioClassification without a head, and the extractor.

    Args:
        model: from `pretraining_model`.
        args: transformers' own; `output_dir` is the run folder.
        features: the splits "train" (local or streamed) and "validation" (local) are used.
        early_stopping_patience, overwrite_run, callbacks: see AudioTrainer.

    Raises:
        InputError: features that are no spectrograms, or of another size than the model's.
    """

    def __init__(
        self,
        model: PretrainingModel,
        args: TrainingArguments,
        *,
        features: FeatureDataset,
        early_stopping_patience: int = 0,
        overwrite_run: bool = False,
        callbacks: list | None = None,
    ) -> None:
        _check_features(model, features)
        self.num_patches = model.num_patches
        super().__init__(
            model,
            _judged_by_loss(args, features),
            features=features,
            early_stopping_patience=early_stopping_patience,
            overwrite_run=overwrite_run,
            callbacks=callbacks,
        )
        self.data_collator = PretrainingCollator(features.extractor, features.labels)
        self.compute_metrics = pretraining_metrics

    def predictor(self):
        raise InputError(
            "A pretrained model has no classes to score clips by: fine-tune it first, with --model RUN_FOLDER"
        )

    # What follows is called by Trainer and AudioTrainer.

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = self._ask(model, inputs, self.args.seed, self.state.global_step)
        loss = self._share_of_step(outputs.losses.mean(), len(outputs.losses))
        return (loss, outputs) if return_outputs else loss

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Losses, and where there are any logits and targets; Trainer computes metrics only where it is given both."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            outputs = self._ask(model, inputs, self.args.seed)
        if outputs.logits is None:
            return None, outputs.losses, outputs.losses
        return None, (outputs.losses, outputs.logits), outputs.targets

    def _ask(self, model, inputs: dict[str, Any], *place: int) -> PretrainingOutput:
        features = inputs["input_values"]
        noise = window_noise(inputs["window_keys"], self.num_patches, *place).to(features.device)
        return model(input_values=features, num_frames=inputs["num_frames"], noise=noise)

    def _write_model(self, folder, model, state) -> None:
        stock, encoder_state = stock_classifier(model, state)
        save_model(stock, folder, encoder_state)


def window_noise(window_keys: Sequence[int], num_patches: int, *place: int) -> Tensor:
    """Uniform float32 numbers `[windows, patches]` on the CPU: each window's from its key and a `place` in the run."""
    return torch.from_numpy(
        np.stack([np.random.default_rng((*place, key)).random(num_patches, np.float32) for key in window_keys])
    )


def pretraining_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Mean loss over windows, and of the shuffled objective how well moved patches are told from the others."""
    from sklearn.metrics import roc_auc_score

    if not isinstance(prediction.predictions, tuple):
        return {"loss": float(prediction.predictions.mean())}
    losses, logits = prediction.predictions
    scored = prediction.label_ids >= 0
    moved, logits = prediction.label_ids[scored] == 1, logits[scored]
    metrics = {"loss": float(losses.mean()), "accuracy": float(((logits > 0) == moved).mean())}
    if moved.any() and not moved.all():
        found, kept = (logits[moved] > 0).mean(), (logits[~moved] <= 0).mean()
        metrics |= {"balanced_accuracy": float(found + kept) / 2, "roc_auc": float(roc_auc_score(moved, logits))}
    return metrics


def _judged_by_loss(args: TrainingArguments, features: FeatureDataset) -> TrainingArguments:
    """A copy of the arguments by which the best epoch is the one with the lowest loss on validation."""
    args = copy.copy(args)
    evaluates = "validation" in features.splits and args.eval_strategy != "no"
    if evaluates and args.eval_strategy == args.save_strategy and args.metric_for_best_model is None:
        args.load_best_model_at_end, args.metric_for_best_model, args.greater_is_better = True, "loss", False
    return args


def _check_features(model: PretrainingModel, features: FeatureDataset) -> None:
    if features.kind.form is not Form.PICTURE:
        raise InputError(
            f"Pretraining is for log-mel features, found {features.kind.name}: build them with --features fbank"
        )
    found = (features.extractor.max_length, features.extractor.num_mel_bins)
    wanted = (model.config.max_length, model.config.num_mel_bins)
    if found != wanted:
        raise InputError(
            f"The model takes windows of {wanted[0]} frames and {wanted[1]} bins and the features have {found[0]} and "
            f"{found[1]}: make the encoder by build_model for these features"
        )
