"""What an extractor is handed: sound of its own sampling rate, one waveform or several, in whatever form.

This file is copied beside published models, so it imports nothing of hf_audio.
"""

from __future__ import annotations

import numpy as np
from transformers.utils import logging

logger = logging.get_logger(__name__)


def check_sampling_rate(given: int | None, expected: int) -> None:
    """Raises ValueError at another sampling rate; warns where none is given."""
    if given is None:
        logger.warning("Pass the waveform's `sampling_rate`: a wrong one makes wrong features without an error.")
    elif given != expected:
        raise ValueError(
            f"This model was trained on sound sampled at {expected} Hz, and this is sampled at {given} Hz: "
            "resample it first."
        )


def as_waveforms(raw_speech, *, may_be_stereo: bool = False) -> list[np.ndarray]:
    """One waveform or several, of numpy, torch or plain numbers, as a list of float32 `[samples]` or `[2, samples]`.

    An array of two dimensions is several waveforms; a stereo one stands in a list.

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
