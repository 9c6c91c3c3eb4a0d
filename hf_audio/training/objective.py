"""The objective of a run: how batches are made, their losses, and the metrics of a model.

The trainer runs any objective. To add one, write a class with the methods below and a test.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_audio.data.loading.features_dataset import FeatureDataset

Batch = dict[str, Any]
OF_ALL = 2**32 - 1  # replaces a window's place in seeds of random numbers for a complete step


@dataclass(frozen=True)
class Places:
    """The places of a micro-batch's windows in a run, which determine their random numbers.

    Numbers are drawn on the CPU from the seed, the step and the window's place in that step. So a window has the same
    numbers on every device, in a resumed run, and for any division of a step into micro-batches and processes.

    Attributes:
        seed: seed of the run.
        step: number of completed optimizer steps; None in evaluation, so that all evaluations draw the same numbers.
        windows: their places in the step's global batch.
    """

    seed: int
    step: int | None
    windows: Sequence[int]

    @property
    def run(self) -> tuple[int, ...]:
        """The part of the seed that all windows of the step share."""
        return (self.seed,) if self.step is None else (self.seed, self.step)

    @property
    def keys(self) -> list[tuple[int, ...]]:
        """One key per window, which seeds its random numbers."""
        return [(*self.run, place) for place in self.windows]

    def uniform(self, numbers: int) -> Tensor:
        """float32 `[windows, numbers]` in [0, 1), which depend only on the windows' places."""
        rows = max(self.windows, default=-1) + 1  # all windows of the step up to the last of these, which is cheap
        drawn = np.random.default_rng((*self.run, OF_ALL)).random((rows, numbers), dtype=np.float32)
        return torch.from_numpy(drawn[list(self.windows)])


class Objective(ABC):
    """A training task.

    Attributes:
        features: the data; the splits "train" (local or streamed) and "validation" (local) are used.
        collator: rows of a split → a batch; runs in the data loader's workers, if there are any.
        main_metric: default metric for choosing the best checkpoint, and whether greater is better.
        metric_names: all metrics that `metrics` may return.
        has_classes: whether its model is a classifier, whose clip scores can be evaluated.
        own: additional trained parameters, such as the centers of a loss, if there are any; see `own_parameters.py`.
            Their learning rate is `own.learning_rate`.
        min_batch_size: minimum number of windows in a micro-batch, so that windows find the partners that they need.
    """

    features: FeatureDataset
    collator: Any
    main_metric: tuple[str, bool]
    metric_names: tuple[str, ...]
    has_classes: bool = True
    own: nn.Module | None = None
    min_batch_size: int = 1

    @abstractmethod
    def losses(self, model: PreTrainedModel, batch: Batch, places: Places) -> Tensor:
        """The training loss of each window, float32 `[windows]`; the batch is on the model's device.

        Losses are per window, so that the trainer can weight them: a step's loss is the mean over its windows.
        """

    @abstractmethod
    def answers(self, model: PreTrainedModel, batch: Batch, places: Places) -> tuple[Any, Any]:
        """The values that evaluation collects for a batch: model outputs `[windows, ...]`, and their targets."""

    @abstractmethod
    def metrics(self, answers: Any, truth: Any) -> dict[str, float]:
        """Scores of a complete split, including "loss", from the outputs of `answers` as NumPy arrays."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """JSON-serializable settings that determine the result, named for users: compared when a run is resumed."""

    def attach(self, model: PreTrainedModel) -> None:  # noqa: B027 (most need nothing)
        """Called once with the model to train; raises InputError if the objective cannot train it."""

    def published(
        self, model: PreTrainedModel, state: dict[str, Tensor] | None
    ) -> tuple[PreTrainedModel, dict[str, Tensor] | None]:
        """The model to save in the run folder, and its weights if they are not its own."""
        return model, state
