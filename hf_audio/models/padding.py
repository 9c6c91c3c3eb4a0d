"""Padding behind a short sound: how many frames are real, and means over those alone.

Batches of a feature dataset say it (`num_frames`). The stock pipeline gives features alone; then it is the value that
the extractor pads with, which stands in the config: no sound has it in every bin of a frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE = 4  # times the precision of the features' type, which may be another than the extractor's float32


def known_frames(values: Tensor, padding_value: float | None) -> Tensor | None:
    """How many frames of each window are not padding, int64 `[batch]`, at least one; None where nothing says it.

    Args:
        values: `[batch, (channels,) frames, bins]`; of two dimensions nothing is padding.
        padding_value: what all bins of the frames behind a sound have; None where windows are not padded.
    """
    if padding_value is None or values.ndim < 3:
        return None
    tolerance = TOLERANCE * torch.finfo(values.dtype).eps * max(1.0, abs(padding_value))
    is_sound = ((values - padding_value).abs() > tolerance).any(dim=-1)
    if values.ndim == 4:
        is_sound = is_sound.any(dim=1)
    numbers = torch.arange(1, is_sound.shape[1] + 1, device=values.device)
    return (is_sound * numbers).amax(dim=1).clamp(min=1)


def are_real(num_frames: Tensor, size: int) -> Tensor:
    """Bool `[batch, size]`: which of `size` frames are not padding."""
    return torch.arange(size, device=num_frames.device) < num_frames[:, None]


def mean_over_frames(frames: Tensor, is_real: Tensor | None) -> Tensor:
    """`[batch, frames, size]` -> `[batch, size]`, over the frames where `is_real` `[batch, frames]` is not 0."""
    if is_real is None:
        return frames.mean(dim=1)
    weights = is_real.float()[:, :, None]
    return ((frames * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)).to(frames.dtype)
