"""The results of a Predictor, and the checks of a sound given to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError

MAX_RATE = 1_000_000  # Hz; no recorder has a higher rate, and resampling from one would take forever


@dataclass(frozen=True)
class WindowEmbeddings:
    """One vector per window, in the order of the dataset.

    Attributes:
        values: float32 `[windows, size]`.
        clip_ids: clip of each window.
        starts_s: float64 `[windows]`, start of each window in its clip.
    """

    values: np.ndarray
    clip_ids: list[str]
    starts_s: np.ndarray


@dataclass(frozen=True)
class TimedLogits:
    """A model's logits for the windows of a sound.

    Attributes:
        starts_s, ends_s: float64 `[windows]`, start and end of each window; the last can end after a sound that was
            padded.
        logits: float32 `[windows, classes]`.
        labels: the classes.
    """

    starts_s: np.ndarray
    ends_s: np.ndarray
    logits: np.ndarray
    labels: LabelSpace

    @property
    def scores(self) -> np.ndarray:
        """Scores of the whole sound, float64 `[classes]`: sigmoid or softmax of the mean of its windows' logits."""
        return self.labels.probabilities(self.logits.astype(np.float64).mean(axis=0))


def checked_sound(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """A sound as float32 `[channels, samples]`.

    Raises:
        InputError: the samples are integers, empty, not finite or have too many axes, or the sample rate is invalid.
    """
    sound = np.atleast_2d(np.asarray(samples))
    if sound.ndim != 2 or not sound.size or sound.dtype.kind != "f" or not np.isfinite(sound).all():
        raise InputError(
            f"A sound must be finite floats in [-1, 1], [samples] or [channels, samples], found {sound.dtype} of shape "
            f"{np.shape(samples)}: read it with soundfile.read(path, dtype='float32', always_2d=True)[0].T"
        )
    if isinstance(sample_rate, str | bool) or not 0 < sample_rate <= MAX_RATE:
        raise InputError(f"A sample rate must be above 0 Hz and at most {MAX_RATE:,} Hz, found {sample_rate!r}")
    return sound.astype(np.float32, copy=False)
