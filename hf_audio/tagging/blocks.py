"""Windows of a sound in blocks: as cut from the sound, as inputs of a model, and all of a sound's windows together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import InputError
from hf_audio.tagging.settings import TagSettings
from hf_audio.tagging.sounds import Recording

MAX_PARTS = 32


class Cut(NamedTuple):
    """Consecutive windows of a sound, at the model's sample rate.

    Attributes:
        windows: float32 `[samples]` or `[2, samples]` each, all of one length.
        starts_s: float64 `[windows]`, in the sound.
        end_s: end of the sound decoded so far.
    """

    windows: list[np.ndarray]
    starts_s: np.ndarray
    end_s: float


@dataclass(frozen=True)
class Block:
    """Consecutive windows of a sound, as inputs of the model.

    Attributes:
        inputs: outputs of the extractor, `[windows, ...]` each.
        starts_s: float64 `[windows]`, in the sound.
        end_s: end of the sound decoded so far.
    """

    inputs: dict[str, Tensor]
    starts_s: np.ndarray
    end_s: float


@dataclass(frozen=True)
class Prepared:
    """A complete sound, ready for the model.

    Attributes:
        inputs: inputs of all windows, for `Tagger.logits`: all at once, in parts, or with those of other sounds.
        starts_s: float64 `[windows]`.
        duration_s: duration of the sound.
        recording: the sound.
        settings: how it is tagged.
    """

    inputs: dict[str, Tensor]
    starts_s: np.ndarray
    duration_s: float
    recording: Recording = field(repr=False)
    settings: TagSettings


def append(parts: list[np.ndarray], part: np.ndarray) -> None:
    """Appends an array to a list, and joins the list when it gets long: many small arrays would fragment the memory
    from which inputs of many MB are allocated and freed."""
    parts.append(part)
    if len(parts) >= MAX_PARTS:
        parts[:] = [np.concatenate(parts)]


def joined(inputs: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The inputs of several groups of windows of one shape, concatenated."""
    if len(inputs) == 1:
        return inputs[0]
    return {name: torch.cat([one[name] for one in inputs]) for name in inputs[0]}


def check_finite(values: np.ndarray) -> None:
    """Raises AudioError if a model's output for a sound is not finite, since it yields no score."""
    if not np.isfinite(values).all():
        raise AudioError("the model's outputs are not finite, perhaps because samples are far outside [-1, 1]")


def unreadable(recording: Recording, error: AudioError) -> InputError:
    """The error for a recording that cannot be tagged."""
    return InputError(
        f"{recording.name or 'The sound'} cannot be tagged ({error.reason}): use a wav, flac, mp3 or ogg file; "
        'm4a, webm and the sound of videos need pip install "hf_audio[av]"'
    )
