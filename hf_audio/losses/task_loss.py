"""The loss of a task: one number per window, from its logits and optionally its embedding."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hf_audio.config.loss import LossConfig
from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.losses.families import family_cross_entropy, membership, named_families
from hf_audio.losses.focusing import asymmetric, binary_focal, focal
from hf_audio.losses.of_embeddings import CenterLoss, batch_hard_triplet
from hf_audio.models.window_losses import binary_cross_entropy, cross_entropy

# The losses on logits by name: (single-label, multi-label)
FUNCTIONS = {
    "cross_entropy": (cross_entropy, binary_cross_entropy),
    "focal": (focal, binary_focal),
    "asymmetric": (None, asymmetric),
    "family": (family_cross_entropy, None),
}
ELSEWHERE = {  # error for a loss that does not suit the task
    "asymmetric": (
        "--loss asymmetric is for multi-label tasks, but each clip has exactly one class here: use --loss focal, or "
        "leave it out"
    ),
    "family": "--loss family is for single-label tasks, but clips may have several labels here: leave it out",
}


class TaskLoss(nn.Module):
    """(logits `[batch, classes]`, targets `[batch, classes]`, embedding `[batch, size]` or None) -> `[batch]`, float32.

    Targets are probabilities; NaN is unknown (multi-label only). If an embedding is given, the losses on embeddings are
    added; they are multiplied by the weight of the window's class. Label smoothing only applies to the loss on logits.

    Args:
        labels: multi-label tasks get the binary form of a loss, others the softmax form.
        settings: which losses to use; by default cross-entropy.
        class_weights: float `[classes]`, see `class_weights_from_counts`.
        frequencies: float `[classes]`, between 0 and 1: the share of training clips per class, for logit
            adjustment.
        corpus: title of the corpus, for --families corpus.
        label_smoothing: see `smooth_targets`.

    Raises:
        InputError: the number of weights is wrong, the loss does not suit the labels, or the families do not match.
    """

    def __init__(
        self,
        labels: LabelSpace,
        settings: LossConfig | None = None,
        *,
        class_weights: np.ndarray | Tensor | None = None,
        frequencies: np.ndarray | None = None,
        corpus: str = "",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if class_weights is not None and len(class_weights) != len(labels):
            raise InputError(
                f"Found {len(class_weights)} class weights for {len(labels)} classes, expected one for each"
            )
        self.labels, self.asked, self.label_smoothing = labels, settings or LossConfig(), label_smoothing
        self.function = _function(self.asked.loss, labels)
        self.values = {name: getattr(self.asked, name) for name in _keywords(self.function)}
        if "families" in self.values:
            self.values["families"] = named_families(self.asked.families, labels, corpus)
        self._constants = _constants(self.values, labels, class_weights)
        self.center: CenterLoss | None = None
        self.adjustment = _adjustment(self.asked.logit_adjustment, frequencies, labels)
        if self.reads_embedding and labels.is_multi_label:
            raise InputError(
                "--triplet_weight and --center_weight are for single-label tasks, but clips may have several "
                "labels here: leave them out"
            )

    @property
    def reads_embedding(self) -> bool:
        """Whether any loss uses the embedding."""
        return self.asked.triplet_weight > 0 or self.asked.center_weight > 0

    def learned(self, embedding_size: int) -> CenterLoss | None:
        """Creates the loss's own trainable parameters for this embedding size; None if it has none."""
        if self.asked.center_weight > 0:
            self.center = CenterLoss(len(self.labels), embedding_size, self.asked.center_learning_rate)
        return self.center

    def of_logits(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss on logits only, as in evaluation: `[batch]`, in at least float32, without label smoothing."""
        logits = _precise(logits)
        self._constants = {name: value.to(logits) for name, value in self._constants.items()}  # copied once
        with torch.autocast(logits.device.type, enabled=False):  # no sums in half precision
            return self.function(logits, targets.to(logits), **{**self.values, **self._constants})

    def forward(self, logits: Tensor, targets: Tensor, embedding: Tensor | None = None) -> Tensor:
        smoothed = smooth_targets(targets, self.label_smoothing, self.labels) if self.label_smoothing else targets
        losses = self.of_logits(logits if self.adjustment is None else logits + self.adjustment.to(logits), smoothed)
        if embedding is None:
            return losses
        with torch.autocast(embedding.device.type, enabled=False):
            return losses + self._of_embedding(_precise(embedding), targets)

    def _of_embedding(self, embedding: Tensor, targets: Tensor) -> Tensor:
        losses, targets = embedding.new_zeros(len(embedding)), targets.to(embedding)
        if self.asked.triplet_weight > 0:
            triplets = batch_hard_triplet(embedding, targets, self.asked.triplet_margin)
            losses = losses + self.asked.triplet_weight * triplets
        if self.center is not None:
            losses = losses + self.asked.center_weight * self.center(embedding, targets)
        weights = self._constants.get("class_weights")
        return losses if weights is None else losses * (targets @ weights.to(targets))

    def settings(self) -> dict[str, Any]:
        """The losses and their settings that have an effect, by flag."""
        asked = self.asked
        embeddings = ["triplet_weight", "triplet_margin"] if asked.triplet_weight > 0 else []
        embeddings += ["center_weight", "center_learning_rate"] if asked.center_weight > 0 else []
        weights = self._constants.get("class_weights")
        return {
            "loss": asked.loss,
            **self.values,
            **{name: getattr(asked, name) for name in embeddings},
            "label_smoothing_factor": self.label_smoothing,
            **({} if self.adjustment is None else {"logit_adjustment": asked.logit_adjustment}),
            "class_weights": None if weights is None else [round(weight, 6) for weight in weights.tolist()],
        }


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _function(name: str, labels: LabelSpace):
    function = FUNCTIONS[name][labels.is_multi_label]
    if function is None:
        raise InputError(ELSEWHERE[name])
    return function


def _keywords(function) -> list[str]:
    """The settings of a loss: its keyword-only arguments."""
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY]


def _constants(
    values: dict[str, Any], labels: LabelSpace, class_weights: np.ndarray | Tensor | None
) -> dict[str, Tensor]:
    """The tensor arguments of a loss, by name."""
    found = {}
    if class_weights is not None:
        found["class_weights"] = torch.as_tensor(class_weights, dtype=torch.float32)
    if "families" in values:
        found["families"] = membership(values["families"], labels)
    return found


def _adjustment(strength: float, frequencies: np.ndarray | None, labels: LabelSpace) -> Tensor | None:
    """The offset that training adds to the logits `[classes]`, so that the model does not learn the class frequencies
    and its predictions do not favor frequent classes (Menon et al. 2021, arXiv 2007.07314).

    For a softmax over classes it is the log of the frequency; for a sigmoid per class, the log odds.
    """
    if not strength:
        return None
    if frequencies is None or len(frequencies) != len(labels):
        raise InputError("--logit_adjustment needs the frequency of each class: use TaskLoss(..., frequencies=...)")
    priors = np.log(frequencies) - (np.log1p(-frequencies) if labels.is_multi_label else 0)
    return strength * torch.as_tensor(priors, dtype=torch.float32)


def smooth_targets(targets: Tensor, factor: float, labels: LabelSpace) -> Tensor:
    """Label smoothing (Szegedy et al. 2016): moves each target toward a uniform distribution, by the share `factor`.

    Uniform is 1 / classes for single-label, and 1/2 per class for multi-label. Unknown targets (NaN) stay unknown.
    """
    return targets * (1 - factor) + factor * (0.5 if labels.is_multi_label else 1 / len(labels))
