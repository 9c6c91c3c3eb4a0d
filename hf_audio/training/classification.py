"""Classification: the way of a batch from stored rows to the loss of each window, and from logits to scores of clips.

rows of the feature dataset
  → collator       windows as they are stored (sound: as the model's extractor gives it), labels     in a worker
  → on_device      input_values, as the extractor would have given them                 on the model's device
  → augment        each window's random numbers by its place in the step
  → teacher        where there is one, what it says of the same windows
  → smooth         targets move a little towards an even answer
  → model          logits
  → window losses  cross-entropy, or binary cross-entropy over all classes that are known; the teacher's part in them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from hf_audio.config import LossConfig
from hf_audio.data.index.pseudo_labels import CONFIDENCE
from hf_audio.data.loading.features_dataset import FeatureCollator, FeatureDataset
from hf_audio.errors import InputError
from hf_audio.losses import class_weights_from_counts, smooth_targets, window_losses_for
from hf_audio.metrics import METRIC_NAMES, ClipScores, average_per_clip, validation_metrics
from hf_audio.models.inputs import model_inputs
from hf_audio.training.distillation import Distillation, refuse_mixing
from hf_audio.training.objective import Batch, Objective, Places

METADATA_DROPOUT = 0.2  # how likely a window's metadata is hidden in training, each field on its own


class Augment(Protocol):
    """What varies training batches, see hf_audio.augment.Compose."""

    def draw(self, places: Sequence[tuple[int, ...]]) -> Any: ...

    def __call__(
        self, features: Tensor, targets: Tensor, num_frames: Tensor, draws: Any
    ) -> tuple[Tensor, Tensor, Tensor]: ...


class Classification(Objective):
    """Tells the classes of windows; scores are of clips, the mean over their windows.

    The loss is computed here from the logits, so any model with `forward(input_values)` fits. Evaluation gives the mean
    loss over windows and the clip metrics of `validation_metrics`.

    Args:
        features: what is trained on.
        augment: see hf_audio.augment.Compose; for training batches only.
        loss: which loss, and whether rare classes weigh more; by default cross-entropy.
        label_smoothing: share by which targets move towards an even answer, see `smooth_targets`.
        distillation: a teacher, whose answers are learnt from too.
    """

    metric_names = ("loss", *METRIC_NAMES)

    def __init__(
        self,
        features: FeatureDataset,
        *,
        augment: Augment | None = None,
        loss: LossConfig | None = None,
        label_smoothing: float = 0.0,
        distillation: Distillation | None = None,
    ) -> None:
        _require_given_labels(features)
        self.features, self.labels, self.distillation = features, features.labels, distillation
        self.augment, self.loss, self.label_smoothing = augment, loss or LossConfig(), label_smoothing
        if distillation is not None and distillation.teacher.needs_whole_windows:
            refuse_mixing(getattr(augment, "steps", ()))
        self.class_weights = _class_weights(features, self.loss.class_weights)
        self.window_losses = window_losses_for(features.labels, self.class_weights, self.loss)
        self.main_metric = ("mean_average_precision" if features.labels.is_multi_label else "accuracy", True)
        self.collator = self._collator_with({})
        self.model: PreTrainedModel | None = None
        self.validated: ClipScores | None = None  # by the last evaluation
        self.has_margin = False

    def attach(self, model: PreTrainedModel) -> None:
        self.model = model  # tells what it reads, also where what is called is wrapped for several processes
        fields = getattr(model.config, "metadata", None)
        if fields:
            self.collator = self._collator_with(fields)
        # Only ArcFace looks at labels, for its margin; the loss is computed here in any case.
        self.has_margin = getattr(model.config, "head", None) == "arcface"

    def _collator_with(self, fields: Mapping[str, Sequence[str]]) -> Any:
        collator = FeatureCollator(self.features.extractor, self.labels, fields, stored=True)
        return collator if self.distillation is None else self.distillation.collator_of(collator)

    def losses(self, model: PreTrainedModel, batch: Batch, places: Places) -> Tensor:
        batch, targets = self.collator.on_device(batch), batch["labels"]
        if self.augment is not None:
            windows, draws = (batch["input_values"], targets, batch["num_frames"]), self.augment.draw(places.keys)
            batch["input_values"], targets, batch["num_frames"] = self.augment(*windows, draws)
        if "metadata" in batch:
            batch["metadata"] = _sometimes_unknown(batch["metadata"], places)
        answers = self.distillation and self.distillation.answers(batch, targets)
        if self.label_smoothing:
            targets = smooth_targets(targets, self.label_smoothing, self.labels)
        margins = {"labels": targets.nan_to_num(0.0)} if self.has_margin else {}  # unknown classes get none
        logits = model(**model_inputs(self.model, batch), **margins).logits
        losses = self.window_losses(logits, targets)
        return losses if answers is None else self.distillation.blended(losses, logits, answers)

    def answers(self, model: PreTrainedModel, batch: Batch, places: Places) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Logits; targets and clip keys."""
        inputs = model_inputs(self.model, self.collator.on_device(batch))
        return model(**inputs).logits.float(), (batch["labels"], batch["clip_keys"])

    def metrics(self, answers: np.ndarray, truth: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
        self.validated = clips = average_per_clip(answers, *truth)
        loss = self.window_losses(torch.from_numpy(answers), torch.from_numpy(truth[0])).mean().item()
        scores = validation_metrics(self.labels.probabilities(clips.logits), clips.targets, self.labels)
        return {"loss": loss, **scores}

    def _loss(self) -> str:
        """The loss with the settings that it has."""
        own = {"focal": ("focal_gamma",), "asymmetric": ("positive_gamma", "negative_gamma", "negative_margin")}
        values = [f"{name} {getattr(self.loss, name):g}" for name in own.get(self.loss.loss, ())]
        return ", ".join([self.loss.loss, *values])

    def settings(self) -> dict[str, Any]:
        weights, augment = self.class_weights, self.augment
        return {
            "objective": "classification",
            "loss": self._loss(),
            "label_smoothing_factor": self.label_smoothing,
            "class_weights": None if weights is None else [round(float(weight), 6) for weight in weights],
            # The repr of other objects holds their address, which is new in every process.
            "augmentation": augment and (repr(augment) if is_dataclass(augment) else type(augment).__name__),
            **({} if self.distillation is None else {"distillation": self.distillation.settings()}),
        }


def _require_given_labels(features: FeatureDataset) -> None:
    """Refuses to score by labels that models gave."""
    for split in {"validation", "test"} & features.splits.keys():
        rows = features.splits[split]
        if CONFIDENCE in (rows.column_names or ()) and any(one is not None for one in rows[CONFIDENCE]):
            raise InputError(
                f"The {split} split of {features.source} has pseudo-labelled clips, whose labels no score can be taken "
                "by: build features in which training alone has any"
            )


def _class_weights(features: FeatureDataset, scheme: str) -> np.ndarray | None:
    if scheme == "none":
        return None
    return class_weights_from_counts(*features.class_counts("train"), features.labels, scheme)


def _sometimes_unknown(metadata: Tensor, places: Places) -> Tensor:
    """Metadata of which some is forgotten, so that the model learns what to do where a user has none."""
    forgotten = places.uniform(metadata.shape[1]) < METADATA_DROPOUT
    return metadata.masked_fill(forgotten.to(metadata.device), 0)
