"""Precision of scores: on a CPU float32, whatever a model is trained in."""

from __future__ import annotations

import copy

from torch import nn
from transformers import TrainingArguments


def scores_in_bfloat16(args: TrainingArguments) -> bool:
    """Whether scores are computed in bfloat16 too: on a GPU, where it is much faster. Scoring takes a CPU little beside
    training, and who loads the published model there computes in float32."""
    return bool(args.bf16) and args.device.type != "cpu"


def without_autocast(model: nn.Module) -> nn.Module:
    """The same weights without the autocast that accelerate has put around `forward`."""
    if "_original_forward" not in vars(model):
        return model
    bare = copy.copy(model)
    bare.forward = vars(bare).pop("_original_forward").__func__.__get__(bare)
    return bare
