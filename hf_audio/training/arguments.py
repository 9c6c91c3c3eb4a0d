"""TrainingArguments for feature datasets, and the settings by which a run is known again."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from accelerate.utils import parse_flag_from_env
from transformers import IntervalStrategy, TrainingArguments
from transformers.trainer_utils import SaveStrategy

from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.environment import usable_cores
from hf_audio.errors import InputError
from hf_audio.finished_work import digest_of_folder
from hf_audio.privacy import public_name
from hf_audio.training.argument_roles import DECISIVE_ARGUMENTS


def training_defaults() -> dict[str, Any]:
    """TrainingArguments that suit feature datasets on this machine, to be laid under a recipe's own values."""
    on_gpu = torch.cuda.is_available() and not parse_flag_from_env("ACCELERATE_USE_CPU")
    processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    # Decoding a window takes 1 ms: a CPU that trains has no use for workers beside itself, a GPU has.
    workers = min(8, max(1, usable_cores() // processes_here - 1)) if on_gpu else 0
    return {
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "save_total_limit": 2,  # the best and the newest
        "logging_steps": 10,
        "logging_first_step": True,
        "report_to": "tensorboard",
        # left alone, accelerate makes single processes of a multi-process launch on a machine without an accelerator
        "use_cpu": not torch.accelerator.is_available(),
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,  # below 1: a share of all steps
        "bf16": on_gpu and torch.cuda.is_bf16_supported(),
        "dataloader_pin_memory": on_gpu,
        "dataloader_num_workers": workers,
        "dataloader_persistent_workers": workers > 0,
        "dataloader_prefetch_factor": 4 if workers else None,
    }


def training_arguments(run_folder: str | Path, **values: Any) -> TrainingArguments:
    """TrainingArguments of a run: `training_defaults` with `values` over them."""
    return TrainingArguments(output_dir=str(run_folder), **{**training_defaults(), **values})


def own_arguments(args: TrainingArguments, features: FeatureDataset, patience: int) -> TrainingArguments:
    """A copy of the arguments with what AudioTrainer relies on.

    Raises:
        InputError: Trainer itself is told to publish, or to stop early without scores.
    """
    if args.push_to_hub:
        raise InputError(
            "Trainer's push_to_hub would publish its checkpoints and all else that lies there: leave it out, and "
            "publish the finished run with hf_audio.push_model"
        )
    args = copy.copy(args)
    args.hub_token = None  # these arguments are written into every checkpoint
    args.output_dir = str(Path(args.output_dir) / "checkpoints")
    args.remove_unused_columns = False  # the collator makes what the model sees
    args.label_names = ["labels", "clip_keys"]
    args.label_smoothing_factor = 0.0  # done here, for multi-label too
    args.data_seed = args.seed if args.data_seed is None else args.data_seed
    args.restore_callback_states_from_checkpoint = True  # early stopping goes on counting
    args.dataloader_pin_memory = args.dataloader_pin_memory and torch.cuda.is_available()
    if args.ddp_find_unused_parameters is None:
        args.ddp_find_unused_parameters = False
    # With the reentrant kind no gradient reaches LoRA adapters, since the inputs of a frozen layer need none.
    for name in ("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"):
        setattr(args, name, {"use_reentrant": False, **(getattr(args, name, None) or {})})
    if "validation" not in features.splits:
        args.eval_strategy = "no"
    if args.eval_strategy != "no" and args.eval_strategy == args.save_strategy:
        args.load_best_model_at_end = True  # by whatever metric: else the last one would be what is reported
        if args.metric_for_best_model is None:
            args.metric_for_best_model = "mean_average_precision" if features.labels.is_multi_label else "accuracy"
            args.greater_is_better = True
    if patience and args.metric_for_best_model is None:
        raise InputError(
            f"Early stopping needs scores, found --eval_strategy {IntervalStrategy(args.eval_strategy).value} and "
            f"--save_strategy {SaveStrategy(args.save_strategy).value}: set both to epoch, and have a validation split"
        )
    return args


def run_settings(args, model, features, augment, class_weights, patience) -> dict[str, Any]:
    """What decides a run's result, flat and as JSON."""
    base = str(getattr(model.config, "_name_or_path", "") or "")
    config = {key: value for key, value in model.config.to_diff_dict().items() if key not in ("transformers_version",)}
    lora = next(iter(getattr(model, "peft_config", {}).values()), None)
    manifest = json.dumps(features.manifest, sort_keys=True, default=str)
    settings = {
        **{name: getattr(args, name, None) for name in DECISIVE_ARGUMENTS},
        **{f"model.{key}": value for key, value in config.items()},
        "batch_size": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "model": public_name(base) if base else "from scratch",
        "weights that it starts from": digest_of_folder(Path(base)) if base and Path(base).is_dir() else None,
        "lora": lora and [lora.r, lora.lora_alpha, lora.lora_dropout, sorted(lora.target_modules)],
        "features": hashlib.sha256(manifest.encode()).hexdigest()[:16],
        "streaming": isinstance(features.splits["train"], datasets.IterableDataset),
        # The repr of other objects holds their address, which is new in every process.
        "augmentation": augment and (repr(augment) if is_dataclass(augment) else type(augment).__name__),
        "class_weights": None if class_weights is None else [round(float(weight), 6) for weight in class_weights],
        "early_stopping_patience": patience,
    }
    return json.loads(json.dumps(settings, default=str))
