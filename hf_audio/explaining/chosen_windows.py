"""The class to explain, and the windows of the recording with its highest scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hf_audio.data.recordings.audio import SILENT_PEAK
from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import InputError, unknown_name
from hf_audio.tagging.blocks import check_finite
from hf_audio.tagging.settings import TagSettings
from hf_audio.tagging.sounds import Recording
from hf_audio.tagging.tagger import Tagger


@dataclass(frozen=True)
class ModelOutput:
    """A model's output for a whole recording.

    Attributes:
        starts_s: float64 `[windows]`.
        logits: float32 `[windows, classes]`.
        are_silent: bool `[windows]`.
        duration_s: of the recording.
    """

    starts_s: np.ndarray
    logits: np.ndarray
    are_silent: np.ndarray
    duration_s: float


@dataclass(frozen=True)
class ChosenWindow:
    """A window to explain.

    Attributes:
        start_s: start in the recording.
        sound: float32 `[samples]` or `[2, samples]`, at the model's rate.
        score: score of the class.
    """

    start_s: float
    sound: np.ndarray
    score: float


def model_output(tagger: Tagger, recording: Recording, settings: TagSettings) -> ModelOutput:
    """Runs the model on a recording of any length, in constant memory.

    Raises:
        AudioError: it cannot be decoded, or is silent.
    """
    starts_s, logits, are_silent, end_s = [], [], [], 0.0
    for cut in tagger.cuts(recording, settings):
        starts_s.append(cut.starts_s)
        logits.append(tagger.logits(tagger.predictor.inputs(cut.windows)))
        are_silent += [float(np.abs(window).max()) < SILENT_PEAK for window in cut.windows]
        end_s = cut.end_s
    if all(are_silent):
        raise AudioError("silent")
    found = np.concatenate(logits)
    check_finite(found)
    return ModelOutput(np.concatenate(starts_s), found, np.array(are_silent), end_s)


def target_of(tagger: Tagger, output: ModelOutput, name: str | None) -> int:
    """The number of the named class or, without a name, of the class with the highest score for the recording.

    Raises:
        InputError: there is no class with this name; the message suggests the nearest.
    """
    if name is None:
        return int(output.logits.astype(np.float64).mean(axis=0).argmax())
    return place_of(tagger, name)


def place_of(tagger: Tagger, name: str) -> int:
    """The number of a class of the model.

    Raises:
        InputError: it has no class with this name; the message suggests the nearest.
    """
    names = tagger.labels.names
    if name not in names:
        raise unknown_name(f"class of {tagger.name}", name, names)
    return names.index(name)


def most_certain(output: ModelOutput, scores: np.ndarray, window_s: float, num_windows: int) -> list[int]:
    """The windows with the highest scores, in order of time, without silent ones and those that overlap a higher one.

    Args:
        scores: scores of the class, `[windows]`.
    """
    chosen: list[int] = []
    for place in np.argsort(-scores, kind="stable"):
        apart = all(abs(output.starts_s[place] - output.starts_s[other]) >= window_s - 1e-6 for other in chosen)
        if apart and not output.are_silent[place]:
            chosen.append(int(place))
        if len(chosen) == num_windows:
            break
    return sorted(chosen)


def chosen_windows(
    tagger: Tagger, recording: Recording, settings: TagSettings, places: list[int], scores: np.ndarray
) -> list[ChosenWindow]:
    """Decodes the windows with these numbers again.

    Raises:
        InputError: the recording has become shorter.
    """
    found, first, wanted = [], 0, set(places)
    for cut in tagger.cuts(recording, settings):
        for number, (start_s, sound) in enumerate(zip(cut.starts_s, cut.windows, strict=True), start=first):
            if number in wanted:
                found.append(ChosenWindow(float(start_s), np.array(sound), float(scores[number])))
        first += len(cut.windows)
        if first > max(wanted):
            return found
    raise InputError(f"{recording.name} became shorter while it was read: try again when no program writes to it")
