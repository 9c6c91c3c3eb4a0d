"""Random numbers of a batch: each window's own, drawn on the CPU, and copied to the device as one tensor.

What is drawn for a window depends on its place in the run alone: (seed, step, place in the global batch). So a resumed
run draws what an undisturbed one does, on every device, and several processes draw what one does.

Mixing needs partners, and a process has only its own windows to choose from. Partners are therefore chosen within runs
of RUN neighbours of the global batch, which is shuffled: where each process's batch is a multiple of RUN windows,
several processes mix the same windows as one does; where it is not, they mix others.
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
    """What the numbers of a micro-batch are drawn from.

    Attributes:
        randoms: a generator for each window.
        places: int64 `[batch]`, of each window in the global batch.
    """

    randoms: list[np.random.Generator]
    places: np.ndarray

    @classmethod
    def at(cls, places: Sequence[tuple[int, ...]]) -> Lot:
        """Of windows at these places: any numbers that tell windows apart, last the place in the global batch."""
        randoms = [np.random.default_rng(place) for place in places]
        return cls(randoms, np.array([place[-1] for place in places], dtype=np.int64))

    def uniform(self, count: int = 1) -> np.ndarray:
        """Numbers in [0, 1), float64 `[batch, count]`."""
        return np.stack([random.random(count) for random in self.randoms])

    def normal(self, count: int = 1) -> np.ndarray:
        """Standard normal numbers, float64 `[batch, count]`."""
        return np.stack([random.standard_normal(count) for random in self.randoms])

    def partners(self, count: int) -> np.ndarray:
        """For each window `count` others of its run, int64 `[batch, count]`; itself where there are no more.

        Partners are those who come next in a random circle, so that everybody is a partner equally often.
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
    """The numbers of a micro-batch, for each augmentation in turn a named tuple of `[batch]` or `[batch, many]`.

    Attributes:
        numbers: float32 `[batch, columns]`, all of them side by side.
        layout: of each augmentation its named tuple, and how many columns each field has, 0 where it is `[batch]`.
    """

    numbers: Tensor
    layout: tuple[tuple[type, tuple[int, ...]], ...]

    @classmethod
    def of(cls, drawn: Sequence[Any]) -> Draws:
        """Of named tuples of arrays."""
        arrays = [np.asarray(field) for one in drawn for field in one]
        columns = [array.reshape(len(array), -1) for array in arrays]
        layout = [(type(one), tuple(0 if np.ndim(f) == 1 else np.shape(f)[1] for f in one)) for one in drawn]
        return cls(torch.from_numpy(np.concatenate(columns, axis=1).astype(np.float32)), tuple(layout))

    def on(self, device: torch.device) -> list[Any]:
        """The named tuples, of tensors on a device: one copy, which the CPU does not wait for."""
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
        """Those of the first `count` augmentations, and those of the others."""
        columns = sum(width or 1 for _, widths in self.layout[:count] for width in widths)
        first, others = self.numbers[:, :columns], self.numbers[:, columns:]
        return Draws(first, self.layout[:count]), Draws(others, self.layout[count:])
