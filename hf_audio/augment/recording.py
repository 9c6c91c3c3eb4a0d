"""The same sound recorded by another microphone in another room: equalisation and noise, on log energies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from hf_audio.augment.spectrogram import NATURAL_DB, Normalisation, over_bins, over_windows

NUM_NODES = 6  # of an equalisation curve, evenly spaced over the mel axis
LEAST_NOISE_DB = 50.0  # below the sound, where noise is no longer heard
NOISE_TILT_DB = 12.0  # standard deviation of the difference between the noise's highest and lowest bin


class RecordingParameters(NamedTuple):
    """Normal numbers `[batch, nodes]` and `[batch]`, uniform ones in [0, 1) `[batch]`, a seed for the noise itself."""

    nodes: Tensor
    tilt: Tensor
    level: Tensor
    chance: Tensor
    seed: int


@dataclass(frozen=True)
class Recording:
    """Multiplies the spectrum with a smooth curve, and adds noise of another level and colour to some samples.

    Mel energies of a sound and of noise add up; those of noise vary around their mean as an exponential distribution
    does, the power of a complex Gaussian. A model that has heard many microphones does not learn one. The channels of a
    sample get the same curve and the same noise, which lies as far below each channel's own sound.

    Attributes:
        normalisation: of the features, to recognise padding and to give decibels their unit.
        equaliser_db: standard deviation of the curve at each of its nodes; 0 switches it off.
        noise_probability: that a sample gets noise at all; 0 switches it off.
        noise_snr_db: the loudest noise is so far below the sound's mean energy, the quietest LEAST_NOISE_DB below it.
    """

    normalisation: Normalisation
    equaliser_db: float = 0.0
    noise_probability: float = 0.0
    noise_snr_db: float = 5.0

    def draw(self, batch_size: int, generator: torch.Generator) -> RecordingParameters:
        """The random numbers of one batch, from a CPU generator."""
        normal = torch.randn(batch_size, NUM_NODES + 1, generator=generator)
        uniform = torch.rand(2, batch_size, generator=generator)
        seed = int(torch.randint(2**62, (1,), generator=generator))
        return RecordingParameters(normal[:, 1:], normal[:, 0], *uniform, seed)

    def apply(self, features: Tensor, targets: Tensor, drawn: RecordingParameters) -> tuple[Tensor, Tensor]:
        """features `[batch, (channels,) frames, bins]`, padding as it was, and the targets as they came."""
        device, num_bins = features.device, features.shape[-1]
        padding = over_bins(self.normalisation.is_padding(features), features)
        log_energy = self.normalisation.undo(features.float())
        if self.equaliser_db:
            nodes = drawn.nodes.to(device)[:, None] * (self.equaliser_db / NATURAL_DB)
            curve = functional.interpolate(nodes, size=num_bins, mode="linear", align_corners=True)
            log_energy = log_energy + (curve[:, None] if features.ndim == 4 else curve)
        if self.noise_probability:
            log_energy = torch.logaddexp(log_energy, self._noise(log_energy.masked_fill(padding, -torch.inf), drawn))
        return torch.where(padding, features, self.normalisation.apply(log_energy).to(features.dtype)), targets

    def _noise(self, log_energy: Tensor, drawn: RecordingParameters) -> Tensor:
        """Logarithms of the noise's energies, shaped as the sound's, of samples without noise minus infinity."""
        device, (num_frames, num_bins) = log_energy.device, log_energy.shape[-2:]
        real = torch.isfinite(log_energy).sum(dim=(-2, -1), keepdim=True).clamp(min=1)
        sound = log_energy.logsumexp(dim=(-2, -1), keepdim=True) - real.log()
        snr_db = self.noise_snr_db + (LEAST_NOISE_DB - self.noise_snr_db) * drawn.level.to(device)
        is_spared = over_windows(drawn.chance.to(device) >= self.noise_probability, log_energy)
        level = (sound - over_windows(snr_db / NATURAL_DB, log_energy)).masked_fill(is_spared, -torch.inf)
        slope = torch.linspace(-0.5, 0.5, num_bins, device=device) * (NOISE_TILT_DB / NATURAL_DB)
        # numbers for every value are drawn where they are used, from a seed that is the same on all devices
        generator = torch.Generator(device).manual_seed(drawn.seed)
        uniform = torch.rand((len(log_energy), num_frames, num_bins), generator=generator, device=device)
        noise = (slope * drawn.tilt.to(device)[:, None])[:, None] + (-uniform.clamp(1e-4, 1 - 1e-4).log()).log()
        return level + (noise[:, None] if log_energy.ndim == 4 else noise)
