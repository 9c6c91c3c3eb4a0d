"""Augmentation of batches in tests: one step with given numbers, and lengths as the collator gives them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hf_audio.augment import Augmentation, Compose, Normalization
from hf_audio.augment.draws import Draws, Lot


def places(count: int, seed: int = 0, first: int = 0) -> list[tuple[int, int, int]]:
    """Places in the global batch of the first step, starting at `first`."""
    return [(seed, 0, first + window) for window in range(count)]


def all_frames(features: Tensor) -> Tensor:
    """Lengths of windows `[batch, (channels,) frames, bins]` or `[batch, samples]` without padding."""
    return torch.full((len(features),), features.shape[-2] if features.ndim > 2 else features.shape[1])


def augmented(
    step: Augmentation,
    normalization: Normalization | None,
    features: Tensor,
    targets: Tensor | None = None,
    drawn: Any = None,
    num_frames: Tensor | None = None,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """A batch after one step, with numbers that the step draws or given ones (a named tuple)."""
    targets = torch.eye(len(features)) if targets is None else targets
    num_frames = all_frames(features) if num_frames is None else num_frames
    compose = Compose((step,), normalization)
    draws = compose.draw(places(len(features), seed)) if drawn is None else Draws.of([drawn])
    return compose(features, targets, num_frames, draws)


def numbers_of(step: Augmentation, count: int, seed: int = 0) -> Any:
    """The numbers that a step draws for a batch."""
    return step.draw(Lot.at(places(count, seed)))
