"""A few seconds of sound for tests of spectrograms."""

from __future__ import annotations

import numpy as np

RATE = 22_050


def music(seconds: float = 3.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A new chord every half second, in noise 40 dB below it."""
    time_s = np.arange(round(seconds * rate)) / rate
    chord = sum(np.sin(2 * np.pi * hz * time_s) for hz in (220.0, 277.2, 329.6)) * np.exp(-8 * (time_s % 0.5))
    return (0.2 * chord + 0.004 * np.random.default_rng(seed).standard_normal(len(time_s))).astype(np.float32)


def stereo_music(seconds: float = 3.0) -> np.ndarray:
    """A chord on the left, a tone on the right: float32 `[2, samples]`."""
    tone = np.sin(2 * np.pi * 3000 * np.arange(round(seconds * RATE)) / RATE)
    return np.stack([music(seconds), 0.1 * tone + 0.3 * music(seconds, seed=1)]).astype(np.float32)
