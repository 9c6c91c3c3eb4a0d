"""TrainingArguments for feature datasets: defaults for this machine, and values that the trainer relies on."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import parse_flag_from_env
from transformers import IntervalStrategy, PreTrainedModel, TrainingArguments
from transformers.trainer_utils import SaveStrategy

from hf_audio.environment import cpu_computes_in_bfloat16, usable_cores
from hf_audio.errors import InputError
from hf_audio.models.presets import gains_by_bfloat16
from hf_audio.training.objective import Objective

MAX_WORKERS = 32  # per process; a worker decodes a window in about 1 ms, and no GPU trains on 32,000 windows/s
PREFETCHED_BATCHES = 4  # per worker


def training_defaults(use_cpu: bool = False, model: str | None = None) -> dict[str, Any]:
    """Defaults of TrainingArguments for feature datasets on this machine; a recipe's own values override them.

    Args:
        use_cpu: train on the CPU, even if the machine has a GPU.
        model: name of the model that is trained, if known.
    """
    on_gpu = torch.cuda.is_available() and not use_cpu and not parse_flag_from_env("ACCELERATE_USE_CPU")
    processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    # Decoding a window takes 1 ms: workers help if a GPU trains, not if the CPU does.
    workers = min(MAX_WORKERS, max(1, usable_cores() // processes_here - 1)) if on_gpu else 0
    return {
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "save_total_limit": 2,  # the best and the newest
        "logging_steps": 10,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # it synchronizes with the GPU twice per step, and hides errors
        "report_to": "tensorboard",
        # otherwise accelerate runs a multi-process launch on a machine without a GPU as separate single processes
        "use_cpu": use_cpu or not torch.accelerator.is_available(),
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,  # below 1: a share of all steps
        **_precision(on_gpu, model),
        "dataloader_pin_memory": on_gpu,
        "dataloader_num_workers": workers,
    }


def _precision(on_gpu: bool, model: str | None) -> dict[str, bool]:
    """The precision in accelerate's config, or else bfloat16 where it is faster; flags override both.

    Without including_emulation=False, a T4 or V100 would report bfloat16 support but train more slowly than in float32.
    """
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if on_gpu:
        is_faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_faster = cpu_computes_in_bfloat16() and model is not None and gains_by_bfloat16(model)
    return {"bf16": asked == "bf16" or (asked == "no" and is_faster), "fp16": asked == "fp16"}


def fit_workers(values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Worker settings that match the number of workers: without workers, nothing is persistent or prefetched.

    Args:
        values: values of all arguments.
        given: names of arguments that a user or a recipe set; these are not changed.
    """
    workers = bool(values.get("dataloader_num_workers"))
    fitting = {
        "dataloader_persistent_workers": workers,
        "dataloader_prefetch_factor": PREFETCHED_BATCHES if workers else None,
    }
    return {name: value for name, value in fitting.items() if name not in given}


def training_arguments(run_folder: str | Path, **values: Any) -> TrainingArguments:
    """TrainingArguments of a run: `training_defaults`, overridden by `values`."""
    values = {**training_defaults(bool(values.get("use_cpu"))), **values}
    return TrainingArguments(output_dir=str(run_folder), **{**fit_workers(values, values), **values})


def own_arguments(
    args: TrainingArguments, model: PreTrainedModel, objective: Objective, patience: int, unfreezes: bool = False
) -> TrainingArguments:
    """A copy of the arguments with the values that AudioTrainer relies on.

    Args:
        patience: patience of early stopping.
        unfreezes: whether layers are unfrozen gradually.

    Raises:
        InputError: `push_to_hub` is set; the model does not support gradient checkpointing; a micro-batch is too small;
            early stopping has no scores; or there would be no best checkpoint.
    """
    if args.push_to_hub:
        raise InputError(
            "Trainer's push_to_hub would publish its checkpoints and all other files in their folder: leave it out, "
            "and publish the finished run with hf_audio.push_model"
        )
    smoothing = args.label_smoothing_factor
    if smoothing and objective.settings().get("label_smoothing_factor") != smoothing:
        raise InputError(
            f"label_smoothing_factor {smoothing:g} is not used: use Classification(..., label_smoothing=...) instead"
        )
    if args.gradient_checkpointing and not getattr(model, "supports_gradient_checkpointing", True):
        raise InputError(
            f"{type(model).__name__} does not support gradient checkpointing: leave out --gradient_checkpointing"
        )
    require_whole_gradients(args)
    if args.train_batch_size < objective.min_batch_size:
        raise InputError(
            f"The triplet loss and augmentation that mixes windows need other windows of the same micro-batch, which "
            f"has {args.train_batch_size}: use --per_device_train_batch_size {objective.min_batch_size} or more"
        )
    if patience < 0:
        raise InputError(f"early_stopping_patience must be 0 or more, found {patience}")
    if args.fp16 and args.device.type == "cpu":
        raise InputError("--fp16 needs a GPU: leave it out, or use --bf16, which also works on a CPU")
    args = copy.copy(args)
    args.hub_token = None  # these arguments are written into every checkpoint
    args.output_dir = str(Path(args.output_dir) / "checkpoints")
    args.remove_unused_columns = False  # the collator selects the model's inputs
    args.label_smoothing_factor = 0.0  # the objective's, for multi-label too
    args.data_seed = args.seed if args.data_seed is None else args.data_seed
    args.restore_callback_states_from_checkpoint = True  # early stopping continues counting
    args.dataloader_pin_memory = args.dataloader_pin_memory and args.device.type == "cuda"
    args.accelerator_config = copy.copy(args.accelerator_config)
    args.accelerator_config.non_blocking = args.dataloader_pin_memory  # batches are copied while the GPU computes
    # The flags take precedence over accelerate's config, which TrainingArguments falls back to
    args.mixed_precision = "bf16" if args.bf16 else "fp16" if args.fp16 else "no"
    if args.ddp_find_unused_parameters is None:  # layers that are still frozen have no gradient
        args.ddp_find_unused_parameters = unfreezes
    for name in ("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"):
        setattr(args, name, {"use_reentrant": False, **(getattr(args, name, None) or {})})
    if "validation" not in objective.features.splits:
        args.eval_strategy = IntervalStrategy.NO
    _keep_the_best(args, objective, patience)
    return args


