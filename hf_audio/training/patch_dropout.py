"""Patch dropout: training steps of a spectrogram transformer that drop some of its patches.

This is PaSST's patchout (Koutini et al. 2022, arXiv 2110.05069). A step gets cheaper, more than proportionally if
attention dominates the cost, and the model cannot rely on a few patches. It drops complete columns (stretches of time)
and rows (frequency bands) of patches, or individual patches, or first the former and then some of the rest.

Patches are dropped after the model's own embeddings, so the others keep their positions, and the class, weights and
config of the published model are the same as without it. Nothing is dropped in evaluation.
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

OF_PATCHES = 2**32 - 2  # part of the seed, so that the numbers differ from those of augmentation


class PatchNumbers(NamedTuple):
    """Uniform numbers in [0, 1) per window, which order its columns, rows and patches."""

    columns: Any
    rows: Any
    patches: Any


class Grid(NamedTuple):
    """Patches of a window: the number along frequency and along time, and frames from one column to the next."""

    rows: int
    columns: int
    stride: int


class _Gate:
    """A hook after embeddings `[batch, special + patches, hidden]` that drops patches while `kept` is set."""

    def __init__(self) -> None:
        self.kept: Tensor | None = None  # for the current call of the model

    def __call__(self, module: nn.Module, inputs: Any, tokens: Tensor) -> Tensor | None:
        """Special tokens and kept patches; None changes nothing."""
        if self.kept is None or not module.training:
            return None
        special, patches = tokens[:, :NUM_SPECIAL_TOKENS], tokens[:, NUM_SPECIAL_TOKENS:]
        return torch.cat([special, gather_patches(patches, self.kept)], dim=1)


class PatchDropout:
    """Drops the same number of patches from each window, so that a batch remains one tensor.

    The draw depends on a window's place in the run. In a short window, the same share of sound and of padding is
    dropped, and some sound always remains.

    Args:
        patches: share to drop of the patches that the other two leave.
        time, frequency: shares of columns and of rows. All three are rounded to whole numbers.
    """

    def __init__(self, patches: float = 0.0, time: float = 0.0, frequency: float = 0.0) -> None:
        self.shares = {"patch_dropout": patches, "patch_dropout_time": time, "patch_dropout_frequency": frequency}
        self.grid: Grid | None = None
        self._gate = _Gate()

    @classmethod
    def of(cls, config: AugmentConfig) -> PatchDropout | None:
        """The patch dropout of these settings; None if there is none."""
        shares = config.patch_dropout, config.patch_dropout_time, config.patch_dropout_frequency
        return cls(*shares) if config.drops_patches else None

    def settings(self) -> dict[str, float]:
        """The shares that are not 0, by flag."""
        return {name: share for name, share in self.shares.items() if share}

    def attach(self, model: PreTrainedModel) -> None:
        """Prepares a model, so that calls through `around` drop patches.

        Raises:
            InputError: the model has no such patches or pools all of them, or a share would drop none or all.
        """
        embeddings = [module for module in model.modules() if isinstance(module, ASTEmbeddings)]
        if not embeddings:
            raise InputError(
                f"--{next(iter(self.settings()))} drops patches of an Audio Spectrogram Transformer, found "
                f"{type(model).__name__}: leave it out, or use --model ast-mini"
            )
        if getattr(model.config, "pooling", "cls") != "cls":
            raise InputError(
                f"--{next(iter(self.settings()))} is for models that pool their class tokens, but pooling "
                f"{model.config.pooling} uses all patches: use only one of the two"
            )
        config = embeddings[0].config
        rows, columns = embeddings[0].get_shape(config)
        self.grid = Grid(rows, columns, config.time_stride)
        self._check_shares()
        self._gate = _Gate()  # hooks of earlier calls keep their own gate, which drops nothing
        for module in embeddings:  # with adapters there are two, one of which is called
            module.register_forward_hook(self._gate)

    def around(self, model: nn.Module, places: Places, num_frames: Tensor) -> Callable[..., Any]:
        """The model as a function that drops patches of these windows.

        Args:
            model: the model of `attach`, which may be wrapped for several processes or compiled.
            num_frames: int64 `[batch]`, number of frames per window that are not padding.
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
        """The remaining patches, int64 `[batch, kept]` in ascending order; patches are numbered row by row."""
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
        """The numbers of remaining columns, rows and patches."""
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
                    f"--{name} {share:g} of {all_of_them} drops {all_of_them - left}: a window has {self.grid.rows} "
                    f"rows and {self.grid.columns} columns of patches, of which at least one must be dropped and one "
                    "must remain: use another share"
                )


def chosen(noise: Tensor, is_sound: Tensor, count: int) -> Tensor:
    """Chooses `count` places of each window, int64 `[batch, count]` in ascending order.

    Sound and padding keep their proportion, rounded, and at least one place with sound remains, if there is any.

    Args:
        noise: `[batch, places]` in [0, 1); the smallest are chosen.
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
