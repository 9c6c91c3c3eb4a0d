"""Batch mixing: adds other windows of the batch to a training window, with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.energies import NATURAL_DB, Windows
from hf_audio.errors import InputError

SILENT = -45.0  # natural logarithm of an energy below that of any 32-bit recording


class BatchMixNumbers(NamedTuple):
    """Places of partners in the batch `[batch, slots]`, and how many of them to add `[batch]`, 0 for none; `[batch,
    slots]` offsets in [-1, 1) times the maximum, and attenuations as natural logarithms."""

    partners: Any
    count: Any
    offsets: Any
    drops: Any


@dataclass(frozen=True)
class BatchMix:
    """Adds one or more other windows of the batch to some windows, as if they sounded together, with their labels.

    The energies of sounds add up (up to a cross term that is zero on average). A partner is shifted in time, and parts
    outside the window are lost. It is as loud as the window or a little quieter. The sum is scaled back to the level of
    the window, so that loudness does not reveal the number of sounds. With partial labels (NaN is unknown), a class is
    present if it is present in any of the windows, and absent if it is absent from all. For multi-label targets only,
    which are 0, 1 or NaN. Silent windows, which have no level, are neither changed nor added to others.

    Attributes:
        probability: probability of mixing a window.
        most: maximum number of windows in a mixture, and of classes: partners with too many classes are skipped.
        longest_offset: maximum shift of a partner in frames (samples), at most half a window.
        level_db: maximum attenuation of a partner relative to the window.
    """

    probability: float
    most: int = 4
    longest_offset: int = 0
    level_db: float = 6.0
    reads_energies = True
    mixes_windows = has_partners = True

    def __post_init__(self) -> None:
        if self.most < 2:
            raise InputError(
                f"--batch_mix_max_windows {self.most} mixes nothing: use 2 or more, or leave out batch mixing"
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
        """`windows.values` are log energies, or waveforms."""
        values, targets, num_frames, frames = windows
        partners, time = drawn.partners.long(), len(frames)
        lengths = num_frames[partners]
        offsets = (drawn.offsets * (min(self.longest_offset, time // 2) + 1)).long()
        # keeps at least half of a partner, and leaves no gap after a short window
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
        """Which partners are added, bool `[batch, slots]`, and the new targets: 1 if any window has the class, 0 if
        none does, otherwise NaN."""
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
    """The partners shifted in time, `[batch, slots, channels, frames, bins]`, with silence in the gaps."""
    source, is_outside = _sources(windows.frames, offsets)
    moved = windows.values[partners[:, :, None], :, source]  # [batch, slots, frames, channels, bins]
    return moved.masked_fill_(is_outside[..., None, None], -torch.inf).transpose(2, 3)


def _later_waveforms(windows: Windows, partners: Tensor, offsets: Tensor) -> Tensor:
    """The same for waveforms, `[batch, slots, samples]`, with nothing after the window's own end, which is marked by
    the attention mask."""
    source, is_outside = _sources(windows.frames, offsets)
    is_behind = windows.frames >= windows.num_frames[:, None, None]
    return windows.values[partners[:, :, None], source].masked_fill_(is_outside | is_behind, 0.0)


def _sources(frames: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """The place in a partner that each place is read from, `[batch, slots, length]`, and whether it is outside."""
    source = frames - offsets[:, :, None]
    inside = source.clamp(0, len(frames) - 1)
    return inside, inside != source
