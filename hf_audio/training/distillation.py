"""Learning from a teacher: what it answers to the windows of a batch becomes a part of each window's loss.

    batch on the device, augmented → teacher, or a table of its answers → logits of the classes that both know
      → weight * distance to the model's logits + (1 - weight) * the labels' loss

Evaluation, early stopping and the choice of the best checkpoint look at the labels alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.losses.distilling import sigmoid_distance, softmax_distance
from hf_audio.terminal import named_logger
from hf_audio.training.objective import Batch

MAX_NAMED = 6

logger = named_logger(__name__)


class Teacher(Protocol):
    """What answers for the windows of a training batch.

    Attributes:
        name: for messages.
        labels: its classes, in the order of its logits.
        needs_whole_windows: whether its answers are of windows as they are stored, and of no mixture of them.
    """

    name: str
    labels: LabelSpace
    needs_whole_windows: bool

    def answers(self, batch: Batch) -> Tensor:
        """Logits float32 `[batch, classes]` of a batch on the device, without a gradient."""

    def collator_of(self, collator: Any) -> Any:
        """The collator of training batches, with what the teacher wants of their rows."""

    def facts(self) -> dict[str, Any]:
        """What says which teacher it is, for the report and to compare runs by."""


class Answers(NamedTuple):
    """What a teacher says of a batch, about the classes that both know.

    Attributes:
        logits: float32 `[batch, shared classes]`.
        share: `[batch]`, how much of each window's label lies in those classes; None where all does.
    """

    logits: Tensor
    share: Tensor | None


class Distillation:
    """A teacher, and how much it counts.

    Where each window has one class and the teacher does not know all of them, it is asked which of those that both
    know it is, and counts as much as the window's label lies in these: it has nothing to say of others.

    Args:
        teacher: what answers.
        labels: the model's classes.
        weight: of the teacher in the loss, labels have the rest.
        temperature: by which logits are divided.

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
                    f"--distillation_weight 1 learns from no labels, and the teacher {teacher.name} does not know "
                    f"{lacking}, which nothing would then teach: give less than 1"
                )
            logger.warning("The teacher %s knows %d of %d classes, not %s", teacher.name, *numbers, lacking)

    def collator_of(self, collator: Any) -> Any:
        """See Teacher."""
        return self.teacher.collator_of(collator)

    def answers(self, batch: Batch, targets: Tensor) -> Answers:
        """What the teacher says of a batch, whose targets are `[batch, classes]`."""
        logits = self.teacher.answers(batch)
        if self._own.device != logits.device:  # once, not at each step
            self._theirs, self._own = self._theirs.to(logits.device), self._own.to(logits.device)
        is_open = self.is_subset and not self.labels.is_multi_label
        return Answers(logits[:, self._theirs], targets[:, self._own].sum(dim=1) if is_open else None)

    def blended(self, losses: Tensor, logits: Tensor, answers: Answers) -> Tensor:
        """The losses of windows `[batch]` with the teacher's part in them; `logits` are the model's."""
        distance = sigmoid_distance if self.labels.is_multi_label else softmax_distance
        taught = distance(logits.float()[:, self._own], answers.logits, self.temperature)
        weight = self.weight if answers.share is None else self.weight * answers.share
        return (1 - weight) * losses + weight * taught

    def settings(self) -> dict[str, Any]:
        """What decides of the teaching, JSON-able."""
        shared = {"shared_classes": len(self.shared), "weight": self.weight, "temperature": self.temperature}
        return {**self.teacher.facts(), **shared}


def shared_classes(name: str, theirs: LabelSpace, labels: LabelSpace) -> list[str]:
    """The classes that a teacher and a model both know, in the model's order.

    Args:
        name: of the teacher.

    Raises:
        InputError: there are none, or one of them tells one class and the other several.
    """
    known = set(theirs.names)
    shared = [one for one in labels.names if one in known]
    if not shared:
        raise InputError(
            f"The teacher {name} knows none of the classes: it tells {_some(theirs.names)} apart and these are "
            f"{_some(labels.names)}; names must be the same, letter by letter (--label_map gives classes other names)"
        )
    if theirs.is_multi_label != labels.is_multi_label:
        words = {True: "several classes at a time", False: "one class at a time"}
        otherwise = ", or build features with --several_labels" if theirs.is_multi_label else ""
        raise InputError(
            f"The teacher {name} tells {words[theirs.is_multi_label]} and this run {words[labels.is_multi_label]}, so "
            f"their scores are not of one kind: give a teacher of the same task{otherwise}"
        )
    if len(shared) == 1 and not labels.is_multi_label:
        raise InputError(
            f"The teacher {name} knows {shared[0]!r} alone of the classes, so there is nothing that it could tell "
            "apart: give one that knows two or more"
        )
    return shared


def refuse_margin(head: str) -> None:
    """Refuses a head whose logits have a margin in training, which a teacher's have not. Raises InputError."""
    raise InputError(
        f"--head {head} takes a margin from the right class in training, so that its logits cannot be compared with a "
        "teacher's: give another head, or leave the teacher out"
    )


def refuse_other_metadata(teacher: Teacher, fields: Mapping[str, Sequence[str]]) -> None:
    """Refuses a teacher that takes the numbers of the model's metadata for other values. Raises InputError.

    Args:
        fields: of the model's metadata, each with its values, as its config has them.
    """
    theirs = getattr(teacher, "metadata", None)
    if theirs and fields and theirs != {field: list(values) for field, values in fields.items()}:
        found, wanted = (
            "; ".join(f"{field}: {_some(values)}" for field, values in one.items()) for one in (theirs, fields)
        )
        raise InputError(
            f"The teacher {teacher.name} reads other metadata ({found}) than the model ({wanted}): give a teacher with "
            "the same, or leave out --metadata, and the teacher takes its own as unknown"
        )


def refuse_mixing(augment: Any) -> None:
    """Refuses augmentation that mixes windows, where a teacher's answers are of whole ones. Raises InputError."""
    parts = (augment, getattr(augment, "sound", None), getattr(augment, "features", None))
    for step in (step for part in parts for step in getattr(part, "steps", ())):
        if getattr(step, "mixes_windows", False):
            raise InputError(
                f"--teacher_logits are of windows as they are stored, and {type(step).__name__} mixes several: leave "
                "the mixing out, or give --teacher, which hears what the model hears"
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
