"""Image augmentation of spectrograms: contrast and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import Windows
from hf_audio.augment.recording import KEYS, uniform_noise


class ImageNumbers(NamedTuple):
    """Per window: the factor of its inputs, the standard deviation of its noise, and the noise's key."""

    factor: Any
    noise: Any
    key: Any


@dataclass(frozen=True)
class ImageChange:
    """Multiplies the inputs of some windows, and adds Gaussian noise to others. A genre classification project did this
    to the images of a third of its windows: half of them with a factor of 0.5 or 1.5, half with noise of 0.1.

    Neither looks like a louder sound or a noisy recording, since inputs are logarithms. The factor changes the contrast
    around the mean of the training data (if features are normalized by it), and the noise is as strong in silence as in
    sound. `Warp` and `Recording` change the sound itself.

    Attributes:
        gain: the factor is 1 - gain or 1 + gain; 0 is off.
        noise: standard deviation, in units of the inputs; 0 is off.
        probability: probability of changing a window; if both are on, one of the two is applied, equally often.
    """

    gain: float = 0.0
    noise: float = 0.0
    probability: float = 0.5
    reads_energies = False

    def draw(self, lot: Lot) -> ImageNumbers:
        chance, which, sign, key = lot.uniform(4).T
        is_changed = chance < self.probability
        gets_gain = is_changed & (which < 0.5 if self.gain and self.noise else bool(self.gain))
        factor = np.where(sign < 0.5, 1 - self.gain, 1 + self.gain)
        return ImageNumbers(
            np.where(gets_gain, factor, 1.0),
            np.where(is_changed & ~gets_gain, self.noise, 0.0),
            np.floor(key * KEYS),
        )

    def apply(self, windows: Windows, drawn: ImageNumbers) -> Windows:
        values = windows.values * drawn.factor.view(-1, 1, 1, 1)
        if self.noise:
            uniform = uniform_noise(drawn.key, values[0].numel()).view_as(values)
            normal = torch.erfinv(2 * uniform.clamp_(1 / KEYS, 1 - 1 / KEYS) - 1) * 2**0.5
            values = values + normal * drawn.noise.view(-1, 1, 1, 1)
        return windows._replace(values=values)
