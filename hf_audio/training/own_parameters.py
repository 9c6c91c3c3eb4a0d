"""Parameters that an objective learns in addition to the model's: optimized and checkpointed, but not published.

They are few, so each process has all of them. Their gradients are averaged over processes, like those of the model.
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
    """Adds the parameters to the model's optimizer, with the rate `own.learning_rate` and without weight decay."""
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
    """Writes the parameters next to the optimizer's state."""
    write_atomically(Path(checkpoint) / OWN_FILE, save(own.state_dict()))


def load_own(own: nn.Module, checkpoint: str) -> None:
    """Loads the parameters.

    Raises:
        InputError: the checkpoint has none, or different ones.
    """
    try:
        own.load_state_dict(load(read_whole(Path(checkpoint) / OWN_FILE, MAX_BYTES)))
    except (InputError, SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{Path(checkpoint).name} lacks the parameters of its loss ({OWN_FILE}): use --overwrite_run true to "
            "start from the beginning"
        ) from error


def require_unsharded(has_own: bool, is_sharded: bool) -> None:
    """Refuses additional parameters if the model and its optimizer are sharded.

    Raises:
        InputError: both are true.
    """
    if has_own and is_sharded:
        raise InputError(
            "--center_weight trains class centers, which FSDP and DeepSpeed do not support: leave it out, or train "
            "without them"
        )
