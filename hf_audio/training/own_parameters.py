"""What an objective learns beside the model: in the optimizer and in checkpoints, and in no published model.

It is small, so each process has all of it: gradients are averaged over processes while they are computed, as those of
the model are.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn
from torch.distributed import ReduceOp, all_reduce

from hf_audio.errors import InputError
from hf_audio.files import read_whole, write_atomically

OWN_FILE = "objective.safetensors"
MAX_BYTES = 1 << 30


def optimize_own(own: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device, world_size: int) -> None:
    """Adds its parameters to the model's optimizer, at the rate `own.learning_rate` and without weight decay."""
    own.to(device)
    optimizer.add_param_group({"params": list(own.parameters()), "lr": own.learning_rate, "weight_decay": 0.0})
    if world_size > 1:
        for parameter in own.parameters():
            parameter.register_hook(_average)


def _average(gradient: torch.Tensor) -> torch.Tensor:
    """A gradient's mean over all processes."""
    shared = gradient.contiguous().clone()
    all_reduce(shared, ReduceOp.SUM)
    return shared / torch.distributed.get_world_size()


def save_own(own: nn.Module, checkpoint: str) -> None:
    """Writes its parameters beside the optimizer's state."""
    write_atomically(Path(checkpoint) / OWN_FILE, save(own.state_dict()))


def load_own(own: nn.Module, checkpoint: str) -> None:
    """Takes up its parameters again.

    Raises:
        InputError: the checkpoint has none, or other ones.
    """
    try:
        own.load_state_dict(load(read_whole(Path(checkpoint) / OWN_FILE, MAX_BYTES)))
    except (InputError, SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{Path(checkpoint).name} has not what its loss had learned ({OWN_FILE}): give --overwrite_run true to "
            "start again"
        ) from error


def require_unsharded(has_own: bool, is_sharded: bool) -> None:
    """Refuses parameters beside a model that is sharded with its optimizer.

    Raises:
        InputError: there are some.
    """
    if has_own and is_sharded:
        raise InputError(
            "--center_weight has centers of its own, which FSDP and DeepSpeed would not train with the model: leave it "
            "out, or train without them"
        )
