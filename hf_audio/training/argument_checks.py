"""Refuses TrainingArguments that have no effect or are invalid, before anything is read or built."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from accelerate.utils import parse_flag_from_env
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.integrations import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations
from transformers.training_args import ParallelMode

from hf_audio.config.optimizing import LAYERWISE_OPTIMIZERS
from hf_audio.errors import InputError, one_line, unknown_name
from hf_audio.training.argument_roles import BATCH_ARGUMENTS, DECISIVE_ARGUMENTS, REFUSED_ARGUMENTS
from hf_audio.training.arguments import require_aligned, require_whole_gradients, unknown_metric
from hf_audio.training.classification import Classification
from hf_audio.training.own_parameters import require_unsharded
from hf_audio.training.pretraining import Pretraining
from hf_audio.training.sharding import refuse_adapters

WHOLE_NUMBERS = {
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"), 1),
    **dict.fromkeys(("save_total_limit", "eval_accumulation_steps", "dataloader_prefetch_factor", "ddp_timeout"), 1),
    **dict.fromkeys(("torch_empty_cache_steps", "ddp_bucket_cap_mb"), 1),
    **dict.fromkeys(("seed", "data_seed", "dataloader_num_workers"), 0),
}
NOT_NEGATIVE = (
    *("learning_rate", "weight_decay", "warmup_steps", "max_grad_norm", "label_smoothing_factor", "eval_delay"),
    *("adam_beta1", "adam_beta2", "adam_epsilon"),
)
ABOVE_0 = ("num_train_epochs", "eval_steps", "save_steps", "logging_steps")
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")  # of torch.compile
MAX_SEED = 2**32 - 1  # numpy's
OF_CLASSICAL_MODELS = {"seed"}
OF_NETWORKS = (  # hardware arguments that only networks use
    *("gradient_checkpointing", "gradient_checkpointing_kwargs", "activation_checkpointing", "torch_compile"),
    *("activation_checkpointing_kwargs", "torch_compile_backend", "torch_compile_mode", "torch_empty_cache_steps"),
    *("per_device_eval_batch_size", "eval_accumulation_steps", "eval_on_start", "save_total_limit", "logging_steps"),
    *("logging_strategy", "logging_first_step", "dataloader_num_workers", "dataloader_prefetch_factor", "fsdp"),
    *("dataloader_persistent_workers", "dataloader_pin_memory", "dataloader_in_order", "deepspeed", "run_name"),
)
OF_ADAM = ("adam_beta1", "adam_beta2", "adam_epsilon")


def require_useful(given: Collection[str], values: Mapping[str, Any]) -> None:
    """Checks the values of arguments, and refuses some arguments whenever the user set them.

    Raises:
        InputError: an argument has no effect here, a number is out of range, a metric is not computed, or the package
            of a tracker is not installed.
    """
    for name in sorted(REFUSED_ARGUMENTS.keys() & set(given)):
        raise InputError(f"--{name} is not supported: {REFUSED_ARGUMENTS[name]}")
    _check_numbers(values)
    metric = values.get("metric_for_best_model")
    # Trainer would look for the metric only after the first epoch
    metrics = (Pretraining if "objective" in values else Classification).metric_names
    if metric is not None and metric.removeprefix("eval_") not in metrics:
        raise unknown_metric(metric, metrics)
    strategies: Any = [
        getattr(values.get(name), "value", values.get(name)) for name in ("eval_strategy", "save_strategy")
    ]
    if None not in strategies and "no" not in strategies:
        evaluation, saving = strategies
        require_aligned(evaluation, saving, values["eval_steps"], values["save_steps"])
    if values.get("train_sampling_strategy") not in ("random", "sequential"):
        raise InputError("--train_sampling_strategy must be random or sequential: all windows have the same length")
    if values.get("fp16") and values.get("use_cpu"):
        raise InputError("--fp16 needs a GPU: leave it out, or use --bf16, which also works on a CPU")
    mode = values.get("torch_compile_mode")
    if mode is not None and mode not in COMPILE_MODES:
        raise unknown_name("--torch_compile_mode", mode, COMPILE_MODES)
    if values.get("deepspeed") and find_spec("deepspeed") is None:
        raise InputError("--deepspeed needs the package deepspeed, which is not installed: pip install deepspeed")
    _check_reporting(values.get("report_to"))


def require_makeable(
    args: TrainingArguments, given: Collection[str] = (), has_adapters: bool = False, has_centers: bool = False
) -> None:
    """Creates the optimizer's settings and the schedule as training will, so that errors in them are raised early.

    Args:
        given: names of the arguments that the user set.
        has_adapters: whether LoRA is used.
        has_centers: whether the center loss is used.

    Raises:
        InputError: a package is missing; the optimizer or the schedule does not take its arguments; --fsdp in a single
            process, with adapters or with centers; or gradient checkpointing that loses gradients.
    """
    is_sharded = bool(args.fsdp) or parse_flag_from_env("ACCELERATE_USE_FSDP")
    if has_adapters and is_sharded:
        refuse_adapters()
    uses_deepspeed = bool(args.deepspeed) or parse_flag_from_env("ACCELERATE_USE_DEEPSPEED")
    require_unsharded(has_centers, is_sharded or uses_deepspeed)
    if args.fsdp and args.parallel_mode != ParallelMode.DISTRIBUTED:
        raise InputError(
            "--fsdp shards a model across processes, but this run has only one: use accelerate launch --config_file "
            "recipes/accelerate/fsdp.yaml, or leave it out"
        )
    require_whole_gradients(args)
    _check_optimizer(args, given)
    schedule, settings = args.lr_scheduler_type.value, args.lr_scheduler_kwargs
    try:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        get_scheduler(schedule, optimizer, 1, 10, scheduler_specific_kwargs=copy.copy(settings))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"--lr_scheduler_type {schedule} does not work with --lr_scheduler_kwargs {settings}: {one_line(error)}"
        ) from None


def _check_optimizer(args: TrainingArguments, given: Collection[str]) -> None:
    """Raises InputError for an optimizer that is not installed, or for settings that it does not use."""
    name, options = args.optim.value, args.optim_args.split(",") if args.optim_args else []
    changes = {f"--optim_args {one}": ({"optim_args": None}, {"optim_args": one}) for one in options}
    changes |= {f"--{one}": ({}, {one: 0.123}) for one in OF_ADAM if one in given}
    try:
        _optimizer(args, {})
        for flag, (without, with_it) in changes.items():
            if _optimizer(args, without) == _optimizer(args, with_it):
                raise InputError(f"{flag} has no effect: --optim {name} does not use it, leave it out")
    except ImportError as error:
        raise InputError(f"--optim {name} needs a package that is not installed: {one_line(error)}") from None
    except (TypeError, ValueError, AttributeError) as error:
        if not name.startswith(LAYERWISE_OPTIMIZERS):  # these need the model
            raise InputError(
                f"--optim {name} does not work with --optim_args {args.optim_args}, expected NAME=VALUE,NAME=VALUE: "
                f"{one_line(error)}"
            ) from None


def _optimizer(args: TrainingArguments, changes: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    changed = copy.copy(args)
    for name, value in changes.items():
        setattr(changed, name, value)
    return Trainer.get_optimizer_cls_and_kwargs(changed)


def require_of_classical_models(given: Collection[str]) -> None:
    """Raises InputError for arguments that only networks use, when a classical model is trained."""
    for name in sorted(set(given) & {*DECISIVE_ARGUMENTS, *BATCH_ARGUMENTS, *OF_NETWORKS} - OF_CLASSICAL_MODELS):
        raise InputError(f"--{name} is for networks and has no effect with --classical_model: leave it out")


def _check_numbers(values: Mapping[str, Any]) -> None:
    for name, minimum in WHOLE_NUMBERS.items():
        value = values.get(name)
        if value is not None and (type(value) is not int or value < minimum):
            raise InputError(f"--{name} must be a whole number of {minimum} or more, found {value!r}")
    for name in ("seed", "data_seed"):
        if (values.get(name) or 0) > MAX_SEED:
            raise InputError(f"--{name} must be at most {MAX_SEED}, found {values[name]}")
    for name in (*NOT_NEGATIVE, *ABOVE_0):
        value = values.get(name)
        is_number = isinstance(value, int | float) and math.isfinite(value)
        if value is not None and not (is_number and (value > 0 if name in ABOVE_0 else value >= 0)):
            raise InputError(f"--{name} must be {'above 0' if name in ABOVE_0 else '0 or more'}, found {value!r}")
    for name in ("adam_beta1", "adam_beta2", "label_smoothing_factor"):
        if values.get(name, 0) >= 1:
            raise InputError(f"--{name} must be below 1, found {values[name]!r}")
    max_steps = values.get("max_steps", -1)
    if type(max_steps) is not int or (max_steps < 1 and max_steps != -1):
        raise InputError(f"--max_steps must be 1 or more, or -1 to use --num_train_epochs, found {max_steps!r}")


def _check_reporting(named: str | list[str] | None) -> None:
    names = [named] if isinstance(named, str) else named or []
    for name in names:
        if name in ("all", "none"):
            continue
        if name not in INTEGRATION_TO_CALLBACK:
            raise unknown_name("name in --report_to", name, ["none", *INTEGRATION_TO_CALLBACK])
        if name not in get_available_reporting_integrations():
            # the names of some trackers are not those of their packages
            install = 'pip install "hf_audio[trackers]"' if name in ("trackio", "wandb") else "install it"
            raise InputError(
                f"--report_to {name} needs a package that is not installed: {install}, or use --report_to none"
            )
