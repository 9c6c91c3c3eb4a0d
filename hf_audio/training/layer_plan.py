"""Which layer learns at which rate, and from when on: layer-wise decay, the head's own rate, gradual unfreezing.

Layer-wise decay is that of BERT's and BEiT's fine-tuning (Clark et al. 2020, arXiv 2003.10555; Bao et al. 2021, arXiv
2106.08254): the rate of a layer is `learning_rate * layer_decay ** (layers between it and the head, the head counted)`.
Gradual unfreezing is that of ULMFiT (Howard and Ruder 2018, arXiv 1801.06146): the head first, then one layer more from
the top on.
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
    """A layer and its training.

    Attributes:
        name: of the layer.
        parameters: those of it that are trained, by the names that the bare model has.
        learning_rate: at the schedule's height.
        first_epoch: how many epochs are over when it begins to learn; 0 from the start.
    """

    name: str
    parameters: dict[str, Parameter]
    learning_rate: float
    first_epoch: float

    @property
    def num_weights(self) -> int:
        """Of its trained parameters."""
        return sum(one.numel() for one in self.parameters.values())


def plan_layers(model: PreTrainedModel, learning_rate: float, optimizing: OptimizingConfig) -> list[PlannedLayer]:
    """The layers that are trained, from the head down; an empty list where all are treated alike.

    Raises:
        InputError: only one layer is trained, or timm does not know the layers of its network.
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
            "--layer_decay, --head_learning_rate and --unfreeze_epochs tell layers apart and one alone is trained: "
            "leave them out, or train more than that"
        )
    return plan


def first_step(layer: PlannedLayer, steps_per_epoch: int) -> int:
    """Optimizer steps that are over when a layer begins to learn."""
    return math.ceil(layer.first_epoch * steps_per_epoch - 1e-9)


def set_rates(optimizer: Optimizer, plan: Sequence[PlannedLayer]) -> None:
    """Divides an optimizer's groups, before its first step, so that each layer has its rate; weight decay stays.

    The head's groups come first: theirs is the rate that Trainer logs.
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
    """What decides of a plan, as a run's settings have it: name, learning rate and first epoch of each layer."""
    return [[layer.name, layer.learning_rate, layer.first_epoch] for layer in plan] or None


def plan_table(plan: Sequence[PlannedLayer], num_epochs: float) -> str:
    """A short table of the layers, to be printed once."""
    lines = [f"{'layer':<12}{'weights':>14}{'learning rate':>16}   trained"]
    for layer in plan:
        when = "from the start" if not layer.first_epoch else f"after epoch {layer.first_epoch:g}"
        when = when if layer.first_epoch < num_epochs else f"never: {num_epochs:g} epochs are too few"
        lines.append(f"{layer.name:<12}{layer.num_weights:>14,}{layer.learning_rate:>16.3g}   {when}")
    return "\n".join(lines)
