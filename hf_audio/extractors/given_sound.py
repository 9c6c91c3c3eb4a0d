"""Checks and converts the input of an extractor: one waveform or several, of any array type, at its sampling rate.

This file is copied to published models, so it does not import hf_audio.
"""

from __future__ import annotations

import numpy as np
from transformers.utils import logging

logger = logging.get_logger(__name__)


def check_sampling_rate(given: int | None, expected: int) -> None:
    """Raises ValueError for a wrong sampling rate; warns if none is given."""
    if given is None:
        logger.warning("Pass the waveform's `sampling_rate`: otherwise, a wrong rate silently gives wrong features.")
    elif given != expected:
        raise ValueError(
            f"This model was trained on audio sampled at {expected} Hz, but this audio is sampled at {given} Hz: "
            "resample it first."
        )


def as_waveforms(raw_speech, *, may_be_stereo: bool = False) -> list[np.ndarray]:
    """One or more waveforms, from NumPy, torch or lists, as a list of float32 `[samples]` or `[2, samples]`.

    A two-dimensional array is treated as several waveforms; pass a stereo waveform in a list.

    Raises:
        ValueError: no samples, or too many channels.
    """
    is_one = raw_speech.ndim < 2 if hasattr(raw_speech, "ndim") else np.ndim(raw_speech[0]) == 0
    waveforms = [np.asarray(waveform, dtype=np.float32) for waveform in ([raw_speech] if is_one else raw_speech)]
    for waveform in waveforms:
        is_stereo = waveform.ndim == 2 and len(waveform) <= 2
        if not waveform.size or not (waveform.ndim == 1 or (may_be_stereo and is_stereo)):
            shapes = ", ".join(str(waveform.shape) for waveform in waveforms)
            raise ValueError(
                f"Expected mono {'or stereo ' if may_be_stereo else ''}waveforms of at least one sample, found arrays "
                f"of shape {shapes}"
            )
    return waveforms