def require_whole_gradients(args: TrainingArguments) -> None:
    """Raises InputError for reentrant checkpointing: with it, only layers whose inputs need a gradient have one, so
    LoRA adapters after a frozen layer and the first convolutions of stock speech models would not learn."""
    for name in ("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"):
        if (getattr(args, name, None) or {}).get("use_reentrant"):
            raise InputError(
                "use_reentrant in --gradient_checkpointing_kwargs would leave the first layers of speech models and "
                "layers after frozen ones without gradients: leave it out"
            )


def _keep_the_best(args: TrainingArguments, objective: Objective, patience: int) -> None:
    """Makes the best checkpoint the result of a run, if it has scores and checkpoints."""
    evaluates, saves = args.eval_strategy != IntervalStrategy.NO, args.save_strategy != SaveStrategy.NO
    asked, how = args.metric_for_best_model, (args.eval_strategy.value, args.save_strategy.value)
    if evaluates and saves:
        require_aligned(*how, args.eval_steps, args.save_steps)
        args.load_best_model_at_end = True  # otherwise the last one would be reported
        if asked is None:
            args.metric_for_best_model, args.greater_is_better = objective.main_metric
        elif asked.removeprefix("eval_") not in objective.metric_names:
            raise unknown_metric(asked, objective.metric_names)
        return
    found = f"found --eval_strategy {how[0]} and --save_strategy {how[1]}: set both to epoch, with a validation split"
    if patience:
        raise InputError(f"Early stopping needs scores, {found}")
    if asked is not None and not args.lr_scheduler_type.value.startswith(("reduce", "greedy")):
        raise InputError(f"--metric_for_best_model chooses a checkpoint by its scores, {found}")


def unknown_metric(asked: str, names: Collection[str]) -> InputError:
    """The error for a metric that an objective does not have."""
    return InputError(f"--metric_for_best_model {asked} is not computed: use one of {', '.join(names)}")


def require_aligned(evaluation: str, saving: str, eval_steps: float | None, save_steps: float) -> None:
    """Refuses checkpoints without an evaluation, because the best checkpoint could not be found.

    Args:
        evaluation, saving: --eval_strategy and --save_strategy, neither of them "no".
        eval_steps, save_steps: for "steps"; below 1, a share of all steps.

    Raises:
        InputError: the strategies differ, or checkpoints are saved at steps without an evaluation.
    """
    if saving == "best":
        return
    if evaluation != saving:
        raise InputError(
            f"--eval_strategy {evaluation} and --save_strategy {saving} would save weights that were not evaluated: "
            "use the same value for both, or --save_strategy best or no"
        )
    if saving == "steps" and eval_steps and not _is_multiple(save_steps, eval_steps):
        raise InputError(
            f"--save_steps {save_steps:g} must be a multiple of --eval_steps {eval_steps:g}, so that saved weights are "
            f"evaluated: use --save_steps {_next_multiple(save_steps, eval_steps):g}"
        )


def _is_multiple(save_steps: float, eval_steps: float) -> bool:
    if (save_steps < 1) != (eval_steps < 1):
        return False
    ratio = save_steps / eval_steps
    return ratio > 0.5 and abs(ratio - round(ratio)) < 1e-6


def _next_multiple(save_steps: float, eval_steps: float) -> float:
    if (save_steps < 1) != (eval_steps < 1):
        return eval_steps
    return eval_steps * math.ceil(save_steps / eval_steps)
