"""Distillation: the predictions of a teacher for the windows of a batch become part of each window's loss.

    augmented batch on the device → teacher, or a table of its predictions → logits of the classes that both know
      → weight * distance to the model's logits + (1 - weight) * loss of the labels

Evaluation, early stopping and the choice of the best checkpoint use only the labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.losses.distilling import sigmoid_distance, softmax_distance
from hf_audio.ranks import process_state
from hf_audio.terminal import named_logger
from hf_audio.training.objective import Batch

MAX_NAMED = 6

logger = named_logger(__name__)


class Teacher(Protocol):
    """Gives logits for the windows of a training batch.

    Attributes:
        name: name in messages.
        labels: its classes, in the order of its logits.
        needs_whole_windows: whether its logits are only valid for stored windows, not for mixtures of them.
    """

    name: str
    labels: LabelSpace
    needs_whole_windows: bool

    def answers(self, batch: Batch) -> Tensor:
        """Logits float32 `[batch, classes]` of a batch on the device, without a gradient."""

    def collator_of(self, collator: Any) -> Any:
        """The collator of training batches, extended with what the teacher needs from their rows."""

    def facts(self) -> dict[str, Any]:
        """Facts that identify the teacher, for the report and for comparing runs."""


class Answers(NamedTuple):
    """A teacher's predictions for a batch, for the classes that both models know.

    Attributes:
        logits: float32 `[batch, shared classes]`.
        share: `[batch]`, the part of each window's target in these classes; None if it is always 1.
    """

    logits: Tensor
    share: Tensor | None


class Distillation:
    """A teacher and its weight in the loss.

    If each window has one class and the teacher does not know all classes, its distribution is over the shared classes
    and is weighted by the part of the window's target in them, since it says nothing about other classes.

    Args:
        teacher: provides the logits.
        labels: the model's classes.
        weight: weight of the teacher in the loss; the labels get the rest.
        temperature: divides the logits.

    Raises:
        InputError: see `shared_classes`.
    """

    def __init__(self, teacher: Teacher, labels: LabelSpace, weight: float = 0.5, temperature: float = 2.0) -> None:
        self.teacher, self.labels, self.weight, self.temperature = teacher, labels, weight, temperature
        self.shared = shared_classes(teacher.name, teacher.labels, labels)
        self.is_subset = len(self.shared) < len(labels)
        spaces = (teacher.labels.label2id, labels.label2id)
        self._theirs, self._own = (torch.tensor([ids[name] for name in self.shared]) for ids in spaces)
        if self.is_subset:
            lacking = _some([name for name in labels.names if name not in self.shared])
            numbers = (len(self.shared), len(labels))
            if weight == 1 and labels.is_multi_label:
                raise InputError(
                    f"--distillation_weight 1 ignores the labels, but the teacher {teacher.name} does not know "
                    f"{lacking}, which would not be learned: use less than 1"
                )
            if process_state().is_main_process:
                logger.warning("The teacher %s knows %d of %d classes, not %s", teacher.name, *numbers, lacking)

    def collator_of(self, collator: Any) -> Any:
        """See Teacher."""
        return self.teacher.collator_of(collator)

    def answers(self, batch: Batch, targets: Tensor) -> Answers:
        """The teacher's predictions for a batch with targets `[batch, classes]`."""
        logits = self.teacher.answers(batch)
        if self._own.device != logits.device:  # only once
            self._theirs, self._own = self._theirs.to(logits.device), self._own.to(logits.device)
        is_open = self.is_subset and not self.labels.is_multi_label
        return Answers(logits[:, self._theirs], targets[:, self._own].sum(dim=1) if is_open else None)

    def blended(self, losses: Tensor, logits: Tensor, answers: Answers) -> Tensor:
        """The losses of windows `[batch]` combined with the teacher's part; `logits` are the model's."""
        distance = sigmoid_distance if self.labels.is_multi_label else softmax_distance
        taught = distance(logits.float()[:, self._own], answers.logits, self.temperature)
        weight = self.weight if answers.share is None else self.weight * answers.share
        return (1 - weight) * losses + weight * taught

    def settings(self) -> dict[str, Any]:
        """The settings that determine the distillation, JSON-able."""
        shared = {"shared_classes": len(self.shared), "weight": self.weight, "temperature": self.temperature}
        return {**self.teacher.facts(), **shared}


def shared_classes(name: str, theirs: LabelSpace, labels: LabelSpace) -> list[str]:
    """The classes that a teacher and a model both know, in the model's order.

    Args:
        name: name of the teacher.

    Raises:
        InputError: there are none, or only one of the two is multi-label.
    """
    known = set(theirs.names)
    shared = [one for one in labels.names if one in known]
    if not shared:
        raise InputError(
            f"The teacher {name} knows none of this run's classes: its classes are {_some(theirs.names)}, and "
            f"the run's are {_some(labels.names)}; names must be identical (--label_map renames classes)"
        )
    if theirs.is_multi_label != labels.is_multi_label:
        words = {True: "is multi-label", False: "is single-label"}
        otherwise = ", or build features with --several_labels" if theirs.is_multi_label else ""
        raise InputError(
            f"The teacher {name} {words[theirs.is_multi_label]} and this run {words[labels.is_multi_label]}, so their "
            f"scores cannot be compared: use a teacher for the same task{otherwise}"
        )
    if len(shared) == 1 and not labels.is_multi_label:
        raise InputError(
            f"The teacher {name} knows only {shared[0]!r} of this run's classes, so there is nothing to learn from it: "
            "use one that knows two or more"
        )
    return shared


def refuse_margin(head: str) -> None:
    """Raises InputError for a head whose logits have a margin in training, which the teacher's do not."""
    raise InputError(
        f"--head {head} lowers the logit of the true class by a margin in training, so its logits cannot be compared "
        "with a teacher's: use another head, or leave out the teacher"
    )


def refuse_other_metadata(teacher: Teacher, fields: Mapping[str, Sequence[str]]) -> None:
    """Raises InputError for a teacher whose metadata is encoded differently from the model's.

    Args:
        fields: the model's metadata fields and their values, from its config.
    """
    theirs = getattr(teacher, "metadata", None)
    if theirs and fields and theirs != {field: list(values) for field, values in fields.items()}:
        found, wanted = (
            "; ".join(f"{field}: {_some(values)}" for field, values in one.items()) for one in (theirs, fields)
        )
        raise InputError(
            f"The teacher {teacher.name} reads different metadata ({found}) than the model ({wanted}): use a teacher "
            "with the same metadata, or leave out --metadata, so that the teacher's metadata is unknown"
        )


def refuse_mixing(augment: Any) -> None:
    """Raises InputError for augmentation that mixes windows, since stored logits are for single windows."""
    parts = (augment, getattr(augment, "sound", None), getattr(augment, "features", None))
    for step in (step for part in parts for step in getattr(part, "steps", ())):
        if getattr(step, "mixes_windows", False):
            raise InputError(
                f"--teacher_logits are for stored windows, but {type(step).__name__} mixes several: leave out the "
                "mixing, or use --teacher, which gets the same input as the model"
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
