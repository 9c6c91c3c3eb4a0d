"""Patch dropout: training steps of a spectrogram transformer that leave out a part of its patches.

PaSST's patchout (Koutini et al. 2022, arXiv 2110.05069). A step gets cheaper, by more than its share of patches where
attention costs most, and the model cannot lean on few of them. Whole columns (stretches of time) and rows (bands of
frequency) of patches are left out, or any patches, or both: any of those that are left.

Patches are taken away behind the model's own embeddings, so each keeps the position that it has, and the classes, the
weights and the config of what is published are those without it. Nothing is left out in evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.audio_spectrogram_transformer.modeling_audio_spectrogram_transformer import ASTEmbeddings

from hf_audio.augment.draws import Draws, Lot
from hf_audio.config import AugmentConfig
from hf_audio.errors import InputError
from hf_audio.models.audio_spectrogram_transformer import NUM_SPECIAL_TOKENS
from hf_audio.models.patch_choice import gather_patches
from hf_audio.training.objective import Places

OF_PATCHES = 2**32 - 2  # in a place's key: numbers apart from those that augmentation draws


class PatchNumbers(NamedTuple):
    """Of each window uniform numbers in [0, 1), which put its columns, rows and patches in order."""

    columns: Any
    rows: Any
    patches: Any


class Grid(NamedTuple):
    """Patches of a window: how many along frequency and along time, and frames from one column to the next."""

    rows: int
    columns: int
    stride: int


class _Gate:
    """A hook behind embeddings `[batch, special + patches, hidden]`, which leaves out patches while it is told to."""

    def __init__(self) -> None:
        self.kept: Tensor | None = None  # of the model call that is running

    def __call__(self, module: nn.Module, inputs: Any, tokens: Tensor) -> Tensor | None:
        """Special tokens and kept patches; None leaves all as they are."""
        if self.kept is None or not module.training:
            return None
        special, patches = tokens[:, :NUM_SPECIAL_TOKENS], tokens[:, NUM_SPECIAL_TOKENS:]
        return torch.cat([special, gather_patches(patches, self.kept)], dim=1)


class PatchDropout:
    """Leaves out as many patches of each window, so that a batch stays one tensor.

    Which are left out is drawn by a window's place in the run. Of a short sound the same share is left out as of its
    padding, and something of it always stays.

    Args:
        patches: share of patches, of those that the other two leave, rounded to whole patches as all three.
        time, frequency: shares of columns and of rows.
    """

    def __init__(self, patches: float = 0.0, time: float = 0.0, frequency: float = 0.0) -> None:
        self.shares = {"patch_dropout": patches, "patch_dropout_time": time, "patch_dropout_frequency": frequency}
        self.grid: Grid | None = None
        self._gate = _Gate()

    @classmethod
    def of(cls, config: AugmentConfig) -> PatchDropout | None:
        """What settings ask for; None where that is nothing."""
        shares = config.patch_dropout, config.patch_dropout_time, config.patch_dropout_frequency
        return cls(*shares) if config.drops_patches else None

    def settings(self) -> dict[str, float]:
        """The shares that are not 0, by their flags."""
        return {name: share for name, share in self.shares.items() if share}

    def attach(self, model: PreTrainedModel) -> None:
        """Makes a model leave out patches, from now on, where `around` calls it.

        Raises:
            InputError: a model without such patches, one that pools all of them, or a share that leaves out none or
                all.
        """
        embeddings = [module for module in model.modules() if isinstance(module, ASTEmbeddings)]
        if not embeddings:
            raise InputError(
                f"--{next(iter(self.settings()))} leaves out patches of an Audio Spectrogram Transformer, found "
                f"{type(model).__name__}: leave it out, or give --model ast-mini"
            )
        if getattr(model.config, "pooling", "cls") != "cls":
            raise InputError(
                f"--{next(iter(self.settings()))} is for models that read their class tokens, and pooling "
                f"{model.config.pooling} reads all patches: leave one of the two out"
            )
        config = embeddings[0].config
        rows, columns = embeddings[0].get_shape(config)
        self.grid = Grid(rows, columns, config.time_stride)
        self._check_shares()
        self._gate = _Gate()  # one of an earlier model, or of this one, stays open
        for module in embeddings:  # with adapters there are two, of which one is called
            module.register_forward_hook(self._gate)

    def around(self, model: nn.Module, places: Places, num_frames: Tensor) -> Callable[..., Any]:
        """The model, called without some patches of these windows.

        Args:
            model: that of `attach`, also wrapped for several processes or compiled.
            num_frames: int64 `[batch]`, how many frames of each window are not padding.
        """
        kept = self.kept(self.draw(places), num_frames)

        def call(**inputs: Any) -> Any:
            self._gate.kept = kept
            try:
                return model(**inputs)
            finally:
                self._gate.kept = None

        return call

    def draw(self, places: Places) -> Draws:
        """The numbers of a micro-batch, on the CPU."""
        lot = Lot.at([(*places.run, OF_PATCHES, place) for place in places.windows])
        columns, rows, _ = self.counts
        return Draws.of([PatchNumbers(*(lot.uniform(n) for n in (self.grid.columns, self.grid.rows, columns * rows)))])

    def kept(self, draws: Draws, num_frames: Tensor) -> Tensor:
        """The patches that stay, int64 `[batch, kept]` in ascending order; a row of patches follows the other."""
        (drawn,) = draws.on(num_frames.device)
        num_columns, num_rows, num_patches = self.counts
        starts = torch.arange(self.grid.columns, device=num_frames.device) * self.grid.stride
        is_sound = starts < num_frames.view(-1, 1)
        columns = chosen(drawn.columns, is_sound, num_columns)
        rows = chosen(drawn.rows, torch.ones_like(drawn.rows, dtype=torch.bool), num_rows)
        patches = (rows[:, :, None] * self.grid.columns + columns[:, None]).flatten(1)
        is_sound = is_sound.gather(1, columns).repeat(1, num_rows)
        return patches.gather(1, chosen(drawn.patches, is_sound, num_patches))

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many columns, rows, and patches of both, stay."""
        share, of_time, of_frequency = self.shares.values()
        columns = self.grid.columns - _rounded(of_time, self.grid.columns)
        rows = self.grid.rows - _rounded(of_frequency, self.grid.rows)
        return columns, rows, columns * rows - _rounded(share, columns * rows)

    def _check_shares(self) -> None:
        columns, rows, patches = self.counts
        before = (columns * rows, self.grid.columns, self.grid.rows)
        for (name, share), left, all_of_them in zip(self.shares.items(), (patches, columns, rows), before, strict=True):
            if share and not 0 < left < all_of_them:
                raise InputError(
                    f"--{name} {share:g} of {all_of_them} leaves out {all_of_them - left}: a window has "
                    f"{self.grid.rows} rows and {self.grid.columns} columns of patches, of which some must stay and "
                    "some go, so give another share"
                )


def chosen(noise: Tensor, is_sound: Tensor, count: int) -> Tensor:
    """`count` of the places of each window, int64 `[batch, count]` in ascending order.

    Sound and padding stay in proportion, rounded, and where there is any sound at least one place of it stays.

    Args:
        noise: `[batch, places]` in [0, 1), smallest first.
        is_sound: bool `[batch, places]`.
    """
    num_places = noise.shape[1]
    if count == num_places:
        return torch.arange(count, device=noise.device).expand(len(noise), -1)
    num_sound = is_sound.sum(dim=1, keepdim=True)
    share = (2 * count * num_sound + num_places) // (2 * num_places)
    wanted = torch.minimum(share.clamp(min=1), num_sound)
    order = (noise + ~is_sound).argsort(dim=1, stable=True)  # sound first
    slots = torch.arange(count, device=noise.device)
    ranks = torch.where(slots < wanted, slots, num_sound + slots - wanted)
    return order.gather(1, ranks).sort(dim=1).values


def _rounded(share: float, count: int) -> int:
    return int(share * count + 0.5)
