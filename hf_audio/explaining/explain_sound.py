"""Explanation from Python in one call."""

from __future__ import annotations

import os
from typing import Any

from hf_audio.data.recordings.reasons import AudioError
from hf_audio.explaining import explanations
from hf_audio.explaining.explanations import Explanation
from hf_audio.explaining.settings import ExplainSettings
from hf_audio.tagging.blocks import unreadable
from hf_audio.tagging.sounds import recording_of
from hf_audio.tagging.tagger import Tagger


def explain(tagger: Tagger, sound: Any, sample_rate: int | None = None, **settings: Any) -> Explanation:
    """Explains why a model predicts a class: relevance over time and frequency, which a notebook shows as a plot.

        hf_audio.explain(hf_audio.load("runs/mine"), "song.wav", target="violin", methods=["grad_cam"])

    Args:
        tagger: from `hf_audio.load`.
        sound, sample_rate: as for the tagger.
        settings: fields of `ExplainSettings`: target, methods, num_windows, has_checks ...

    Raises:
        InputError: a sound that cannot be read, or a class, method or setting that the model does not have.
    """
    if isinstance(settings.get("methods"), str):
        settings["methods"] = (settings["methods"],)
    elif settings.get("methods") is not None:
        settings["methods"] = tuple(settings["methods"])
    recording = recording_of(sound, sample_rate)
    name = os.path.basename(recording.name) or "the sound"
    try:
        return explanations.explain(tagger, recording, name, ExplainSettings(**settings))
    except AudioError as error:
        raise unreadable(recording, error) from error
