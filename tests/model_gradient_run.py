"""Loss and gradient of every model on one global batch: run by one process, or by several that share the batch.

accelerate launch --num_processes N tests/model_gradient_run.py OUT.safetensors
"""

from __future__ import annotations

import sys

import torch
from accelerate import Accelerator
from model_cases import suited
from safetensors.torch import save_file

from hf_audio.training.synced_batch_norm import sync_batch_norms

GLOBAL_BATCH = 4


def all_gradients(accelerator: Accelerator | None = None) -> dict[str, torch.Tensor]:
    """`{instance}.loss` and `{instance}.gradient`; without an accelerator, by plain torch."""
    found = {}
    for instance in suited("two_processes"):
        model, inputs = instance.model().train(), instance.inputs(GLOBAL_BATCH)
        targets = instance.targets(GLOBAL_BATCH)
        if accelerator is not None:
            sync_batch_norms(model)  # like AudioTrainer
            model = accelerator.prepare(model)
            share = slice(accelerator.process_index, None, accelerator.num_processes)
            inputs, targets = {name: tensor[share] for name, tensor in inputs.items()}, targets[share]
        loss = instance.loss(model, inputs, targets)
        loss.backward()
        found[f"{instance.id}.loss"] = (
            loss.detach() if accelerator is None else accelerator.reduce(loss.detach(), "mean")
        )
        gradients = [weights.grad.flatten() for weights in model.parameters() if weights.requires_grad]
        found[f"{instance.id}.gradient"] = torch.cat(gradients)
    return found


if __name__ == "__main__":
    accelerator = Accelerator(cpu=True)
    tensors = all_gradients(accelerator)
    if accelerator.is_main_process:
        tensors["world_size"] = torch.tensor(accelerator.num_processes)
        save_file(tensors, sys.argv[1])
    accelerator.end_training()
