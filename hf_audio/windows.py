"""The one rule for cutting clips into windows, in frames or samples, for training and prediction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

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


class SampleWindows(NamedTuple):
    """`window_starts` in samples, for features whose windows are cut from frames too.

    Args:
        window, hop: samples of a window, and from one to the next.
        shortest: samples of the shortest sound; what is shorter is padded with silence to it.
        step: windows start on multiples of it and a sound ends on one behind `shortest`, as frames do.
    """

    window: int
    hop: int
    shortest: int = 1
    step: int = 1

    def length(self, num_samples: int) -> int:
        """Samples of a sound that windows are cut from: of `num_samples`, padded to the shortest and cut to the step.

        Of a sound of 16 kHz and frames of 400 samples every 160: 160 → 400, 400 → 400, 900 → 880.
        """
        padded = max(num_samples, self.shortest)
        return padded - (padded - self.shortest) % self.step

    def starts(self, num_samples: int) -> list[int]:
        """First samples of the windows of a sound of `num_samples`."""
        return window_starts(self.length(num_samples), self.window, self.hop)

    def cut(self, sound: np.ndarray) -> list[np.ndarray]:
        """The windows of a sound `[..., samples]`: views of it, or of what it is padded to."""
        num_samples = sound.shape[-1]
        if num_samples < self.shortest:
            widths = [(0, 0)] * (sound.ndim - 1) + [(0, self.shortest - num_samples)]
            sound = np.pad(sound, widths)
        sound = sound[..., : self.length(num_samples)]
        return [sound[..., start : start + self.window] for start in self.starts(num_samples)]


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
