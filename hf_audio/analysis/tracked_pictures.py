"""Plots for trackers during training: stored and augmented windows, and the confusion matrix."""

from __future__ import annotations

import dataclasses
from itertools import islice
from typing import Any

from transformers import TrainerCallback

from hf_audio.analysis.plots import plot_confusion
from hf_audio.augment import BeforeFeatures, Compose
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.figures.augmented import NUM_WINDOWS, augmented_plot
from hf_audio.figures.figures import png
from hf_audio.figures.windows import drawn_windows
from hf_audio.kinds import Form
from hf_audio.metrics import decide
from hf_audio.training import AudioTrainer, Classification
from hf_audio.training.trackers import send_pictures


class TrackedPictures(TrainerCallback):
    """Draws plots for the trackers of a trainer, in the first process.

    When training begins: some stored windows of the validation split, and training windows before and after
    augmentation. After each evaluation: the confusion matrix of validation clips; multi-label decisions use a threshold
    of 0.5.

    Args:
        trainer: trainer of a Classification.
    """

    def __init__(self, trainer: AudioTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            self._send(_windows(self.trainer.objective), state.global_step)

    def on_evaluate(self, args, state, control, **kwargs):
        clips, labels = self.trainer.objective.validated, self.trainer.features.labels
        if state.is_world_process_zero and clips is not None:
            decided = decide(labels.probabilities(clips.logits), labels, 0.5)
            figure = plot_confusion(clips.targets, decided, labels, "validation")
            self._send({"validation/confusion": png(figure)}, state.global_step)

    def _send(self, pictures: dict[str, bytes], step: int) -> None:
        send_pictures(self.trainer.callback_handler.callbacks, pictures, step)


def _windows(objective: Classification) -> dict[str, bytes]:
    features, augment = objective.features, objective.augment
    kind, pictures = features.kind, {}
    if kind.form is not Form.VECTORS and "validation" in features.splits:
        windows = {_title(row, features): kind.decode(row) for row in _some_rows(features, "validation")}
        pictures["validation/windows"] = png(drawn_windows(windows, features.manifest)[0])
    if kind.form is Form.IMAGE and isinstance(augment, Compose | BeforeFeatures):
        some = dataclasses.replace(features, splits={"train": _some_rows(features, "train")})
        pictures["train/augmented"] = png(augmented_plot(some, augment))
    return pictures


def _some_rows(features: FeatureDataset, split: str) -> list[dict[str, Any]]:
    """Some of the first windows of a split, with different labels if possible; reads from a streamed split."""
    rows = list(islice(features.splits[split], 10 * NUM_WINDOWS))
    first_of = {tuple(row["labels"]): row for row in reversed(rows)}
    others = [row for row in rows if row is not first_of[tuple(row["labels"])]]
    return [*first_of.values(), *others][:NUM_WINDOWS]


def _title(row: dict[str, Any], features: FeatureDataset) -> str:
    names = ", ".join(features.labels.names[label] for label in row["labels"]) or "no class"
    return f"{names}: {row['clip_id'].rpartition('/')[2]} {row['start_s']:.3g} s"
