"""What a run is about: an Objective says how batches are made, what they cost and how well a model does.

The trainer runs any of them. A new one is one class with the parts below, and one test.
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
OF_ALL = 2**32 - 1  # in a place's stead: numbers of a whole step, other than those that any window draws


@dataclass(frozen=True)
class Places:
    """Where the windows of a micro-batch stand in a run, which is all that their random numbers depend on.

    Numbers are drawn on the CPU by the seed, the step and the window's place in that step. So a window has the same
    ones on every device, in a resumed run, and however a step is divided between micro-batches and processes.

    Attributes:
        seed: of the run.
        step: optimizer steps done before; None in evaluation, which asks the same of a window every time.
        windows: their places in the step's global batch.
    """

    seed: int
    step: int | None
    windows: Sequence[int]

    @property
    def run(self) -> tuple[int, ...]:
        """What all windows of the step share."""
        return (self.seed,) if self.step is None else (self.seed, self.step)

    @property
    def keys(self) -> list[tuple[int, ...]]:
        """One key a window, which seeds numbers of its own."""
        return [(*self.run, place) for place in self.windows]

    def uniform(self, numbers: int) -> Tensor:
        """float32 `[windows, numbers]` in [0, 1), each window's by its place alone."""
        rows = max(self.windows, default=-1) + 1  # of the step up to the last of these: few numbers, quickly made
        drawn = np.random.default_rng((*self.run, OF_ALL)).random((rows, numbers), dtype=np.float32)
        return torch.from_numpy(drawn[list(self.windows)])


class Objective(ABC):
    """One task of training.

    Attributes:
        features: the splits "train" (local or streamed) and "validation" (local) are trained on and evaluated.
        collator: rows of a split → a batch; it runs in the data loader's workers where there are any.
        main_metric: what the best checkpoint is chosen by, where a run names no other, and whether more is better.
        metric_names: all that `metrics` may give.
        has_classes: whether its model is a classifier, whose scores of clips can be evaluated.
        own: what it learns beside the model, such as the centers of a loss, where there is any; see
            `own_parameters.py`. Its `learning_rate` is that of its parameters.
    """

    features: FeatureDataset
    collator: Any
    main_metric: tuple[str, bool]
    metric_names: tuple[str, ...]
    has_classes: bool = True
    own: nn.Module | None = None

    @abstractmethod
    def losses(self, model: PreTrainedModel, batch: Batch, places: Places) -> Tensor:
        """The training loss of each window, float32 `[windows]`; the batch lies on the model's device.

        Losses are of one window each, so that the trainer can weigh them: a step's loss is the mean over its windows.
        """

    @abstractmethod
    def answers(self, model: PreTrainedModel, batch: Batch, places: Places) -> tuple[Any, Any]:
        """What evaluation gathers of a batch: tensors `[windows, ...]` to be scored, and the truth beside them."""

    @abstractmethod
    def metrics(self, answers: Any, truth: Any) -> dict[str, float]:
        """Scores of a whole split, by what `answers` gave of it as numpy arrays; "loss" is one of them."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides its result, by names that people know, JSON-able: compared where a run is taken up again."""

    def attach(self, model: PreTrainedModel) -> None:  # noqa: B027 (most need nothing)
        """Called once, with the model that is to be trained; raises InputError where it cannot be, by this."""

    def published(
        self, model: PreTrainedModel, state: dict[str, Tensor] | None
    ) -> tuple[PreTrainedModel, dict[str, Tensor] | None]:
        """The model to be left in the run folder, and its weights where they are not its own."""
        return model, state
