"""The rule for cutting clips into windows, in frames or samples, shared by training and prediction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np


def window_starts(num_frames: int, window_frames: int, hop_frames: int) -> list[int]:
    """First frames of the windows of a clip.

    Windows start at 0, hop, 2 hop ... as long as they fit. If at least half a hop of frames remains after the last one,
    a window aligned to the clip's end is added. A clip that is shorter than a window gives one shorter window, which
    readers pad.

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
    """`window_starts` in samples, also for features whose windows are cut in frames.

    Args:
        window, hop: length of a window, and distance of window starts, in samples.
        shortest: minimum length in samples; shorter sounds are padded with silence.
        step: frame hop in samples: windows start at multiples of it, and sounds are cut to `shortest` plus a multiple.
    """

    window: int
    hop: int
    shortest: int = 1
    step: int = 1

    def length(self, num_samples: int) -> int:
        """Length from which windows are cut: `num_samples` padded to the minimum and cut to whole steps.

        At 16 kHz with frames of 400 samples every 160 samples: 160 → 400, 400 → 400, 900 → 880.
        """
        padded = max(num_samples, self.shortest)
        return padded - (padded - self.shortest) % self.step

    def starts(self, num_samples: int) -> list[int]:
        """First samples of the windows of a sound of `num_samples`."""
        return window_starts(self.length(num_samples), self.window, self.hop)

    def cut(self, sound: np.ndarray) -> list[np.ndarray]:
        """The windows of a sound `[..., samples]`: views of it, or of the padded sound."""
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
    """Turns pieces of a sound into stretches that together contain each window of the whole sound exactly once.

    Args:
        pieces: consecutive pieces `[..., samples]`.
        size, hop: length of a window, and distance of window starts, in samples.
        num_windows: windows per stretch, except the last.

    Returns:
        (first sample, `[..., samples]`) of each stretch.
    """
    first, step = 0, num_windows * hop
    held, num_held = [], 0
    for piece in pieces:
        held.append(piece)
        num_held += piece.shape[-1]
        if num_held >= step + size:  # a whole window remains, which the rule for the last window needs
            sound = np.concatenate(held, axis=-1)
            while sound.shape[-1] >= step + size:
                yield first, sound[..., : step - hop + size]
                first, sound = first + step, sound[..., step:]
            held, num_held = [sound], sound.shape[-1]
    yield first, np.concatenate(held, axis=-1) if len(held) > 1 else held[0]
