"""What every augmentation of training batches offers."""

from __future__ import annotations

from typing import Any, Protocol

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import Windows


class Augmentation(Protocol):
    """What every augmentation offers: numbers of each window, drawn on the CPU, and a pure function of them.

    Attributes:
        reads_energies: whether it works on logarithms of energies (or waveforms), not on inputs.
        draws_on_host: optional; whether `apply` is given what was drawn as it lies on the CPU.

    One that mixes windows of a batch says so by `mixes_windows = True`.
    """

    reads_energies: bool

    def draw(self, lot: Lot) -> Any:
        """A named tuple of arrays `[batch]` or `[batch, many]`, of floats or of integers below 2^24."""

    def apply(self, windows: Windows, drawn: Any) -> Windows:
        """The windows, augmented; `drawn` is the same tuple of float32 tensors, on their device or on the CPU."""
