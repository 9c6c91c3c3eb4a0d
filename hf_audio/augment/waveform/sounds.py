"""A pool of recordings on the device, from which stretches are drawn for windows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

FULL_SCALE = 32767  # 16 bits take half the memory of float32


@dataclass(frozen=True)
class SoundPool:
    """Concatenated recordings, each scaled to the full range of 16 bits.

    Its `repr` has name, license and a digest of the content, but no paths: it is written to the report, and compared
    when a run is resumed.

    Attributes:
        name, license: name and license of the corpus or folder.
        num_recordings, seconds: number of recordings, and their total length.
        digest: digest of all samples.
        starts, lengths: start and length of each recording in `samples`, int64 `[recordings]`.
        samples: all samples, int16.
    """

    name: str
    license: str
    num_recordings: int
    seconds: float
    digest: str
    starts: Tensor = field(repr=False, compare=False)
    lengths: Tensor = field(repr=False, compare=False)
    samples: Tensor = field(repr=False, compare=False)
    _copies: dict[torch.device, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, name: str, sounds: Sequence[np.ndarray], sample_rate: int, license: str = "") -> SoundPool:
        """Creates a pool from sounds `[samples]`, none of which is silent."""
        levels = [np.rint(sound * (FULL_SCALE / np.abs(sound).max())).astype(np.int16) for sound in sounds]
        lengths = np.array([len(sound) for sound in sounds])
        samples = np.concatenate(levels)
        digest = hashlib.sha256(samples.tobytes() + lengths.tobytes()).hexdigest()[:16]
        starts = torch.from_numpy(np.cumsum(lengths) - lengths)
        seconds = round(len(samples) / sample_rate, 1)
        return cls(
            *(name, license, len(sounds), seconds, digest),
            *(starts, torch.from_numpy(lengths), torch.from_numpy(samples)),
        )

    def looped(self, numbers: Tensor, shares: Tensor, num_samples: int, device: torch.device) -> Tensor:
        """A stretch of a recording per window, looped if the recording ends, `[windows, num_samples]`.

        Args:
            numbers: indices of recordings `[windows]`, on the CPU.
            shares: starts of the stretches in the recordings, from 0 to 1.
        """
        starts, lengths = self._places(numbers, device)
        first = (shares.double().to(device, non_blocking=True)[:, None] * lengths).long()
        places = (first + torch.arange(num_samples, device=device)) % lengths
        return self._on(device)[starts + places] / FULL_SCALE

    def whole(self, numbers: Tensor, device: torch.device) -> Tensor:
        """Complete recordings, padded with silence to the length of the longest of all, `[windows, samples]`."""
        starts, lengths = self._places(numbers, device)
        places = torch.arange(int(self.lengths.max()), device=device)
        found = self._on(device)[starts + torch.minimum(places, lengths - 1)] / FULL_SCALE
        return found.masked_fill(places >= lengths, 0.0)

    def _places(self, numbers: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        places = torch.stack([self.starts, self.lengths])[:, numbers.long()].to(device, non_blocking=True)
        return places[0, :, None], places[1, :, None]

    def _on(self, device: torch.device) -> Tensor:
        """All samples, copied to a device once."""
        if device not in self._copies:
            self._copies[device] = self.samples.to(device)
        return self._copies[device]
