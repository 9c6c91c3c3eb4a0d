"""Attention rollout (Abnar and Zuidema 2020, arXiv 2005.00928): how much each patch or frame contributes to the head.

It does not depend on the class or the head: parts that are attended to may be evidence for the class or against it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hf_audio.errors import InputError
from hf_audio.explaining.questions import Question
from hf_audio.models.transformer_backbone import AST
from hf_audio.models.transformer_classifier import NUM_SPECIAL_TOKENS


def attention_rollout(question: Question) -> np.ndarray:
    """The share of each cell, `[steps, bands]`, in the input of the head.

    Raises:
        InputError: a model without attention, or one that does not return attention weights.
    """
    joint = rolled_out(attentions_of(question))
    embeddings = _patches_of(question.model)
    if embeddings is not None:
        return _of_patches(question, joint, embeddings)
    return _of_frames(question, joint.mean(dim=0))


def attentions_of(question: Question) -> list[Tensor]:
    """Attention weights of each layer, from the first to the last: float32 `[heads, tokens, tokens]`.

    Raises:
        InputError: see `attention_rollout`.
    """
    kind = type(question.model).__name__
    with torch.inference_mode(), _eager(question.model):
        try:
            found = question.outputs(question.values, output_attentions=True).attentions
        except (ValueError, TypeError) as error:  # raised by models without attention, ours and those of transformers
            raise _without(kind) from error
    if not found or any(one is None or one.ndim != 4 or one.shape[-1] != one.shape[-2] for one in found):
        raise _without(kind)
    return [one[0].float() for one in found]


def rolled_out(attentions: list[Tensor]) -> Tensor:
    """The share of each input token of the first layer in each output token of the last layer, `[tokens, tokens]`.

    Each layer counts as half attention, averaged over heads, and half residual connection.
    """
    identity = torch.eye(attentions[0].shape[-1], device=attentions[0].device)
    joint = identity
    for weights in attentions:
        mixed = 0.5 * weights.mean(dim=0) + 0.5 * identity
        joint = (mixed / mixed.sum(dim=-1, keepdim=True)) @ joint
    return joint


def _of_patches(question: Question, joint: Tensor, embeddings: nn.Module) -> np.ndarray:
    """For AST: each cell of the spectrogram gets the mean over the patches that contain it, or 0 if there are none."""
    config = embeddings.config
    pools_tokens = getattr(question.model.config, "pooling", "cls") == "cls"
    pooled = joint[:NUM_SPECIAL_TOKENS] if pools_tokens else joint[NUM_SPECIAL_TOKENS:]
    shares = pooled.mean(dim=0)[None, NUM_SPECIAL_TOKENS:]
    patch, strides = config.patch_size, (config.frequency_stride, config.time_stride)
    rows, columns = embeddings.get_shape(config)
    size = ((rows - 1) * strides[0] + patch, (columns - 1) * strides[1] + patch)
    cells = torch.stack([shares, torch.ones_like(shares)]).expand(2, patch * patch, -1)
    sums, counts = functional.fold(cells, size, patch, stride=strides)[:, 0].double().cpu()
    image = (sums / counts.clamp(min=1)).T  # [frames, bins]
    grid = question.grid
    missing = (0, max(0, grid.num_bands - image.shape[1]), 0, max(0, grid.num_steps - image.shape[0]))
    return functional.pad(image, missing)[: grid.num_steps, : grid.num_bands].numpy()


def _of_frames(question: Question, shares: Tensor) -> np.ndarray:
    """For encoders whose tokens are evenly spaced in time: shares are equal over all bands."""
    grid = question.grid
    per_token = -(-grid.size // grid.samples_per_step) / len(shares)
    middles = (np.arange(grid.num_steps) + 0.5) / per_token - 0.5
    over_time = np.interp(middles, np.arange(len(shares)), shares.double().cpu().numpy()) / per_token
    return np.repeat(over_time[:, None] / grid.num_bands, grid.num_bands, axis=1)


def _patches_of(model: nn.Module) -> nn.Module | None:
    """AST's patch embedding module; None for other models."""
    for module in model.modules():
        if getattr(getattr(module, "config", None), "model_type", None) == AST and hasattr(module, "patch_embeddings"):
            return module
    return None


@contextlib.contextmanager
def _eager(model: nn.Module) -> Iterator[None]:
    """Switches to eager attention, since fused attention does not return weights."""
    backbone = getattr(model, "backbone", None)
    models = [one for one in (model, backbone) if hasattr(one, "set_attn_implementation")]
    before = [one.config._attn_implementation for one in models]
    for one in models:
        one.set_attn_implementation("eager")
    try:
        yield
    finally:
        for one, name in zip(models, before, strict=True):
            one.set_attn_implementation(name or "sdpa")


def _without(kind: str) -> InputError:
    return InputError(f"Rollout needs attention weights, which {kind} does not provide: try integrated_gradients")
