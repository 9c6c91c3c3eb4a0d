"""Finds the last feature maps of a convolutional network, for Grad-CAM, by running it once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hf_audio.errors import InputError
from hf_audio.explaining.questions import Question
from hf_audio.kinds import Form

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)


class FeatureMaps(NamedTuple):
    """The layer with the feature maps as output, and the input size of the network's first convolution."""

    layer: nn.Module
    image_size: tuple[int, ...]


def feature_maps(question: Question) -> list[FeatureMaps]:
    """The last feature maps of each parallel network of a model; most models have one network.

    Raises:
        InputError: no convolution, or attention layers after the last one: such maps are patch embeddings of the input.
    """
    model = question.model
    kind = type(model).__name__
    if question.grid.form is Form.VECTORS:
        raise InputError(
            f"Grad-CAM needs a time and a frequency axis, but {kind} reads classical features: try integrated_gradients"
        )
    networks = getattr(model, "networks", None)
    roots = list(networks) if isinstance(networks, nn.ModuleList) else [model]
    found = _run(question, roots)
    if not all(found):
        raise InputError(f"Grad-CAM needs a convolutional network, but {kind} has none: try integrated_gradients")
    return found


def _run(question: Question, roots: Iterable[nn.Module]) -> list[FeatureMaps | None]:
    """For each root, its last module that contains convolutions and outputs a map with more than one position."""
    order: list[tuple[nn.Module, tuple[int, ...], tuple[int, ...]]] = []
    hooks = []
    for module in question.model.modules():
        if _has_convolutions(module) or _attends(module):
            hooks.append(module.register_forward_hook(lambda *seen: order.append((seen[0], *map(_shape, seen[1:])))))
    try:
        with torch.inference_mode():
            question.outputs(question.values)
    finally:
        for hook in hooks:
            hook.remove()
    ndim = 3 if question.grid.is_sound else 4
    return [_last_maps(order, set(root.modules()), ndim) for root in roots]


def _last_maps(order: list, within: set[nn.Module], ndim: int) -> FeatureMaps | None:
    """The last map `[batch, channels, ...]` with `ndim` axes in this order of execution that no attention follows."""
    last, image = None, None
    for module, given, gave in order:
        if module not in within:
            continue
        if _attends(module):
            last = None
        elif len(gave) == ndim and max(gave[2:]) > 1:
            if image is None:
                image = given[2:]
            last = module
    return None if last is None else FeatureMaps(last, image)


def _has_convolutions(module: nn.Module) -> bool:
    return any(isinstance(one, CONVOLUTIONS) for one in module.modules())


def _attends(module: nn.Module) -> bool:
    """Whether a module is an attention layer over patches or frames, by its class name in transformers and timm."""
    return type(module).__name__.endswith(("Attention", "AttentionPoolLatent")) and not _has_convolutions(module)


def _shape(values: object) -> tuple[int, ...]:
    first = values[0] if isinstance(values, tuple) and values else values
    return tuple(first.shape) if isinstance(first, Tensor) else ()
