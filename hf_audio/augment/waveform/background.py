"""Background sounds: rain, traffic, a crowd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.waveform.noise import with_noise
from hf_audio.augment.waveform.sounds import SoundPool
from hf_audio.augment.waveform.speed import one_of
from hf_audio.augment.waveform.step import WaveformStep, between


class BackgroundNumbers(NamedTuple):
    """Per window: whether it is chosen, the signal-to-background ratio in dB, the index of the recording, and the start
    in it, from 0 to 1."""

    chosen: Any
    snr_db: Any
    recording: Any
    share: Any


@dataclass(frozen=True)
class Background(WaveformStep):
    """Adds a stretch of a recording without its labels, since the model should not recognize it.

    Attributes:
        snr_db: ratio of the energies of sound and background.
        sounds: recordings to draw stretches from.
    """

    probability: float
    snr_db: tuple[float, ...]
    sounds: SoundPool
    keeps_level = True

    def draw(self, lot: Lot) -> BackgroundNumbers:
        chosen, snr_db = self.choice(lot), between(lot, self.snr_db)
        return BackgroundNumbers(chosen, snr_db, one_of(lot, self.sounds.num_recordings), lot.uniform()[:, 0])

    def changed(self, values: Tensor, num_frames: Tensor, drawn: BackgroundNumbers) -> tuple[Tensor, Tensor]:
        stretch = self.sounds.looped(drawn.recording, drawn.share, values.shape[1], values.device)
        return with_noise(values, stretch, drawn.snr_db, num_frames), num_frames
