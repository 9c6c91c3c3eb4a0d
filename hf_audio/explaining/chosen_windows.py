"""The class that is explained, and the windows of the recording with its highest scores."""

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
class Heard:
    """What a model says of a whole recording.

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
    """A window that is explained.

    Attributes:
        start_s: in the recording.
        sound: float32 `[samples]` or `[2, samples]`, at the model's rate.
        score: of the class.
    """

    start_s: float
    sound: np.ndarray
    score: float


def heard(tagger: Tagger, recording: Recording, settings: TagSettings) -> Heard:
    """Goes through a recording of any length, in flat memory.

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
    return Heard(np.concatenate(starts_s), found, np.array(are_silent), end_s)


def target_of(tagger: Tagger, said: Heard, name: str | None) -> int:
    """The class that is named, or else the one that the model gives the recording the highest score.

    Raises:
        InputError: no class of this name; names the nearest.
    """
    if name is None:
        return int(said.logits.astype(np.float64).mean(axis=0).argmax())
    return place_of(tagger, name)


def place_of(tagger: Tagger, name: str) -> int:
    """The number of a class of the model.

    Raises:
        InputError: it has no class of this name; names the nearest.
    """
    names = tagger.labels.names
    if name not in names:
        raise unknown_name(f"class of {tagger.name}", name, names)
    return names.index(name)


def most_certain(said: Heard, scores: np.ndarray, window_s: float, num_windows: int) -> list[int]:
    """Windows with the highest scores, in order of time: none that is silent, and none that overlaps a higher one.

    Args:
        scores: of the class, `[windows]`.
    """
    chosen: list[int] = []
    for place in np.argsort(-scores, kind="stable"):
        apart = all(abs(said.starts_s[place] - said.starts_s[other]) >= window_s - 1e-6 for other in chosen)
        if apart and not said.are_silent[place]:
            chosen.append(int(place))
        if len(chosen) == num_windows:
            break
    return sorted(chosen)


def chosen_windows(
    tagger: Tagger, recording: Recording, settings: TagSettings, places: list[int], scores: np.ndarray
) -> list[ChosenWindow]:
    """The windows of these numbers, decoded once more.

    Raises:
        InputError: the recording is shorter than it was.
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
