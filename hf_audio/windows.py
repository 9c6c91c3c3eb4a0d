"""The one rule by which clips are cut into windows, for building features and for inference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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


def stretches(pieces: Iterable[np.ndarray], size: int, hop: int, num_windows: int) -> Iterator[tuple[int, np.ndarray]]:
    """A sound in pieces → stretches that together have the windows of the whole, and none of them twice.

    Args:
        pieces: `[..., samples]`, one behind the other.
        size, hop: samples of a window, and from one to the next.
        num_windows: of each stretch but the last.

    Returns:
        (first sample, `[..., samples]`) of each.
    """
    first, step = 0, num_windows * hop
    held, num_held = [], 0
    for piece in pieces:
        held.append(piece)
        num_held += piece.shape[-1]
        if num_held >= step + size:  # a whole window is left, so the rule for the last one finds what it needs
            sound = np.concatenate(held, axis=-1)
            while sound.shape[-1] >= step + size:
                yield first, sound[..., : step - hop + size]
                first, sound = first + step, sound[..., step:]
            held, num_held = [sound], sound.shape[-1]
    yield first, np.concatenate(held, axis=-1) if len(held) > 1 else held[0]
