"""Augmentations in a row, and the ones that a recipe's settings ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import ASTFeatureExtractor

from hf_audio.augment.spectrogram import Mixup, Normalisation, SpecAugment
from hf_audio.config import AugmentConfig


class Augmentation(Protocol):
    """What every augmentation offers: random numbers from a CPU generator, and a pure function of them."""

    def draw(self, batch_size: int, generator: torch.Generator) -> Any: ...

    def apply(self, features: Tensor, targets: Tensor, drawn: Any) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Compose:
    """Applies augmentations one after another.

    Its `repr` names every parameter, so that a run can tell whether it is resumed with the same ones.
    """

    steps: tuple[Augmentation, ...]

    def draw(self, batch_size: int, generator: torch.Generator) -> list[Any]:
        """The random numbers of each step."""
        return [step.draw(batch_size, generator) for step in self.steps]

    def apply(self, features: Tensor, targets: Tensor, drawn: list[Any]) -> tuple[Tensor, Tensor]:
        """(features `[batch, frames, bins]`, targets `[batch, classes]`) -> the same, augmented."""
        for step, numbers in zip(self.steps, drawn, strict=True):
            features, targets = step.apply(features, targets, numbers)
        return features, targets

    def __call__(self, features: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws and applies; the generator's state alone decides what happens."""
        return self.apply(features, targets, self.draw(len(features), generator))


def augmentation_for(config: AugmentConfig, extractor: ASTFeatureExtractor) -> Compose | None:
    """The augmentation that settings ask for, None when all are off: mixup first, then masks over what it made."""
    normalisation = Normalisation.of(extractor)
    steps: list[Augmentation] = []
    if config.mixup_alpha > 0:
        steps.append(Mixup(config.mixup_alpha, normalisation, config.mixup_labels, config.mixup_probability))
    time_mask_frames = round(config.time_mask_s * 100)  # frames are 10 ms apart
    if time_mask_frames > 0 or config.frequency_mask_bins > 0:
        steps.append(SpecAugment(time_mask_frames, config.frequency_mask_bins, normalisation))
    return Compose(tuple(steps)) if steps else None
