"""What a report says of a network and its training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from hf_audio.models.lora import is_lora
from hf_audio.models.origin import origin_of

if TYPE_CHECKING:
    from hf_audio.training.trainer import AudioTrainer


def run_facts(trainer: AudioTrainer) -> dict[str, Any]:
    """The report's "model", "training" and "log_history"."""
    return {
        "model": _model_facts(trainer),
        "training": _training_facts(trainer),
        "log_history": trainer.state.log_history,
    }


def _model_facts(trainer: AudioTrainer) -> dict[str, Any]:
    model = trainer.accelerator.unwrap_model(trainer.model)
    bare = model.get_base_model() if is_lora(model) else model
    return {
        "architecture": type(bare).__name__,
        **origin_of(bare),
        "adapter": "lora" if is_lora(model) else None,
        "num_parameters": sum(weights.numel() for weights in bare.parameters()),
        "num_trainable_parameters": sum(weights.numel() for weights in model.parameters() if weights.requires_grad),
    }


def _training_facts(trainer: AudioTrainer) -> dict[str, Any]:
    args, state = trainer.args, trainer.state
    last = next((entry for entry in reversed(state.log_history) if "train_runtime" in entry), {})
    return {
        "epochs": state.epoch,
        "steps": state.global_step,
        "best_step": state.best_global_step,
        "seconds": last.get("train_runtime"),  # since the last resume, where the run was interrupted
        "windows_per_second": last.get("train_samples_per_second"),
        "device": torch.cuda.get_device_name() if args.device.type == "cuda" else args.device.type,
        "num_processes": args.world_size,
        "windows_per_step": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "learning_rate": args.learning_rate,
        "lr_scheduler": str(args.lr_scheduler_type.value),
        "weight_decay": args.weight_decay,
        "precision": "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32",
        "seed": args.seed,
    }
