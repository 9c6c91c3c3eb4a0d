"""Padding after a short sound: the number of real frames, and means over real frames only.

Batches of a feature dataset contain this number (`num_frames`). The stock pipeline passes only features: in this case,
padding is detected by the extractor's padding value, stored in the config: no sound has it in all bins of a frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE = 4  # times the precision of the features' type, which may differ from the extractor's float32


def known_frames(values: Tensor, padding_value: float | None) -> Tensor | None:
    """The number of frames of each window that are not padding, int64 `[batch]`, at least 1; None if unknown.

    Args:
        values: `[batch, (channels,) frames, bins]`; with two dimensions, nothing is padding.
        padding_value: the value of all bins in padding frames; None if windows are not padded.
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
