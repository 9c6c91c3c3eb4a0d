"""From window logits to clip scores: the only place where the windows of a clip are averaged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hf_audio.errors import InputError


@dataclass(frozen=True)
class ClipScores:
    """A model's scores per clip, with the targets.

    Attributes:
        clip_keys: int64 `[clips]`, the stable hash of each clip's id.
        logits: float64 `[clips, classes]`, mean over the clip's windows.
        targets: float32 `[clips, classes]`, one-hot or multi-hot, NaN where unknown.
    """

    clip_keys: np.ndarray
    logits: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.clip_keys)


@dataclass(frozen=True)
class WindowScores:
    """A model's scores per window, with the targets, in the order of the dataset.

    Attributes:
        clip_ids, groups: strings `[windows]`.
        clip_keys: int64 `[windows]`, the stable hash of each clip's id.
        starts_s: float64 `[windows]`, the start of each window in its file.
        logits: float32 `[windows, classes]`.
        targets: float32 `[windows, classes]`, NaN where unknown.
    """

    clip_ids: np.ndarray
    groups: np.ndarray
    clip_keys: np.ndarray
    starts_s: np.ndarray
    logits: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.logits)

    def clips(self) -> ClipScores:
        """The mean over the windows of each clip."""
        return average_per_clip(self.logits, self.targets, self.clip_keys)


def average_per_clip(window_logits: np.ndarray, window_targets: np.ndarray, clip_keys: np.ndarray) -> ClipScores:
    """Mean logits over the windows of each clip, with clips in order of first appearance.

    The windows of a clip need not be adjacent: several processes may have interleaved them.

    Args:
        window_logits: float `[windows, classes]`.
        window_targets: float `[windows, classes]`; the windows of one clip share its targets.
        clip_keys: int64 `[windows]`.

    Raises:
        InputError: lengths differ, or windows of one clip have different targets.
    """
    window_logits = np.asarray(window_logits, dtype=np.float64)
    window_targets = np.asarray(window_targets, dtype=np.float32)
    clip_keys = np.asarray(clip_keys, dtype=np.int64).reshape(-1)
    if not len(window_logits) == len(window_targets) == len(clip_keys):
        raise InputError(
            f"Found {len(window_logits)} window logits, {len(window_targets)} targets and {len(clip_keys)} clip keys; "
            "there must be one of each per window"
        )
    keys, first, clip_of_window = np.unique(clip_keys, return_index=True, return_inverse=True)
    clip_of_window = clip_of_window.reshape(-1)
    if not np.array_equal(window_targets, window_targets[first][clip_of_window], equal_nan=True):
        raise InputError("Windows of one clip have different labels, or two clip ids collide: rebuild the features")
    order = np.argsort(first)
    logits = mean_of_clips(window_logits, clip_of_window, len(keys))
    return ClipScores(keys[order], logits[order], window_targets[first[order]])


def mean_of_clips(values: np.ndarray, clip_of_window: np.ndarray, num_clips: int) -> np.ndarray:
    """Mean over the windows of each clip, float64 `[clips, numbers]`; NaN for clips without windows."""
    sums = np.zeros((num_clips, values.shape[1]))
    np.add.at(sums, clip_of_window, values)
    counts = np.bincount(clip_of_window, minlength=num_clips)[:, None]
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
