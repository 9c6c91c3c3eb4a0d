"""Augmentations in a row, and the ones that a recipe's settings ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import ASTFeatureExtractor, FeatureExtractionMixin

from hf_audio.augment.recording import Recording
from hf_audio.augment.spectrogram import Mixup, Normalisation, SpecAugment
from hf_audio.augment.warp import Warp
from hf_audio.config import AugmentConfig
from hf_audio.errors import InputError

FEWEST_WINDOWS_A_MASK = 10  # no time mask is longer than a tenth of the window: short sounds would be gone


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


def augmentation_for(config: AugmentConfig, extractor: FeatureExtractionMixin) -> Compose | None:
    """The augmentation that settings ask for, None when all are off.

    In the order of nature: the sound (its moment, speed, pitch, loudness), the recording of it, its mixture with
    another one, and masks over what came out.

    Raises:
        InputError: augmentation of anything but log-mel features.
    """
    wanted = {name: value for name, value in vars(config).items() if value != getattr(AugmentConfig, name)}
    if not isinstance(extractor, ASTFeatureExtractor):
        if wanted:
            raise InputError(
                f"--{next(iter(wanted))} augments log-mel features (--features fbank), and this run reads others: "
                "leave it out"
            )
        return None
    normalisation = Normalisation.of(extractor)
    steps: list[Augmentation] = []
    moved = (config.time_stretch, config.frequency_scale, config.frequency_shift_bins, config.gain_db)
    if config.time_shift or any(moved):
        steps.append(Warp(normalisation, *moved, time_shift=config.time_shift))
    if config.equaliser_db or config.noise_probability:
        steps.append(Recording(normalisation, config.equaliser_db, config.noise_probability, config.noise_snr_db))
    if config.mixup_alpha > 0:
        steps.append(Mixup(config.mixup_alpha, normalisation, config.mixup_labels, config.mixup_probability))
    time_mask_frames = round(config.time_mask_s * 100)  # frames are 10 ms apart
    time_mask_frames = min(time_mask_frames, extractor.max_length // FEWEST_WINDOWS_A_MASK)
    if time_mask_frames > 0 or config.frequency_mask_bins > 0:
        steps.append(SpecAugment(time_mask_frames, config.frequency_mask_bins, normalisation))
    return Compose(tuple(steps)) if steps else None
