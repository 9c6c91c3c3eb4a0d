"""FilterAugment: random gains of frequency bands, as in other rooms and with other microphones and distances."""

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
    """Minimum and maximum number of bands, and the minimum width of a band in bins."""

    minimum: int
    maximum: int
    min_width_bins: int


# Values of the authors' code, github.com/frednam93/FilterAugSED, utils/data_aug.py
BANDS = {"linear": _Bands(3, 5, 6), "step": _Bands(2, 4, 4)}


class FilterNumbers(NamedTuple):
    """Per window: the number of bands; the edges between them, `[batch, maximum - 1]` in ascending order, as shares of
    the bins that bands of minimum width would leave (infinite for unused edges); and natural logarithms of gains
    `[batch, maximum + 1]`, at the edges of linear curves or for the bands of steps."""

    count: Any
    edges: Any
    levels: Any


@dataclass(frozen=True)
class FilterAugment:
    """Adds a random curve over frequency to log energies (Nam et al. 2022, arXiv 2110.03282).

    Each window gets its own bands. The curve is the same in all frames and channels.

    Attributes:
        most_db: maximum gain or attenuation in decibels, drawn uniformly; 6 in the paper.
        type: "linear": linear between the edges of bands; "step": one gain per band.
    """

    most_db: float
    type: str = "linear"
    reads_energies = True

    def __post_init__(self) -> None:
        if self.type not in BANDS:
            raise unknown_name("filter_augment_type", self.type, BANDS)

    def draw(self, lot: Lot) -> FilterNumbers:
        minimum, maximum, _ = BANDS[self.type]
        numbers = lot.uniform(1 + (maximum - 1) + (maximum + 1))
        count = minimum + np.floor(numbers[:, 0] * (maximum - minimum + 1))
        is_edge = np.arange(maximum - 1) < (count - 1)[:, None]
        edges = np.sort(np.where(is_edge, numbers[:, 1:maximum], np.inf), axis=1)
        return FilterNumbers(count, edges, (2 * numbers[:, maximum:] - 1) * (self.most_db / NATURAL_DB))

    def apply(self, windows: Windows, drawn: FilterNumbers) -> Windows:
        curve = self.curve(drawn, windows.values.shape[3])
        return windows._replace(values=windows.values + curve[:, None, None])

    def curve(self, drawn: FilterNumbers, num_bins: int) -> Tensor:
        """The gain of each bin, natural logarithms `[batch, bins]`."""
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
        """First bins of all bands except the lowest, `[batch, maximum - 1]`; `num_bins` for unused edges."""
        narrowest = (num_bins // drawn.count).clamp(max=BANDS[self.type].min_width_bins)
        room = num_bins - drawn.count * narrowest + 1
        before = torch.arange(1, drawn.edges.shape[1] + 1, device=drawn.edges.device) * narrowest[:, None]
        return ((drawn.edges * room[:, None]).floor() + before).clamp(max=num_bins)
