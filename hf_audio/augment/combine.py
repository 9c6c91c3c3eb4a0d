"""Mixtures on the fly: to a training window others of its batch are added, and their labels joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hf_audio.augment.spectrogram import NATURAL_DB, Normalisation, over_bins, over_windows
from hf_audio.errors import InputError


class CombineParameters(NamedTuple):
    """partners int64 `[batch, slots]`, all different; count int64 `[batch]` of them to add, 0 for none; uniform numbers
    in [-1, 1) for offsets and in [0, 1) for levels, `[batch, slots]` each."""

    partners: Tensor
    count: Tensor
    offsets: Tensor
    levels: Tensor


@dataclass(frozen=True)
class Combine:
    """Adds to some windows one or more others of the batch, as if they sounded together, and joins the labels.

    The energies of sounds add up (up to a cross term that is zero on average). A partner begins earlier or later, what
    falls off the window is lost, and it is as loud as the window itself or a little quieter; the sum is brought back to
    the level of the window, for else loudness would tell how many there are. Of partial labels (NaN where unknown) a
    class is present where it is in one of them, and absent where it is known to be in all. Only for several labels a
    window: these are 0, 1 or NaN. Windows without any sound, which have no level, stay as they are and join no other.

    Attributes:
        normalisation: of the features `[batch, (channels,) frames, bins]`; None of waveforms `[batch, samples]`.
        probability: that a window gets company at all.
        most: windows in a mixture, and classes: a partner that would bring too many is left out.
        longest_offset: in frames (samples); a partner moves by up to so many, at most half a window.
        level_db: a partner is up to so much quieter than the window.
    """

    normalisation: Normalisation | None
    probability: float
    most: int = 4
    longest_offset: int = 0
    level_db: float = 6.0

    def __post_init__(self) -> None:
        if self.most < 2:
            raise InputError(f"--combine_most {self.most} combines nothing: give 2 or more, or leave out combining")

    def draw(self, batch_size: int, generator: torch.Generator) -> CombineParameters:
        """The random numbers of one batch, from a CPU generator."""
        slots = min(self.most, batch_size) - 1
        order = torch.randperm(batch_size, generator=generator)  # partners are those who come next in a random circle
        steps = torch.arange(batch_size)[:, None] + torch.arange(1, slots + 1)
        partners = order[(steps % batch_size)][order.argsort()]
        chosen = torch.rand(batch_size, generator=generator) < self.probability
        count = torch.randint(1, slots + 1, (batch_size,), generator=generator) if slots else torch.zeros(batch_size)
        uniform = torch.rand(2, batch_size, slots, generator=generator)
        return CombineParameters(partners, count.long() * chosen, 2 * uniform[0] - 1, uniform[1])

    def apply(self, features: Tensor, targets: Tensor, drawn: CombineParameters) -> tuple[Tensor, Tensor]:
        """The features, some of them mixed, and targets `[batch, classes]`, theirs joined."""
        drawn = CombineParameters(*(numbers.to(features.device) for numbers in drawn))
        values, lengths = self._values(features)
        longest = min(self.longest_offset, values.shape[self._time_axis(values)] // 2)
        levels, has_sound = self._levels(values, lengths), lengths > 0
        mixed, joined, is_mixed = values, targets, torch.zeros_like(lengths, dtype=torch.bool)
        for slot in range(drawn.partners.shape[1]):
            partner, offset = drawn.partners[:, slot], (drawn.offsets[:, slot] * (longest + 1)).long()
            # at least half of a partner stays, and no gap arises behind a short window
            offset = torch.minimum(torch.maximum(offset, -(lengths[partner] // 2)), lengths)
            change = levels - levels[partner] - drawn.levels[:, slot] * (self.level_db / NATURAL_DB)
            other = self._later(self._louder(values[partner], change), offset, lengths)
            both = _joined(joined, targets[partner])
            joins = (drawn.count > slot) & ((both > 0.5).sum(dim=1) <= self.most) & has_sound & has_sound[partner]
            mixed = torch.where(over_windows(joins, features), self._sum(mixed, other), mixed)
            joined = torch.where(joins[:, None], both, joined)
            is_mixed = is_mixed | joins
        mixed = self._louder(mixed, levels - self._levels(mixed, lengths))
        return torch.where(over_windows(is_mixed, features), self._features(mixed, features), features), joined

    def _values(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What can be added (logarithms of energies, samples), and how many frames (samples) are no padding."""
        if self.normalisation is None:
            places = torch.arange(1, features.shape[1] + 1, device=features.device)
            return features.float(), ((features != 0) * places).amax(dim=1)
        padding = self.normalisation.is_padding(features)
        log_energy = self.normalisation.undo(features.float())
        return log_energy.masked_fill(over_bins(padding, features), -torch.inf), (~padding).sum(dim=1)

    def _features(self, values: Tensor, features: Tensor) -> Tensor:
        """Features of the values; frames without any sound stay the padding that they are."""
        if self.normalisation is None:
            return values.to(features.dtype)
        return torch.where(values.isneginf(), features, self.normalisation.apply(values).to(features.dtype))

    def _levels(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Natural logarithm of each window's mean energy, `[batch]`."""
        if self.normalisation is None:
            return (values.square().sum(dim=1) / lengths.clamp(min=1)).clamp(min=1e-20).log()
        return values.flatten(1).logsumexp(dim=1) - values.flatten(1).isfinite().sum(dim=1).clamp(min=1).log()

    def _time_axis(self, values: Tensor) -> int:
        return 1 if self.normalisation is None else values.ndim - 2

    def _louder(self, values: Tensor, change: Tensor) -> Tensor:
        change = over_windows(change, values)
        return values * (change / 2).exp() if self.normalisation is None else values + change

    def _sum(self, one: Tensor, other: Tensor) -> Tensor:
        return one + other if self.normalisation is None else torch.logaddexp(one, other)

    def _later(self, values: Tensor, offset: Tensor, lengths: Tensor) -> Tensor:
        """The values moved along time, silence where they came from; of waveforms nothing behind a window's own end."""
        axis = self._time_axis(values)
        places = torch.arange(values.shape[axis], device=values.device)
        source = places - offset[:, None]
        is_silent = (source < 0) | (source >= len(places))
        source = source.clamp(0, len(places) - 1)
        if self.normalisation is None:  # the model's attention mask says where it ends
            return values.gather(1, source).masked_fill(is_silent | (places >= lengths[:, None]), 0.0)
        moved = values.gather(axis, over_bins(source, values).expand_as(values))
        return moved.masked_fill(over_bins(is_silent, values), -torch.inf)


def _joined(targets: Tensor, others: Tensor) -> Tensor:
    """What is known of two sounds together: 1 where one has the class, 0 where neither does, else NaN."""
    either = torch.fmax(targets, others)  # of the known ones
    return either.masked_fill((targets.isnan() | others.isnan()) & (either < 1), torch.nan)
