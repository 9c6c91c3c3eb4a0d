"""Mixtures on the fly: to a training window others of its batch are added, and their labels joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import NATURAL_DB, Windows
from hf_audio.errors import InputError

SILENT = -45.0  # natural logarithm of an energy that no recording of 32 bits has


class BatchMixNumbers(NamedTuple):
    """Places of partners in the batch `[batch, slots]` and `[batch]` how many of them to add, 0 for none; `[batch,
    slots]` offsets in [-1, 1) of the longest, and how much quieter each is, in natural logarithms."""

    partners: Any
    count: Any
    offsets: Any
    drops: Any


@dataclass(frozen=True)
class BatchMix:
    """Adds to some windows one or more others of the batch, as if they sounded together, and joins the labels.

    The energies of sounds add up (up to a cross term that is zero on average). A partner begins earlier or later, what
    falls off the window is lost, and it is as loud as the window itself or a little quieter; the sum is brought back to
    the level of the window, for else loudness would tell how many there are. Of partial labels (NaN where unknown) a
    class is present where it is in one of them, and absent where it is known to be in all. Only for several labels a
    window: these are 0, 1 or NaN. Windows without any sound, which have no level, stay as they are and join no other.

    Attributes:
        probability: that a window gets company at all.
        most: windows in a mixture, and classes: a partner that would bring too many is left out.
        longest_offset: in frames (samples); a partner moves by up to so many, at most half a window.
        level_db: a partner is up to so much quieter than the window.
    """

    probability: float
    most: int = 4
    longest_offset: int = 0
    level_db: float = 6.0
    reads_energies = True
    mixes_windows = True

    def __post_init__(self) -> None:
        if self.most < 2:
            raise InputError(
                f"--batch_mix_max_windows {self.most} mixes nothing: give 2 or more, or leave out batch mixing"
            )

    def draw(self, lot: Lot) -> BatchMixNumbers:
        slots = self.most - 1
        partners = lot.partners(slots)
        available = (partners != np.arange(len(partners))[:, None]).sum(axis=1)
        chance, amount = lot.uniform(2).T
        count = np.where(chance < self.probability, 1 + np.floor(amount * available), 0)
        drops = lot.uniform(slots) * (self.level_db / NATURAL_DB)
        return BatchMixNumbers(partners, np.minimum(count, available), 2 * lot.uniform(slots) - 1, drops)

    def apply(self, windows: Windows, drawn: BatchMixNumbers) -> Windows:
        """`windows.values` are logarithms of energies, or waveforms."""
        values, targets, num_frames, frames = windows
        partners, time = drawn.partners.long(), len(frames)
        lengths = num_frames[partners]
        offsets = (drawn.offsets * (min(self.longest_offset, time // 2) + 1)).long()
        # at least half of a partner stays, and no gap arises behind a short window
        offsets = torch.minimum(torch.maximum(offsets, -(lengths // 2)), num_frames[:, None])
        levels = _levels(windows)
        joins, joined = self._joined(targets, partners, drawn.count, levels > SILENT)
        change = (levels[:, None] - levels[partners] - drawn.drops).masked_fill(~joins, -torch.inf)
        if values.ndim == 4:
            ends = (lengths + offsets).clamp(max=time) * joins
            longer = torch.maximum(num_frames, ends.amax(dim=1))
            others = _later_images(windows, partners, offsets) + change[:, :, None, None, None]
            mixed = Windows(torch.logaddexp(values, others.logsumexp(dim=1)), joined, longer, frames)
        else:
            others = _later_waveforms(windows, partners, offsets) * (change / 2).exp()[:, :, None]
            mixed = Windows(values + others.sum(dim=1), joined, num_frames, frames)
        back = torch.where(joins.any(dim=1), levels - _levels(mixed), 0.0)
        if values.ndim == 4:
            return mixed._replace(values=mixed.values + back.view(-1, 1, 1, 1))
        return mixed._replace(values=mixed.values * (back / 2).exp()[:, None])

    def _joined(self, targets: Tensor, partners: Tensor, count: Tensor, has_sound: Tensor) -> tuple[Tensor, Tensor]:
        """Which partners join, bool `[batch, slots]`, and what is then known of each class: 1 where one has it, 0
        where none does, else NaN."""
        others = targets[partners]
        slots = torch.arange(partners.shape[1], device=partners.device)
        wanted = (slots < count[:, None]) & has_sound[partners] & has_sound[:, None]
        present, present_in_others, joins = targets > 0.5, others > 0.5, []
        for slot in range(partners.shape[1]):
            both = present | present_in_others[:, slot]
            fits = (both.sum(dim=1) <= self.most) & wanted[:, slot]
            present = torch.where(fits[:, None], both, present)
            joins.append(fits)
        joins = torch.stack(joins, dim=1)
        known = torch.cat([targets[:, None], others.masked_fill(~joins[:, :, None], -torch.inf)], dim=1)
        is_unknown = known.isnan()
        most = known.masked_fill(is_unknown, -torch.inf).amax(dim=1)
        return joins, most.masked_fill(is_unknown.any(dim=1) & (most < 1), torch.nan)


def _levels(windows: Windows) -> Tensor:
    """Natural logarithm of each window's mean energy, `[batch]`."""
    values, count = windows.values, windows.num_frames.clamp(min=1)
    if values.ndim == 2:
        return (values.square().sum(dim=1) / count).clamp(min=1e-20).log()
    return values.logsumexp(dim=(1, 2, 3)) - (count * (values.shape[1] * values.shape[3])).log()


def _later_images(windows: Windows, partners: Tensor, offsets: Tensor) -> Tensor:
    """The partners moved along time, `[batch, slots, channels, frames, bins]`, silence where they came from."""
    source, is_outside = _sources(windows.frames, offsets)
    moved = windows.values[partners[:, :, None], :, source]  # [batch, slots, frames, channels, bins]
    return moved.masked_fill_(is_outside[..., None, None], -torch.inf).transpose(2, 3)


def _later_waveforms(windows: Windows, partners: Tensor, offsets: Tensor) -> Tensor:
    """The same of waveforms, `[batch, slots, samples]`, and nothing behind a window's own end: the attention mask says
    where that is."""
    source, is_outside = _sources(windows.frames, offsets)
    is_behind = windows.frames >= windows.num_frames[:, None, None]
    return windows.values[partners[:, :, None], source].masked_fill_(is_outside | is_behind, 0.0)


def _sources(frames: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Where in a partner each place is read, `[batch, slots, length]`, and whether that is outside of it."""
    source = frames - offsets[:, :, None]
    inside = source.clamp(0, len(frames) - 1)
    return inside, inside != source
