"""The same sound in another room."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.recording import uniform_noise
from hf_audio.augment.waveform.convolving import convolved
from hf_audio.augment.waveform.sounds import SoundPool
from hf_audio.augment.waveform.speed import one_of
from hf_audio.augment.waveform.step import WaveformStep, between, column, keys, sent

FIRST_REFLECTION_S = 0.0025  # from a wall nearly half a meter behind the source or the microphone


class RoomNumbers(NamedTuple):
    """Per window: whether it is chosen, the room's reverberation time, the direct-to-reverberant ratio in dB, and the
    key of its reflections."""

    chosen: Any
    rt60_s: Any
    direct_db: Any
    key: Any


class ResponseNumbers(NamedTuple):
    """Per window: whether it is chosen, and the index of its impulse response."""

    chosen: Any
    response: Any


@dataclass(frozen=True)
class SyntheticReverb(WaveformStep):
    """Synthetic rooms: direct sound, followed by exponentially decaying noise.

    Attributes:
        rt60_s: seconds until reflections have decayed by 60 dB.
        direct_db: ratio of the energies of direct sound and all reflections.
        sample_rate: sample rate in Hz.
    """

    probability: float
    rt60_s: tuple[float, ...]
    direct_db: tuple[float, ...]
    sample_rate: int
    keeps_level = True

    def draw(self, lot: Lot) -> RoomNumbers:
        return RoomNumbers(self.choice(lot), between(lot, self.rt60_s), between(lot, self.direct_db), keys(lot))

    def changed(self, values: Tensor, num_frames: Tensor, drawn: RoomNumbers) -> tuple[Tensor, Tensor]:
        return convolved(values, self.responses(drawn, values)), num_frames

    def responses(self, drawn: RoomNumbers, like: Tensor) -> Tensor:
        """The rooms' impulse responses, `[windows, taps]`."""
        num_taps = math.ceil(self.rt60_s[1] * self.sample_rate)
        seconds = torch.arange(num_taps, device=like.device) / self.sample_rate
        reflections = uniform_noise(sent(drawn.key, like), num_taps).sub_(0.5)
        reflections *= 10 ** (-3 * seconds / column(drawn.rt60_s, like)) * (seconds >= FIRST_REFLECTION_S)
        energy = reflections.square().sum(dim=1, keepdim=True)
        responses = reflections * (10 ** (-column(drawn.direct_db, like) / 10) / energy).sqrt()
        responses[:, 0] = 1.0
        return responses


@dataclass(frozen=True)
class RecordedReverb(WaveformStep):
    """Rooms from recorded impulse responses, each of which starts with its direct sound.

    Attributes:
        rooms: the impulse responses.
    """

    probability: float
    rooms: SoundPool
    keeps_level = True

    def draw(self, lot: Lot) -> ResponseNumbers:
        return ResponseNumbers(self.choice(lot), one_of(lot, self.rooms.num_recordings))

    def changed(self, values: Tensor, num_frames: Tensor, drawn: ResponseNumbers) -> tuple[Tensor, Tensor]:
        return convolved(values, self.rooms.whole(drawn.response, values.device)), num_frames
