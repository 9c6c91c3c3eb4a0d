"""The interface of all augmentations of training batches."""

from __future__ import annotations

from typing import Any, Protocol

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import Windows


class Augmentation(Protocol):
    """An augmentation: random numbers per window, drawn on the CPU, and a pure function of them.

    Attributes:
        reads_energies: whether it works on log energies (or waveforms) instead of normalized inputs.
        draws_on_host: optional; whether `apply` gets the numbers on the CPU.

    Augmentations that use other windows of the batch have `has_partners = True`; if the result is a mixture of windows,
    also `mixes_windows = True`.
    """

    reads_energies: bool

    def draw(self, lot: Lot) -> Any:
        """A named tuple of arrays `[batch]` or `[batch, many]`, with floats or integers below 2^24."""

    def apply(self, windows: Windows, drawn: Any) -> Windows:
        """The augmented windows; `drawn` is the same tuple as float32 tensors, on the windows' device or the CPU."""
