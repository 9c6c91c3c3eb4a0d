"""The same sound recorded by another microphone in another room: equalization and noise, on log energies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import NATURAL_DB, Windows, change_some
from hf_audio.config.augment import MAX_NOISE_SNR_DB

NUM_NODES = 6  # in an equalization curve, evenly spaced over the mel axis
NOISE_TILT_DB = 12.0  # standard deviation of the difference between the noise's highest and lowest bin
KEYS = 1 << 24  # float32 represents integers exactly up to this


class RecordingNumbers(NamedTuple):
    """Per window: the curve at its nodes and the noise's tilt from the lowest to the highest bin, as natural
    logarithms; the level of the noise below the sound, infinite for no noise; and the noise's key."""

    nodes: Any
    tilt: Any
    drop: Any
    key: Any


@dataclass(frozen=True)
class Recording:
    """Multiplies the spectrum by a smooth curve, and adds noise of random level and color to some windows.

    Mel energies of sound and noise add up. Those of noise are exponentially distributed, like the power of a complex
    Gaussian. A model trained on many microphones does not learn a particular one. All channels of a window get the same
    curve and the same noise, at the same signal-to-noise ratio for each channel.

    Attributes:
        equalizer_db: standard deviation of the curve at each node; 0 is off.
        noise_probability: probability of adding noise to a window; 0 is off.
        noise_snr_db: minimum signal-to-noise ratio; the maximum is MAX_NOISE_SNR_DB.
    """

    equalizer_db: float = 0.0
    noise_probability: float = 0.0
    noise_snr_db: float = 5.0
    reads_energies = True

    def draw(self, lot: Lot) -> RecordingNumbers:
        normal, (level, chance, key) = lot.normal(NUM_NODES + 1), lot.uniform(3).T
        drop_db = self.noise_snr_db + (MAX_NOISE_SNR_DB - self.noise_snr_db) * level
        return RecordingNumbers(
            normal[:, 1:] * (self.equalizer_db / NATURAL_DB),
            normal[:, 0] * (NOISE_TILT_DB / NATURAL_DB),
            np.where(chance < self.noise_probability, drop_db / NATURAL_DB, np.inf),
            np.floor(key * KEYS),
        )

    def apply(self, windows: Windows, drawn: RecordingNumbers) -> Windows:
        if self.equalizer_db:
            bins = windows.values.shape[3]
            curve = functional.interpolate(drawn.nodes[:, None], bins, mode="linear", align_corners=True)
            windows = windows._replace(values=windows.values + curve[:, None])
        if self.noise_probability:
            windows = windows._replace(values=change_some(drawn.drop.isfinite(), _noisy, windows, drawn))
        return windows


def _noisy(windows: Windows, drawn: RecordingNumbers) -> Tensor:
    """The values of windows with added noise."""
    level = _sound_level(windows.values, windows.num_frames) - drawn.drop.view(-1, 1, 1, 1)
    noise = _noise(drawn, windows.values) + level.masked_fill(windows.padding(), -torch.inf)
    return torch.logaddexp(windows.values, noise)


def _sound_level(values: Tensor, num_frames: Tensor) -> Tensor:
    """Natural logarithm of the mean energy of each window's channels, `[batch, channels, 1, 1]`."""
    count = (num_frames.clamp(min=1) * values.shape[3]).log()
    return values.logsumexp(dim=(2, 3), keepdim=True) - count.view(-1, 1, 1, 1)


def _noise(drawn: RecordingNumbers, values: Tensor) -> Tensor:
    """Log energies of noise with a mean of 1 and a tilt, `[batch, 1, frames, bins]`."""
    slope = torch.linspace(-0.5, 0.5, values.shape[3], device=values.device)
    uniform = uniform_noise(drawn.key, values.shape[2] * values.shape[3]).unflatten(1, values.shape[2:])
    exponential = uniform.clamp_(1e-4, 1 - 1e-4).log_().neg_().log_()
    return exponential.add_(slope * drawn.tilt[:, None, None])[:, None]


def uniform_noise(keys: Tensor, count: int) -> Tensor:
    """Numbers in (0, 1) for each key, float32 `[keys, count]`: the same on every device, independent of other keys.

    Place and key are hashed with 32-bit integers, as in lowbias32 (C. Wellons, github.com/skeeto/hash-prospector); a
    generator would have to be seeded again for each window.

    Args:
        keys: integers from 0 to 2^24, of any type.
    """
    places = torch.arange(count, dtype=torch.int32, device=keys.device) * -1640531527  # 2^32 over the golden ratio
    mixed = places + (keys.to(torch.int32) * 741103597)[:, None]
    mixed ^= mixed >> 16
    mixed *= 0x7FEB352D
    mixed ^= mixed >> 15
    mixed *= 0x846CA68B - (1 << 32)
    found = (mixed >> 8).bitwise_and_(KEYS - 1).to(torch.float32).add_(0.5).div_(KEYS)
    return found.clamp_(max=1 - 1 / KEYS)  # the largest would be rounded to 1, for which normal noise is infinite
