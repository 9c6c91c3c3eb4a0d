"""Precision of evaluation: on a CPU always float32, whatever the precision of training."""

from __future__ import annotations

import copy

from torch import nn
from transformers import TrainingArguments


def scores_in_bfloat16(args: TrainingArguments) -> bool:
    """Whether evaluation uses bfloat16 too: only on a GPU, where it is much faster. On a CPU, evaluation is cheap
    compared to training, and users of the published model compute in float32 there."""
    return bool(args.bf16) and args.device.type != "cpu"


def without_autocast(model: nn.Module) -> nn.Module:
    """The same weights without accelerate's autocast around `forward`."""
    if "_original_forward" not in vars(model):
        return model
    bare = copy.copy(model)
    bare.forward = vars(bare).pop("_original_forward").__func__.__get__(bare)
    return bare
