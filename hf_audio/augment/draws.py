"""Random numbers for a batch: separate for each window, drawn on the CPU, and copied to the device as one tensor.

The numbers of a window depend only on its place in the run: (seed, step, place in the global batch). So they are the
same in a resumed run, on every device, and for any number of processes.

Mixing needs partners, but a process can only choose among its own windows. So partners are chosen within groups of RUN
consecutive windows of the global batch, which is shuffled: if each process's batch is a multiple of RUN windows,
several processes mix the same windows as one process; otherwise they mix different ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

RUN = 8


class Lot(NamedTuple):
    """Draws the random numbers of a micro-batch.

    Attributes:
        randoms: a generator per window.
        places: int64 `[batch]`, the place of each window in the global batch.
    """

    randoms: list[np.random.Generator]
    places: np.ndarray

    @classmethod
    def at(cls, places: Sequence[tuple[int, ...]]) -> Lot:
        """For windows at these places: tuples of numbers that identify a window, ending with its place in the batch."""
        randoms = [np.random.default_rng(place) for place in places]
        return cls(randoms, np.array([place[-1] for place in places], dtype=np.int64))

    def uniform(self, count: int = 1) -> np.ndarray:
        """Numbers in [0, 1), float64 `[batch, count]`."""
        return np.stack([random.random(count) for random in self.randoms])

    def happens(self, probability: float) -> np.ndarray:
        """Whether an event of this probability happens to each window, bool `[batch, 1]`; if certain, no number is
        drawn."""
        return np.ones((len(self.randoms), 1), dtype=bool) if probability == 1 else self.uniform() < probability

    def normal(self, count: int = 1) -> np.ndarray:
        """Standard normal numbers, float64 `[batch, count]`."""
        return np.stack([random.standard_normal(count) for random in self.randoms])

    def partners(self, count: int) -> np.ndarray:
        """`count` partners of each window in its group, int64 `[batch, count]`; the window itself if there are too few.

        Partners are the next windows in a random cycle, so that all windows are partners equally often.
        """
        runs, keys = self.places // max(RUN, count + 1), self.uniform()[:, 0]
        found = np.repeat(np.arange(len(keys))[:, None], count, axis=1)
        for run in np.unique(runs):
            members = np.flatnonzero(runs == run)
            circle = members[np.argsort(keys[members], kind="stable")]
            for step in range(1, min(count, len(circle) - 1) + 1):
                found[circle, step - 1] = np.roll(circle, -step)
        return found


@dataclass(frozen=True)
class Draws:
    """The numbers of a micro-batch: for each augmentation, a named tuple with fields `[batch]` or `[batch, many]`.

    Attributes:
        numbers: float32 `[batch, columns]`, all numbers in one tensor.
        layout: the named tuple of each augmentation, and the number of columns per field, 0 for `[batch]`.
    """

    numbers: Tensor
    layout: tuple[tuple[type, tuple[int, ...]], ...]

    @classmethod
    def of(cls, drawn: Sequence[Any]) -> Draws:
        """From named tuples of arrays."""
        arrays = [np.asarray(field) for one in drawn for field in one]
        columns = [array.reshape(len(array), -1) for array in arrays]
        layout = [(type(one), tuple(0 if np.ndim(f) == 1 else np.shape(f)[1] for f in one)) for one in drawn]
        return cls(torch.from_numpy(np.concatenate(columns, axis=1).astype(np.float32)), tuple(layout))

    def on(self, device: torch.device) -> list[Any]:
        """The named tuples with tensors on a device: one copy, which the CPU does not wait for."""
        numbers = self.numbers.pin_memory() if device.type == "cuda" else self.numbers
        numbers = numbers.to(device, non_blocking=True)
        found, first = [], 0
        for kind, widths in self.layout:
            fields = []
            for width in widths:
                fields.append(numbers[:, first : first + width] if width else numbers[:, first])
                first += width or 1
            found.append(kind(*fields))
        return found

    def split(self, count: int) -> tuple[Draws, Draws]:
        """The numbers of the first `count` augmentations, and those of the others."""
        columns = sum(width or 1 for _, widths in self.layout[:count] for width in widths)
        first, others = self.numbers[:, :columns], self.numbers[:, columns:]
        return Draws(first, self.layout[:count]), Draws(others, self.layout[count:])
