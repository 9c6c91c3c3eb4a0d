"""The results of a Predictor, and the checks of a sound given to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError

HIGHEST_RATE = 1_000_000  # Hz; beyond what any recorder has, a resampler takes forever


@dataclass(frozen=True)
class WindowEmbeddings:
    """One vector a window, in the order of the dataset.

    Attributes:
        values: float32 `[windows, size]`.
        clip_ids: of each window.
        starts_s: float64 `[windows]`, where each window starts in its clip.
    """

    values: np.ndarray
    clip_ids: list[str]
    starts_s: np.ndarray


@dataclass(frozen=True)
class TimedLogits:
    """What a model says of the windows of a sound.

    Attributes:
        starts_s, ends_s: float64 `[windows]`, where each window lies; the last may lie behind the sound's end, where a
            short sound was padded.
        logits: float32 `[windows, classes]`.
        labels: the classes.
    """

    starts_s: np.ndarray
    ends_s: np.ndarray
    logits: np.ndarray
    labels: LabelSpace

    @property
    def scores(self) -> np.ndarray:
        """Of the whole sound, float64 `[classes]`: sigmoid or softmax of the mean of its windows' logits."""
        return self.labels.probabilities(self.logits.astype(np.float64).mean(axis=0))


def checked_sound(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """float32 `[channels, samples]`.

    Raises:
        InputError: whole numbers, nothing, too many axes, numbers that are not finite, or no sample rate.
    """
    sound = np.atleast_2d(np.asarray(samples))
    if sound.ndim != 2 or not sound.size or sound.dtype.kind != "f" or not np.isfinite(sound).all():
        raise InputError(
            f"A sound must be finite floats in [-1, 1], [samples] or [channels, samples], found {sound.dtype} of shape "
            f"{np.shape(samples)}: read it with soundfile.read(path, dtype='float32', always_2d=True)[0].T"
        )
    if isinstance(sample_rate, str | bool) or not 0 < sample_rate <= HIGHEST_RATE:
        raise InputError(f"A sample rate must be above 0 Hz and at most {HIGHEST_RATE:,}, found {sample_rate!r}")
    return sound.astype(np.float32, copy=False)
