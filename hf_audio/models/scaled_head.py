"""Builds the scaling of logits into a trained classifier's weights, so that everyone who loads it gets scaled logits.

A slope and a bias per class are linear, so they are merged into the last linear layer: the model's class does not
change and needs no extra code. Cosine heads (arcface, cosface) have one scale for all classes, in the config.
Non-linear scaling comes after the head of our own classes, as `LogitCurves`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_audio.errors import InputError
from hf_audio.models.classifier import AudioClassifier
from hf_audio.models.heads import DeepHead, FluffyHead, LinearPerClass, MarginHead
from hf_audio.models.timm_backbone import GroupedHeads


def require_scalable(model: PreTrainedModel, *, per_class: bool, curves: bool) -> None:
    """Checks, before any work is done, whether a scaling can be built into a model.

    Args:
        per_class: whether classes have different slopes and biases.
        curves: whether curves are added after the head.

    Raises:
        InputError: the scaling cannot be built in.
    """
    if getattr(model, "logit_curves", None) is not None:
        raise InputError(
            "The model is already calibrated by isotonic scaling, which comes after its head: calibrate the original "
            "model instead"
        )
    if curves and not isinstance(model, AudioClassifier):
        raise InputError(
            f"A {type(model).__name__} has no place for curves after its head, so isotonic scaling cannot be saved "
            "with it: use temperature or vector, which are merged into its last layer"
        )
    if per_class and any(isinstance(part, MarginHead) for part, _ in _parts(model)):
        raise InputError(
            f"The head {model.config.head} has one scale for all classes, so vector scaling cannot be saved with it: "
            "use temperature"
        )
    for part, _ in _parts(model):
        if not isinstance(_last_layer(part), MarginHead | nn.Linear | LinearPerClass):
            raise InputError(
                f"The head of a {type(model).__name__} ends in a {type(_last_layer(part)).__name__}, whose logits "
                "cannot be scaled"
            )


def scale_head(model: PreTrainedModel, slopes: np.ndarray, biases: np.ndarray) -> None:
    """Changes a model's logits to `slopes * logits + biases`, both `[classes]`, in its weights.

    Raises:
        InputError: see `require_scalable`.
    """
    per_class = bool((slopes != slopes[0]).any() or biases.any())
    require_scalable(model, per_class=per_class, curves=False)
    slopes, biases = (torch.tensor(one, dtype=torch.float64) for one in (slopes, biases))
    for part, classes in _parts(model):
        if isinstance(part, MarginHead):
            part.scale *= slopes[0].item()
            model.config.head_scale = part.scale
            if part.bias is not None:
                part.bias.data.mul_(slopes[0].item())
        else:
            _scale_last(_last_layer(part), slopes[classes], biases[classes])


def add_curves(model: AudioClassifier, knots: np.ndarray, values: np.ndarray) -> None:
    """Maps a model's logits by curves; both arrays are `[curves, points]`, see `LogitCurves`.

    Raises:
        InputError: see `require_scalable`.
    """
    require_scalable(model, per_class=False, curves=True)
    model.config.logit_curve_points = knots.shape[1]
    model.add_curves()
    for name, numbers in (("knots", knots), ("values", values)):
        getattr(model.logit_curves, name).copy_(torch.tensor(numbers, dtype=torch.float32))
    model.logit_curves.eval()


def _parts(model: PreTrainedModel) -> list[tuple[nn.Module, list[int]]]:
    """The heads of a model, and the classes of each."""
    head = model.classifier
    if isinstance(head, GroupedHeads):
        return list(zip(head.heads, head.groups, strict=True))
    return [(head, list(range(model.config.num_labels)))]


def _last_layer(head: nn.Module) -> nn.Module:
    """The layer of a head, stock or ours, that gives the logits."""
    if isinstance(head, DeepHead | FluffyHead):
        return head.layers[-1]
    return getattr(head, "dense", head)  # in an AST, after a norm


def _scale_last(layer: nn.Linear | LinearPerClass, slopes: Tensor, biases: Tensor) -> None:
    """Scales a layer whose weight and bias have classes along their first axis."""
    if layer.bias is None:
        layer.bias = nn.Parameter(torch.zeros(len(slopes), device=layer.weight.device))
    for weights, added in ((layer.weight, torch.zeros_like(biases)), (layer.bias, biases)):
        of_classes = (-1, *[1] * (weights.ndim - 1))
        factor, added = (one.view(of_classes).to(weights.device) for one in (slopes, added))
        weights.data.copy_(weights.data.double() * factor + added)
