"""Classification: from stored rows to the loss of each window, and from logits to scores of clips.

rows of the feature dataset
  → collator       stored windows (waveforms: the output of the model's extractor), labels           in a worker
  → on_device      input_values, as the extractor would return them                     on the model's device
  → augment        random numbers depend on a window's place in the step. If features are computed from stored
                   waveforms, waveforms are augmented first
  → teacher        its predictions for the same windows, if there is one
  → model          logits, from only some of its patches with patch dropout; also embeddings, for losses on them
  → window losses  cross-entropy, or binary cross-entropy over all known classes, or another --loss; combined with the
                   teacher's part
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
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.losses import TaskLoss, class_weights_from_counts
from hf_audio.metrics import METRIC_NAMES, ClipScores, average_per_clip, validation_metrics
from hf_audio.models.embedding_tap import EmbeddingTap
from hf_audio.models.heads import MARGIN_HEADS
from hf_audio.models.inputs import model_inputs, with_own_mask
from hf_audio.training.distillation import Distillation, refuse_margin, refuse_mixing, refuse_other_metadata
from hf_audio.training.objective import Batch, Objective, Places
from hf_audio.training.patch_dropout import PatchDropout

METADATA_DROPOUT = 0.2  # probability of hiding a window's metadata in training, for each field separately


class Augment(Protocol):
    """Augments training batches, see hf_audio.augment.Compose."""

    def draw(self, places: Sequence[tuple[int, ...]]) -> Any: ...

    def __call__(
        self, features: Tensor, targets: Tensor, num_frames: Tensor, draws: Any
    ) -> tuple[Tensor, Tensor, Tensor]: ...


class Classification(Objective):
    """Classifies windows; the scores of a clip are the mean over its windows.

    The loss is computed here from the logits, so any model with `forward(input_values)` can be trained. Evaluation
    gives the mean loss over windows and the clip metrics of `validation_metrics`.

    Args:
        features: the data to train on.
        augment: see hf_audio.augment.Compose; applied to training batches only.
        loss: settings of the loss, and weights of rare classes; by default cross-entropy.
        label_smoothing: how far targets move toward a uniform distribution, see `smooth_targets`.
        distillation: an additional teacher to learn from.
        patch_dropout: which patches of a spectrogram transformer are dropped in training.
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
        patch_dropout: PatchDropout | None = None,
    ) -> None:
        _require_given_labels(features)
        self.features, self.labels, self.distillation = features, features.labels, distillation
        self.patch_dropout, self.augment, asked = patch_dropout, augment, loss or LossConfig()
        if distillation is not None and distillation.teacher.needs_whole_windows:
            refuse_mixing(augment)
        self.window_losses = TaskLoss(
            features.labels,
            asked,
            class_weights=_class_weights(features, asked.class_weights),
            frequencies=_frequencies(features) if asked.logit_adjustment else None,
            corpus=features.corpus,
            label_smoothing=label_smoothing,
        )
        self.main_metric = ("mean_average_precision" if features.labels.is_multi_label else "accuracy", True)
        has_partners = any(getattr(step, "has_partners", False) for step in getattr(augment, "steps", ()))
        self.min_batch_size = 3 if asked.triplet_weight else 2 if has_partners else 1
        self.collator = self._collator()
        self.model: PreTrainedModel | None = None
        self.validated: ClipScores | None = None  # from the last evaluation
        self.has_margin = False
        self.embedding: EmbeddingTap | None = None

    def attach(self, model: PreTrainedModel) -> None:
        self.model = model  # knows its inputs, unlike a wrapper for several processes
        fields = getattr(model.config, "metadata", None)
        if fields:
            self.collator = self._collator(fields)
            if self.distillation:
                refuse_other_metadata(self.distillation.teacher, fields)
        if self.patch_dropout:
            self.patch_dropout.attach(model)
        # Only heads with a margin use labels; the loss is always computed here.
        self.has_margin = getattr(model.config, "head", None) in MARGIN_HEADS
        if self.has_margin and self.distillation:
            refuse_margin(model.config.head)
        if self.window_losses.reads_embedding:
            self.embedding = EmbeddingTap(model)
            self.own = self.window_losses.learned(self.embedding.size)

    def _collator(self, metadata_fields: Mapping[str, Sequence[str]] | None = None) -> Any:
        features = self.features
        collator = FeatureCollator(
            features.extractor, features.labels, metadata_fields, stored=True, of_sound=features.of_sound
        )
        return collator if self.distillation is None else self.distillation.collator_of(collator)

    def losses(self, model: PreTrainedModel, batch: Batch, places: Places) -> Tensor:
        varies_sound = getattr(self.augment, "of_sound", None) is not None
        batch, targets = self.collator.on_device(batch, as_sound=varies_sound), batch["labels"]
        if self.augment is not None:
            windows, draws = (batch["input_values"], targets, batch["num_frames"]), self.augment.draw(places.keys)
            batch["input_values"], targets, batch["num_frames"] = self.augment(*windows, draws)
            batch = with_own_mask(batch)
        if "metadata" in batch:
            batch["metadata"] = _sometimes_unknown(batch["metadata"], places)
        answers: Any = self.distillation and self.distillation.answers(batch, targets)
        if self.patch_dropout:
            model = self.patch_dropout.around(model, places, batch["num_frames"])
        margins = {"labels": targets.nan_to_num(0.0)} if self.has_margin else {}  # unknown classes get none
        logits = model(**model_inputs(self.model, batch), **margins).logits
        losses = self.window_losses(logits, targets, self.embedding.take() if self.embedding else None)
        return losses if answers is None else self.distillation.blended(losses, logits, answers)

    def answers(self, model: PreTrainedModel, batch: Batch, places: Places) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Logits; targets and clip keys."""
        inputs = model_inputs(self.model, self.collator.on_device(batch))
        return model(**inputs).logits.float(), (batch["labels"], batch["clip_keys"])

    def metrics(self, answers: np.ndarray, truth: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
        self.validated = clips = average_per_clip(answers, *truth)
        loss = self.window_losses.of_logits(torch.from_numpy(answers), torch.from_numpy(truth[0])).mean().item()
        scores = validation_metrics(self.labels.probabilities(clips.logits), clips.targets, self.labels)
        return {"loss": loss, **scores}

    def settings(self) -> dict[str, Any]:
        augment = self.augment
        return {
            "objective": "classification",
            **self.window_losses.settings(),
            # The repr of other objects has their address, which differs between processes.
            "augmentation": augment and (repr(augment) if is_dataclass(augment) else type(augment).__name__),
            "augmentation_steps": [type(step).__name__ for step in getattr(augment, "steps", ())],
            **({} if self.distillation is None else {"distillation": self.distillation.settings()}),
            **(self.patch_dropout.settings() if self.patch_dropout else {}),
        }


def _require_given_labels(features: FeatureDataset) -> None:
    """Raises InputError if evaluation would use labels that were predicted by models."""
    for split in {"validation", "test"} & features.splits.keys():
        rows = features.splits[split]
        if CONFIDENCE in (rows.column_names or ()) and any(one is not None for one in rows[CONFIDENCE]):
            raise InputError(
                f"The {split} split of {features.source} has pseudo-labeled clips, which cannot be evaluated on: build "
                "features with pseudo-labels in the train split only"
            )


def _class_weights(features: FeatureDataset, scheme: str) -> np.ndarray | None:
    if scheme == "none":
        return None
    return class_weights_from_counts(*features.class_counts("train"), features.labels, scheme)


def _frequencies(features: FeatureDataset) -> np.ndarray:
    """The share of training clips with each class among those for which it is known, above 0 and below 1.

    The number of known clips is increased by one, and classes without clips count as having one, so that logarithms are
    finite.
    """
    counts, known = features.class_counts("train")
    return np.maximum(counts, 1) / (np.maximum(known, 1) + 1)


def _sometimes_unknown(metadata: Tensor, places: Places) -> Tensor:
    """Randomly hides metadata, so that the model learns to work without it."""
    forgotten = places.uniform(metadata.shape[1]) < METADATA_DROPOUT
    return metadata.masked_fill(forgotten.to(metadata.device), 0)
