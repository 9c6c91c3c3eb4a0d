"""The learning rate of each layer, and when it starts to learn: layer-wise decay, the head's rate, gradual unfreezing.

Layer-wise decay follows the fine-tuning of ELECTRA and BEiT (Clark et al. 2020, arXiv 2003.10555; Bao et al. 2021,
arXiv 2106.08254): a layer's rate is `learning_rate * layer_decay ** (its distance from the head)`. Gradual unfreezing
follows ULMFiT (Howard and Ruder 2018, arXiv 1801.06146): first only the head is trained, then one more layer at a time,
from the top down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch.nn import Parameter
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hf_audio.config.optimizing import OptimizingConfig
from hf_audio.errors import InputError
from hf_audio.models.layer_groups import layer_groups


class PlannedLayer(NamedTuple):
    """A layer and how it is trained.

    Attributes:
        name: name of the layer.
        parameters: its trained parameters, by their names in the unwrapped model.
        learning_rate: peak learning rate.
        first_epoch: number of completed epochs when it starts to learn; 0: from the start.
    """

    name: str
    parameters: dict[str, Parameter]
    learning_rate: float
    first_epoch: float

    @property
    def num_weights(self) -> int:
        """Number of its trained weights."""
        return sum(one.numel() for one in self.parameters.values())


def plan_layers(model: PreTrainedModel, learning_rate: float, optimizing: OptimizingConfig) -> list[PlannedLayer]:
    """The layers that are trained, from the head down; empty if all layers are treated the same.

    Raises:
        InputError: only one layer is trained, or timm does not know the layers of this network.
    """
    if not (optimizing.sets_rates or optimizing.unfreeze_epochs):
        return []
    head_rate, plan = optimizing.head_learning_rate, []
    for below, layer in enumerate(reversed(layer_groups(model))):
        rate = learning_rate * optimizing.layer_decay**below
        trained = {name: one for name, one in layer.parameters.items() if one.requires_grad}
        if trained:
            rate = head_rate if below == 0 and head_rate is not None else rate
            plan.append(PlannedLayer(layer.name, trained, rate, len(plan) * optimizing.unfreeze_epochs))
    if len(plan) < 2:
        raise InputError(
            "--layer_decay, --head_learning_rate and --unfreeze_epochs need several layers, but only one is trained: "
            "leave them out, or train more layers"
        )
    return plan


def first_step(layer: PlannedLayer, steps_per_epoch: int) -> int:
    """Number of completed optimizer steps when a layer starts to learn."""
    return math.ceil(layer.first_epoch * steps_per_epoch - 1e-9)


def set_rates(optimizer: Optimizer, plan: Sequence[PlannedLayer]) -> None:
    """Splits an optimizer's groups, before its first step, so that each layer has its rate; weight decay is unchanged.

    The head's groups come first, since Trainer logs the rate of the first group.
    """
    place_of = {id(one): place for place, layer in enumerate(plan) for one in layer.parameters.values()}
    before = list(optimizer.param_groups)
    optimizer.param_groups.clear()
    for place, layer in enumerate(plan):
        for group in before:
            own = [one for one in group["params"] if place_of.get(id(one)) == place]
            if own:
                optimizer.add_param_group({**group, "params": own, "lr": layer.learning_rate})


def plan_settings(plan: Sequence[PlannedLayer]) -> list[list[Any]] | None:
    """A plan for a run's settings: name, learning rate and first epoch of each layer."""
    return [[layer.name, layer.learning_rate, layer.first_epoch] for layer in plan] or None


def plan_table(plan: Sequence[PlannedLayer], num_epochs: float) -> str:
    """A table of the layers for the terminal."""
    lines = [f"{'layer':<12}{'weights':>14}{'learning rate':>16}   trained"]
    for layer in plan:
        when = "from the start" if not layer.first_epoch else f"after epoch {layer.first_epoch:g}"
        when = when if layer.first_epoch < num_epochs else f"never: {num_epochs:g} epochs are too few"
        lines.append(f"{layer.name:<12}{layer.num_weights:>14,}{layer.learning_rate:>16.3g}   {when}")
    return "\n".join(lines)
