"""Sanity check (Adebayo et al. 2018, arXiv 1810.03292): does an explanation depend on the weights of the model?

Layers get random weights one after the other, from the head down to the input. After each, the explanation is compared
with that of the trained model by Spearman's rank correlation. If it stays the same, it shows the input, not what the
model has learned.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import ConstantInputWarning, spearmanr
from torch import nn
from torch.nn import Parameter
from transformers import PreTrainedModel

from hf_audio.errors import InputError
from hf_audio.explaining.methods import METHODS, MethodSettings
from hf_audio.explaining.questions import Question
from hf_audio.models.layer_groups import HEAD, layer_groups

MAX_STAGES = 5
SAME = 0.5  # minimum rank correlation of explanations that count as the same
ALL_OTHERS = "all layers"


class Stage(NamedTuple):
    """The lowest layer with random weights, and the similarity of explanations.

    Attributes:
        reached: the name of the layer.
        correlations: Spearman's rank correlations, by method; 0 if an explanation is constant.
    """

    reached: str
    correlations: dict[str, float]


def correlations_with_random_weights(
    question: Question, found: dict[str, np.ndarray], settings: MethodSettings, seed: int
) -> list[Stage]:
    """Compares the explanations of a model whose layers are randomized one after the other with those of the original.

    Args:
        found: relevance `[steps, bands]` by method.
        seed: for the random weights.
    """
    stages = []
    for reached, model in randomized(question.model, seed):
        changed = question.of_model(model)
        others = {name: METHODS[name].explain(changed, settings).values for name in found}
        stages.append(Stage(reached, {name: rank_correlation(found[name], others[name]) for name in found}))
    return stages


def randomized(model: PreTrainedModel, seed: int) -> Iterator[tuple[str, PreTrainedModel]]:
    """A copy of a model with random weights in its head, then in more and more layers below, and finally in all.

    Weights are drawn from a normal distribution with the mean and standard deviation of the trained tensor, so that
    activations stay in their range.
    """
    changed = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for name, parameters in _stages(changed):
        for one in parameters:
            _draw(one, generator)
        yield name, changed


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of the magnitudes of two explanations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        found = float(spearmanr(np.abs(first).ravel(), np.abs(second).ravel()).statistic)
    return found if np.isfinite(found) else 0.0


@torch.no_grad()
def _draw(weights: Parameter, generator: torch.Generator) -> None:
    mean, std = float(weights.mean()), float(weights.std(correction=0))
    drawn = torch.randn(weights.shape, generator=generator)
    weights.copy_((mean + std * drawn).to(weights.dtype))


def _stages(model: PreTrainedModel) -> Iterator[tuple[str, Sequence[Parameter]]]:
    """Name of the lowest layer and parameters: of the head, then of the layers below in up to MAX_STAGES groups."""
    groups = _groups(model)[::-1]
    yield groups[0][0], groups[0][1]
    below = groups[1:]
    for places in np.array_split(np.arange(len(below)), min(MAX_STAGES, len(below))):
        some = [below[place] for place in places]
        yield some[-1][0], [one for _, parameters in some for one in parameters]


def _groups(model: PreTrainedModel) -> list[tuple[str, list[Parameter]]]:
    """The layers from the input to the head; for networks without known layers, the head and all others."""
    try:
        groups = [(group.name, list(group.parameters.values())) for group in layer_groups(model)]
    except InputError:
        head = nn.ModuleList([model.classifier])
        of_head = {id(one) for one in head.parameters()}
        rest = [one for one in model.parameters() if id(one) not in of_head]
        groups = [(ALL_OTHERS, rest), (HEAD, list(head.parameters()))]
    return [(name, parameters) for name, parameters in groups if parameters]
