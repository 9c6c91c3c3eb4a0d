"""LabelSpace: the classes of a task, in order, and whether it is single-label or multi-label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.columns import in_order, names_in, places_of, whole
from hf_audio.errors import InputError, unknown_name

SINGLE_LABEL = "single_label_classification"
MULTI_LABEL = "multi_label_classification"


@dataclass(frozen=True)
class LabelSpace:
    """Class names in the order of the logits, and transformers' `problem_type`.

    In training, a target always has one form: float32 `[classes]`, one-hot or multi-hot, and NaN for unknown classes
    (partial labels, multi-label only).
    """

    names: tuple[str, ...]
    problem_type: str

    def __post_init__(self) -> None:
        if self.problem_type not in (SINGLE_LABEL, MULTI_LABEL):
            raise unknown_name("problem_type", self.problem_type, (SINGLE_LABEL, MULTI_LABEL))
        if len(set(self.names)) != len(self.names):
            raise InputError(f"A class appears twice in {', '.join(self.names)}; class names must be unique")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def is_multi_label(self) -> bool:
        return self.problem_type == MULTI_LABEL

    @property
    def id2label(self) -> dict[int, str]:
        return dict(enumerate(self.names))

    @property
    def label2id(self) -> dict[str, int]:
        return dict(self._ids)

    @property
    def config_settings(self) -> dict[str, Any]:
        """The settings of a model's config for classes and task."""
        return {"id2label": self.id2label, "label2id": self.label2id, "problem_type": self.problem_type}

    @cached_property
    def _ids(self) -> dict[str, int]:  # made once: an index has millions of clips, and AudioSet 527 classes
        return {name: index for index, name in enumerate(self.names)}

    def indices(self, labels: Iterable[str]) -> list[int]:
        """Sorted class indices of label names."""
        ids = self._ids
        unknown = [label for label in labels if label not in ids]
        if unknown:
            raise unknown_name("label", unknown[0], self.names)
        return sorted(ids[label] for label in labels)

    def places(self, column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        """Clip and class of each name in a column of label names, as two arrays, sorted by clip, then class.

        Raises:
            InputError: a name that is not a class.
        """
        return np.divmod(self._pairs(column), len(self))

    def counts(self, column: pa.ChunkedArray) -> np.ndarray:
        """The number of clips with each class, int `[classes]`, from a column of label names."""
        pairs = self._pairs(column)
        is_first = np.diff(pairs, prepend=-1) > 0
        return np.bincount(pairs[is_first] % len(self), minlength=len(self))

    def _pairs(self, column: pa.ChunkedArray) -> np.ndarray:
        """`clip * classes + class` for each name, sorted."""
        lists = whole(column)
        flat = pc.list_flatten(lists)
        classes = places_of(flat, self.names)
        if (classes < 0).any():
            raise unknown_name("label", flat[int(np.argmax(classes < 0))].as_py(), self.names)
        return np.sort(pc.list_parent_indices(lists).to_numpy() * len(self) + classes)

    def multi_hot(self, indices: Sequence[int], unknown: Sequence[int] = ()) -> np.ndarray:
        """float32 `[classes]` with 1 at `indices`, NaN at `unknown` and 0 elsewhere."""
        target = np.zeros(len(self.names), dtype=np.float32)
        target[list(indices)] = 1.0
        target[list(unknown)] = np.nan
        return target

    def target_of(self, row: Mapping[str, Any]) -> np.ndarray:
        """The target of a row of a feature dataset, float32 `[classes]`, from `labels` and, if partial, `unknown`."""
        return self.multi_hot(row["labels"], row.get("unknown") or ())

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Sigmoid (multi-label) or softmax (single-label) of logits `[..., classes]`, as transformers' pipelines do."""
        logits = np.asarray(logits, dtype=np.float64)
        if self.is_multi_label:
            return 0.5 * (1.0 + np.tanh(0.5 * logits))  # the sigmoid, without overflow
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)

    @classmethod
    def of_clips(
        cls, clips: pa.Table, names: Sequence[str] | None = None, problem_type: str | None = None
    ) -> LabelSpace:
        """The label space of an index: by default all names in order, single-label if every clip has one label."""
        if names is None:
            names = in_order(names_in(clips["labels"]))
        if problem_type is None:
            each_has_one = pc.all(pc.equal(pc.list_value_length(clips["labels"]), 1), min_count=0).as_py()
            problem_type = SINGLE_LABEL if each_has_one else MULTI_LABEL
        return cls(tuple(names), problem_type)
