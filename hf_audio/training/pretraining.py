"""Pretraining without labels: the models of models/spectrogram_pretraining.py as an objective.

rows of the feature dataset → collator: input_values, num_frames, window_keys
  → noise          uniform numbers for each patch of each window, seeded by the window
  → model          hides or moves patches, and predicts them
  → window losses  the model's own
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from hf_audio.data.loading.feature_collator import FeatureCollator, clip_key
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.kinds import Form
from hf_audio.models.spectrogram_pretraining import PretrainingModel, PretrainingOutput, stock_classifier
from hf_audio.training.objective import Batch, Objective, Places


class PretrainingCollator(FeatureCollator):
    """Rows of a feature dataset → a normalized batch, with a key per window."""

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A FeatureCollator's batch, and window_keys."""
        batch = super().__call__(rows)
        # A list, not a tensor: the keys seed generators on the CPU, so they need not be copied back from the device.
        batch["window_keys"] = [clip_key(f"{row['clip_id']} {row['start_s']}") for row in rows]
        return batch


class Pretraining(Objective):
    """Pretrains a spectrogram transformer on windows without labels; the model defines the task.

    Random numbers of a window depend on the seed, the step and the window itself. So they are the same for any number
    of processes with the same global batch, and in a resumed run. Evaluation does not use the step, so all evaluations
    draw the same numbers.

    Evaluation gives the mean loss over windows, by which the best checkpoint is chosen. For shuffled patches, it also
    gives how well they are detected: `accuracy` (1 - the share of moved patches for a model that has learned nothing),
    `balanced_accuracy` and `roc_auc`.

    After training, the run folder is a checkpoint for fine-tuning, with `build_model(RUN_FOLDER, ...)` or with
    transformers alone: a stock ASTForAudioClassification without a head, and the extractor.

    Args:
        features: the data to train on.
    """

    main_metric = ("loss", False)
    metric_names = ("loss", "accuracy", "balanced_accuracy", "roc_auc")
    has_classes = False

    def __init__(self, features: FeatureDataset) -> None:
        self.features = features
        self.collator = PretrainingCollator(
            features.extractor, features.labels, stored=True, of_sound=features.of_sound
        )
        self.num_patches = 0

    def attach(self, model: PretrainingModel) -> None:
        """Raises InputError if the features are not spectrograms, or have another size than the model's."""
        _check_features(model, self.features)
        self.num_patches = model.num_patches

    def losses(self, model: PretrainingModel, batch: Batch, places: Places) -> Tensor:
        return self._ask(model, batch, places).losses

    def answers(self, model: PretrainingModel, batch: Batch, places: Places) -> tuple[Any, Any]:
        """Losses, and logits if there are any; then their targets. Trainer computes metrics only if it gets both."""
        outputs = self._ask(model, batch, places)
        if outputs.logits is None:
            return outputs.losses, outputs.losses
        return (outputs.losses, outputs.logits), outputs.targets

    def metrics(self, answers: Any, truth: Any) -> dict[str, float]:
        """Mean loss over windows; for the shuffled objective, also how well moved patches are detected."""
        from sklearn.metrics import roc_auc_score

        if not isinstance(answers, tuple):
            return {"loss": float(answers.mean())}
        losses, logits = answers
        scored = truth >= 0
        moved, logits = truth[scored] == 1, logits[scored]
        found = {"loss": float(losses.mean()), "accuracy": float(((logits > 0) == moved).mean())}
        if moved.any() and not moved.all():
            seen, kept = (logits[moved] > 0).mean(), (logits[~moved] <= 0).mean()
            found |= {"balanced_accuracy": float(seen + kept) / 2, "roc_auc": float(roc_auc_score(moved, logits))}
        return found

    def settings(self) -> dict[str, Any]:
        return {"objective": "pretraining"}  # the others are in the model's config

    def published(
        self, model: PretrainingModel, state: dict[str, Tensor] | None
    ) -> tuple[PreTrainedModel, dict[str, Tensor]]:
        return stock_classifier(model, state)

    def _ask(self, model: PretrainingModel, batch: Batch, places: Places) -> PretrainingOutput:
        batch = self.collator.on_device(batch)
        features = batch["input_values"]
        noise = window_noise(batch["window_keys"], self.num_patches, *places.run).to(features.device)
        return model(input_values=features, num_frames=batch["num_frames"], noise=noise)


def window_noise(window_keys: Sequence[int], num_patches: int, *place: int) -> Tensor:
    """Uniform float32 numbers `[windows, patches]` on the CPU, seeded by each window's key and a `place` in the run."""
    return torch.from_numpy(
        np.stack([np.random.default_rng((*place, key)).random(num_patches, np.float32) for key in window_keys])
    )


def _check_features(model: PretrainingModel, features: FeatureDataset) -> None:
    if features.kind.form is not Form.IMAGE:
        raise InputError(
            f"Pretraining is for log-mel features, found {features.kind.name}: build them with --features fbank"
        )
    found = (features.extractor.max_length, features.extractor.num_mel_bins)
    wanted = (model.config.max_length, model.config.num_mel_bins)
    if found != wanted:
        raise InputError(
            f"The model takes windows of {wanted[0]} frames and {wanted[1]} bins, but the features have {found[0]} and "
            f"{found[1]}: create the encoder with build_model for these features"
        )
