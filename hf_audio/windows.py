"""The one rule by which clips are cut into windows, for building features and for inference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def window_starts(num_frames: int, window_frames: int, hop_frames: int) -> list[int]:
    """First frames of the windows of a clip.

    Windows start at 0, hop, 2 hop ... while they fit. If at least half a hop of frames stays uncovered behind the
    last of them, one more window is laid against the clip's end. A clip not longer than a window is one window, which
    is then shorter: padding it is the reader's business.

    Args:
        num_frames: frames of the clip, at least 1.
        window_frames, hop_frames: length of a window and step between windows, in frames.
    """
    if min(num_frames, window_frames, hop_frames) < 1:
        raise ValueError(f"Frames must be positive: clip {num_frames}, window {window_frames}, hop {hop_frames}")
    if num_frames <= window_frames:
        return [0]
    starts = list(range(0, num_frames - window_frames + 1, hop_frames))
    uncovered = num_frames - (starts[-1] + window_frames)
    if 2 * uncovered >= hop_frames:
        starts.append(num_frames - window_frames)
    return starts


def cut_windows(frames: np.ndarray, window_frames: int, hop_frames: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first frame, frames) of each window of a clip: views of `[frames, ...]` along its first axis."""
    for start in window_starts(len(frames), window_frames, hop_frames):
        yield start, frames[start : start + window_frames]
