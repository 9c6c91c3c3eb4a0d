"""FilterAugment: random bands of frequency become louder or quieter, as by other rooms, microphones and distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import NATURAL_DB, Windows
from hf_audio.errors import unknown_name


class _Bands(NamedTuple):
    """How many bands a curve has at least and at most, and how narrow one may be, in bins."""

    fewest: int
    most: int
    narrowest_bins: int


# Those of the authors' code, github.com/frednam93/FilterAugSED, utils/data_aug.py
BANDS = {"linear": _Bands(3, 5, 6), "step": _Bands(2, 4, 4)}


class FilterNumbers(NamedTuple):
    """Of each window: how many bands; where the edges between them lie, `[batch, most - 1]` in ascending order, as
    shares of the bins that the narrowest bands would leave (infinite where there are no more); and natural logarithms
    `[batch, most + 1]`, at the edges of linear curves or of the bands of steps."""

    count: Any
    edges: Any
    levels: Any


@dataclass(frozen=True)
class FilterAugment:
    """Adds a random curve over frequency to the logarithms of energies (Nam et al. 2022, arXiv 2110.03282).

    Each window gets bands of its own. The curve is the same in all frames and channels.

    Attributes:
        most_db: the curve is between so many decibels quieter and louder, each level drawn evenly; 6 in the paper.
        type: "linear": slopes from one edge of a band to the next; "step": one level a band.
    """

    most_db: float
    type: str = "linear"
    reads_energies = True

    def __post_init__(self) -> None:
        if self.type not in BANDS:
            raise unknown_name("filter_augment_type", self.type, BANDS)

    def draw(self, lot: Lot) -> FilterNumbers:
        fewest, most, _ = BANDS[self.type]
        numbers = lot.uniform(1 + (most - 1) + (most + 1))
        count = fewest + np.floor(numbers[:, 0] * (most - fewest + 1))
        is_edge = np.arange(most - 1) < (count - 1)[:, None]
        edges = np.sort(np.where(is_edge, numbers[:, 1:most], np.inf), axis=1)
        return FilterNumbers(count, edges, (2 * numbers[:, most:] - 1) * (self.most_db / NATURAL_DB))

    def apply(self, windows: Windows, drawn: FilterNumbers) -> Windows:
        curve = self.curve(drawn, windows.values.shape[3])
        return windows._replace(values=windows.values + curve[:, None, None])

    def curve(self, drawn: FilterNumbers, num_bins: int) -> Tensor:
        """What is added to each bin, natural logarithms `[batch, bins]`."""
        edges = self._edges(drawn, num_bins)
        bins = torch.arange(num_bins, device=edges.device, dtype=edges.dtype).expand(len(edges), -1).contiguous()
        if self.type == "step":
            return drawn.levels.gather(1, torch.searchsorted(edges, bins, right=True))
        ends = (edges.new_zeros(len(edges), 1), edges, edges.new_full((len(edges), 1), num_bins - 1))
        nodes = torch.cat(ends, dim=1).clamp(max=num_bins - 1)
        right = torch.searchsorted(nodes, bins).clamp(min=1)
        left_bin, right_bin = nodes.gather(1, right - 1), nodes.gather(1, right)
        share = (bins - left_bin) / (right_bin - left_bin).clamp(min=1)
        return torch.lerp(drawn.levels.gather(1, right - 1), drawn.levels.gather(1, right), share)

    def _edges(self, drawn: FilterNumbers, num_bins: int) -> Tensor:
        """First bins of all bands but the lowest, `[batch, most - 1]`, `num_bins` where there are no more."""
        narrowest = (num_bins // drawn.count).clamp(max=BANDS[self.type].narrowest_bins)
        room = num_bins - drawn.count * narrowest + 1
        before = torch.arange(1, drawn.edges.shape[1] + 1, device=drawn.edges.device) * narrowest[:, None]
        return ((drawn.edges * room[:, None]).floor() + before).clamp(max=num_bins)
