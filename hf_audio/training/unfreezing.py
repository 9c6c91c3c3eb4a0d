"""Gradual unfreezing: layers that are still frozen have no gradient, which also saves its cost."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import TrainerCallback

from hf_audio.training.layer_plan import PlannedLayer, first_step


class GradualUnfreezing(TrainerCallback):
    """Unfreezes each layer of a plan at its epoch.

    Frozen layers depend only on the number of steps, so they are the same in a resumed run. The optimizer has all
    parameters from the start and skips those without a gradient. Statistics of frozen batch norms do not change.

    Args:
        plan: see `plan_layers`.
        steps_per_epoch: optimizer steps per epoch.
        model: the unwrapped model.
    """

    def __init__(self, plan: Sequence[PlannedLayer], steps_per_epoch: int, model: nn.Module) -> None:
        self.plan, self.steps_per_epoch = plan, steps_per_epoch
        self.norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        self.hooks: list = []
        self.num_learning = 0

    def on_train_begin(self, args, state, control, **kwargs):
        self.num_learning = 0
        self._unfreeze(state.global_step)

    def on_step_begin(self, args, state, control, **kwargs):
        self._unfreeze(state.global_step)

    def on_train_end(self, args, state, control, **kwargs):
        self._set(len(self.plan))

    def _unfreeze(self, step: int) -> None:
        num_learning = sum(first_step(layer, self.steps_per_epoch) <= step for layer in self.plan)
        if num_learning != self.num_learning:
            self._set(num_learning)

    def _set(self, num_learning: int) -> None:
        self.num_learning = num_learning
        for place, layer in enumerate(self.plan):
            for one in layer.parameters.values():
                one.requires_grad_(place < num_learning)
        for hook in self.hooks:
            hook.remove()
        frozen = [norm for norm in self.norms if not any(one.requires_grad for one in norm.parameters())]
        self.hooks = [norm.register_forward_pre_hook(_rest) for norm in frozen]


def _rest(norm: nn.Module, _) -> None:
    norm.eval()  # Trainer puts the whole model in training mode before each batch
