"""Audio Spectrogram Transformers (Gong et al. 2021, arXiv 2104.01778): small ones from scratch, and fine-tuning.

The class is transformers' own ASTForAudioClassification, so models trained here load without hf_audio. This module adds
what that class lacks: an initialization for training from scratch, and position embeddings for windows whose length
differs from the checkpoint's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import ASTConfig, ASTForAudioClassification

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.models.foreign_checkpoint import Checkpoint

MODEL_TYPE = ASTConfig.model_type
# For cls, distillation and position embeddings of an untrained model: about the scale of the patches they are added to.
TOKEN_STD = 0.3
NUM_SPECIAL_TOKENS = 2  # cls and distillation, before the patches


def ast_from_scratch(
    labels: LabelSpace,
    num_frames: int,
    num_bins: int,
    *,
    hidden_size: int = 192,
    num_layers: int = 4,
    num_heads: int = 3,
    patch_size: int = 16,
    stride: int = 16,
) -> ASTForAudioClassification:
    """An untrained AST for windows `[batch, num_frames, num_bins]`.

    The stock initialization leaves cls, distillation and position embeddings at zero, where the first LayerNorm divides
    by almost nothing: gradient norms are about 5e4. Here they are drawn at random. Weights have a standard deviation of
    1 / sqrt(hidden_size) instead of 0.02, which suits widths of 768 and more. This matters for training from scratch on
    few windows: after 10,000 windows of spoken digits (fsdd, random split, 4 layers of 192), validation accuracy was
    0.79 and 0.86 for two seeds, compared to 0.34 and 0.35 with 0.02 for weights and tokens. 2-D sin-cos positions were
    worse than random ones at each scale tried.

    Raises:
        InputError: a window is smaller than one patch.
    """
    if num_frames < patch_size or num_bins < patch_size:
        raise InputError(
            f"A window of {num_frames} frames and {num_bins} mel bins is smaller than one patch of {patch_size} x "
            f"{patch_size}: use windows of at least {patch_size} frames (of fbank: at least "
            f"{(patch_size * 160 + 240) / 16000:.2f} s) and {patch_size} bins"
        )
    config = ASTConfig(
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        intermediate_size=4 * hidden_size,
        patch_size=patch_size,
        frequency_stride=stride,
        time_stride=stride,
        max_length=num_frames,
        num_mel_bins=num_bins,
        layer_norm_eps=1e-6,
        initializer_range=hidden_size**-0.5,
        **labels.config_settings,
    )
    model = ASTForAudioClassification(config)
    embeddings = model.audio_spectrogram_transformer.embeddings
    for token in (embeddings.cls_token, embeddings.distillation_token, embeddings.position_embeddings):
        nn.init.trunc_normal_(token, std=TOKEN_STD)
    return model


def ast_from_checkpoint(
    name: str, labels: LabelSpace, num_frames: int, num_bins: int, token: str | None = None
) -> ASTForAudioClassification:
    """A trained AST with a new head, for windows `[batch, num_frames, num_bins]` of any length.

    All weights are the checkpoint's except the classifier's last layer and the position embeddings, which are cut or
    interpolated to the window's length (`resize_positions`).

    Args:
        name: Hub name or folder, e.g. "MIT/ast-finetuned-audioset-10-10-0.4593".
        labels: the new head's classes.
        num_frames, num_bins: size of a window; the bins must be those of the checkpoint.
        token: access token for a private checkpoint. None: the stored token.

    Raises:
        InputError: the checkpoint does not exist or cannot be reached, it is not an AST, or its number of bins differs.
    """
    checkpoint = Checkpoint(name, token)
    config = checkpoint.config
    if config.model_type != MODEL_TYPE:
        raise InputError(
            f"{name} is a {config.model_type} model, not an Audio Spectrogram Transformer: "
            "try MIT/ast-finetuned-audioset-10-10-0.4593"
        )
    if config.num_mel_bins != num_bins:
        raise InputError(
            f"{name} was trained on {config.num_mel_bins} mel bins, but the features have {num_bins}: "
            f"rebuild them with --num_mel_bins {config.num_mel_bins}"
        )
    model, _ = checkpoint.load(config, ASTForAudioClassification)
    embeddings = model.audio_spectrogram_transformer.embeddings
    num_rows, num_columns = embeddings.get_shape(model.config)
    for key, value in {**labels.config_settings, "max_length": num_frames}.items():
        setattr(model.config, key, value)
    new_shape = embeddings.get_shape(model.config)
    resized = resize_positions(embeddings.position_embeddings.detach(), (num_rows, num_columns), new_shape)
    embeddings.position_embeddings = nn.Parameter(resized)
    model.num_labels = len(labels)
    model.classifier.dense = nn.Linear(model.config.hidden_size, len(labels))
    nn.init.normal_(model.classifier.dense.weight, std=model.config.initializer_range)
    nn.init.zeros_(model.classifier.dense.bias)
    return model


def resize_positions(positions: Tensor, old_shape: tuple[int, int], new_shape: tuple[int, int]) -> Tensor:
    """Position embeddings for a different number of patches; cls and distillation tokens are not changed.

    Along each axis, the center is cut out if fewer patches are needed, and the grid is interpolated bilinearly if more
    are needed, as in the AST authors' code (github.com/YuanGongND/ast, src/models/ast_models.py).

    Args:
        positions: `[1, 2 + rows * columns, hidden]`, patches in row order: a row is a frequency band.
        old_shape, new_shape: (rows, columns): patches along frequency and along time.
    """
    special, grid = positions[:, :NUM_SPECIAL_TOKENS], positions[:, NUM_SPECIAL_TOKENS:]
    if math.prod(old_shape) != grid.shape[1]:
        raise InputError(f"Found {grid.shape[1]} position embeddings for a grid of {old_shape[0]} x {old_shape[1]}")
    grid = grid.transpose(1, 2).reshape(1, -1, *old_shape)
    for axis, (old, new) in enumerate(zip(old_shape, new_shape, strict=True), start=2):
        if new < old:
            grid = grid.narrow(axis, old // 2 - new // 2, new)
    if grid.shape[2:] != torch.Size(new_shape):
        grid = functional.interpolate(grid, size=new_shape, mode="bilinear")
    return torch.cat([special, grid.flatten(2).transpose(1, 2)], dim=1).contiguous()
