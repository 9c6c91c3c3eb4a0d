"""Classification heads by name, from the embeddings of windows `[batch, size]` to logits `[batch, classes]`.

    linear    one layer
    deep      with hidden layers, e.g. of sizes (1000, 500)
    fluffy    one small network per class, all computed in one batched product
    arcface   cosine to each class's direction; in training, a margin is added to the angle
    cosface   the same, but the margin is subtracted from the cosine

All heads are called with the embedding and, in training, with the targets, which only heads with a margin use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS = ("linear", "deep", "fluffy", "arcface", "cosface")
FLUFFY_SIZE = 64  # hidden units of each class's network if no sizes are given


def build_head(
    name: str, embedding_size: int, num_labels: int, sizes: Sequence[int] = (), dropout: float = 0.0, **margin
) -> nn.Module:
    """Creates a head by its name in HEADS.

    Args:
        embedding_size: size of its input vectors.
        num_labels: number of classes.
        sizes: hidden sizes of "deep" and "fluffy", without the output layer.
        dropout: before each layer.
        margin: `margin`, `scale` and `has_bias` of ArcFace and CosFace.

    Raises:
        ValueError: an unknown name, or sizes for a head without hidden layers.
    """
    if name not in HEADS:
        raise ValueError(f"Unknown head {name!r}: expected one of {', '.join(HEADS)}")
    if sizes and name not in ("deep", "fluffy"):
        raise ValueError(f"The {name} head has no hidden layers, found sizes {list(sizes)}: use deep or fluffy")
    if name in MARGIN_HEADS:
        return MARGIN_HEADS[name](embedding_size, num_labels, dropout=dropout, **margin)
    if name == "fluffy":
        return FluffyHead(embedding_size, num_labels, tuple(sizes) or (FLUFFY_SIZE,), dropout)
    return DeepHead(embedding_size, num_labels, tuple(sizes), dropout)


class DeepHead(nn.Module):
    """Linear layers with ReLU between them; a linear head if there are no hidden sizes."""

    def __init__(self, embedding_size: int, num_labels: int, sizes: tuple[int, ...] = (), dropout: float = 0.0) -> None:
        super().__init__()
        widths = (embedding_size, *sizes, num_labels)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.dropout = nn.Dropout(dropout)

    def forward(self, embedding: Tensor, targets: Tensor | None = None) -> Tensor:
        """`[batch, embedding]` -> `[batch, classes]`"""
        for layer in self.layers[:-1]:
            embedding = functional.relu(layer(self.dropout(embedding)))
        return self.layers[-1](self.dropout(embedding))


class LinearPerClass(nn.Module):
    """One linear layer per class, in parallel: `[batch, classes, in]` -> `[batch, classes, out]`."""

    def __init__(self, num_labels: int, in_size: int, out_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_labels, in_size, out_size))
        self.bias = nn.Parameter(torch.empty(num_labels, out_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initializes each class's layer as nn.Linear does."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.einsum("bci,cio->bco", inputs, self.weight) + self.bias


class FluffyHead(nn.Module):
    """One small network per class on a shared embedding."""

    def __init__(self, embedding_size: int, num_labels: int, sizes: tuple[int, ...], dropout: float = 0.0) -> None:
        super().__init__()
        widths = (embedding_size, *sizes, 1)
        self.layers = nn.ModuleList(LinearPerClass(num_labels, *pair) for pair in pairwise(widths))
        self.dropout = nn.Dropout(dropout)
        self.num_labels = num_labels

    def forward(self, embedding: Tensor, targets: Tensor | None = None) -> Tensor:
        """`[batch, embedding]` -> `[batch, classes]`"""
        hidden = embedding[:, None, :].expand(-1, self.num_labels, -1)
        for layer in self.layers[:-1]:
            hidden = functional.relu(layer(self.dropout(hidden)))
        return self.layers[-1](self.dropout(hidden)).squeeze(-1)


class MarginHead(nn.Module):
    """scale * cosine between the embedding and each class's direction, with a margin in training.

    The margin is proportional to the target, so mixed and smoothed labels need no special case. Multi-label classes get
    a bias, since a sigmoid needs a decision point.

    Args:
        margin: margin of the true class; None: the head's default.
        scale: factor that turns cosines into logits.
    """

    default_margin = 0.0

    def __init__(
        self,
        embedding_size: int,
        num_labels: int,
        dropout: float = 0.0,
        margin: float | None = None,
        scale: float = 16.0,
        has_bias: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_labels, embedding_size))
        self.bias = nn.Parameter(torch.empty(num_labels)) if has_bias else None
        self.dropout = nn.Dropout(dropout)
        self.margin, self.scale = self.default_margin if margin is None else margin, scale
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, embedding: Tensor, targets: Tensor | None = None) -> Tensor:
        """`[batch, embedding]` and, in training, targets `[batch, classes]` -> `[batch, classes]`, in float32.

        Computed in float32: in half precision, under autocast, all cosines above 0.996 would be 1, where the arccosine
        has no gradient.
        """
        embedding, weight = self.dropout(embedding).float(), self.weight.float()
        with torch.autocast(embedding.device.type, enabled=False):
            cosine = functional.linear(functional.normalize(embedding), functional.normalize(weight))
        if targets is not None and self.training:
            cosine = self.with_margin(cosine, targets)
        logits = self.scale * cosine
        return logits if self.bias is None else logits + self.bias

    def with_margin(self, cosine: Tensor, targets: Tensor) -> Tensor:
        """The cosines with the margin, `[batch, classes]`."""
        raise NotImplementedError(f"{type(self).__name__} has no with_margin")


class ArcFaceHead(MarginHead):
    """Additive angular margin (Deng et al. 2019, arXiv 1801.07698): cos(angle + margin * target), in radians.

    Angles are limited to pi, since the cosine rises again after it.
    """

    default_margin = 0.3

    def with_margin(self, cosine: Tensor, targets: Tensor) -> Tensor:
        angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6)) + self.margin * targets
        return torch.cos(angle.clamp(max=math.pi))


class CosFaceHead(MarginHead):
    """Large margin cosine (Wang et al. 2018, arXiv 1801.09414): cosine - margin * target."""

    default_margin = 0.2

    def with_margin(self, cosine: Tensor, targets: Tensor) -> Tensor:
        return cosine - self.margin * targets


MARGIN_HEADS = {"arcface": ArcFaceHead, "cosface": CosFaceHead}  # heads that use the targets
