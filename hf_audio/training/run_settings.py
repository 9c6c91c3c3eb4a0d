"""The settings that determine a run: written before it starts, compared when it is resumed, and shown in its report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import PreTrainedModel, TrainerState, TrainingArguments

from hf_audio.config.augment import FRACTIONS
from hf_audio.config.optimizing import OptimizingConfig
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.finished_work import digest, digest_of_folder
from hf_audio.models.lora import is_lora
from hf_audio.models.origin import origin_of
from hf_audio.privacy import public_name
from hf_audio.training.argument_roles import DECISIVE_ARGUMENTS
from hf_audio.training.averaged_weights import first_averaged_step
from hf_audio.training.balanced_order import class_shares
from hf_audio.training.layer_plan import PlannedLayer, plan_settings
from hf_audio.training.objective import Objective

OF_THE_MODEL = "model."  # prefix of the fields of its config
TRAINABLE = "trainable weights"
EMBEDDING_LOSSES = ("triplet", "center")
CLASSES_DRAWN = "share of windows drawn"  # per class, with balanced sampling


def run_settings(
    args: TrainingArguments, model: PreTrainedModel, objective: Objective, patience: int
) -> dict[str, Any]:
    """The settings that determine a run's result, as flat JSON; users see their names if two runs differ.

    Args:
        args: the trainer's arguments.
        model: before it is prepared for training.
        patience: patience of early stopping.
    """
    base = str(getattr(model.config, "_name_or_path", "") or "")
    config = {key: value for key, value in model.config.to_diff_dict().items() if key not in ("transformers_version",)}
    lora = next(iter(getattr(model, "peft_config", {}).values()), None)
    features = objective.features
    manifest = json.dumps(features.manifest, sort_keys=True, default=str)
    trainable = {name: weights.numel() for name, weights in model.named_parameters() if weights.requires_grad}
    settings = {
        **{name: getattr(args, name, None) for name in DECISIVE_ARGUMENTS},
        **{f"{OF_THE_MODEL}{key}": value for key, value in config.items()},
        **objective.settings(),
        "windows_per_step": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "mixed_precision": args.mixed_precision,
        "model": public_name(base) if base else "from scratch",
        "weights that it starts from": digest_of_folder(Path(base)) if base and Path(base).is_dir() else None,
        TRAINABLE: sum(trainable.values()),
        "names of trainable weights": digest(sorted(trainable)),
        "lora": lora and [lora.r, lora.lora_alpha, lora.lora_dropout, sorted(lora.target_modules)],
        "features": hashlib.sha256(manifest.encode()).hexdigest()[:16],
        "streaming": isinstance(features.splits["train"], datasets.IterableDataset),
        "early_stopping_patience": patience,
    }
    return json.loads(json.dumps(settings, default=str))


def optimizing_settings(
    optimizing: OptimizingConfig, plan: Sequence[PlannedLayer], features: FeatureDataset, shares: np.ndarray | None
) -> dict[str, Any]:
    """The optimization settings for `run_settings` that have an effect.

    Args:
        plan: see `plan_layers`.
        shares: see `window_shares`.
    """
    schedule = optimizing.lr_schedule
    decays = schedule in ("step", "exponential")
    found = {
        "layers": plan_settings(plan),
        "lr_decay_factor": optimizing.lr_decay_factor if decays else None,
        "lr_decay_epochs": optimizing.lr_decay_epochs if decays else None,
        "ema_decay": optimizing.ema_decay or None,
        "swa_epochs": optimizing.swa_epochs or None,
        "balanced_sampling": None if shares is None else optimizing.balanced_sampling,
        CLASSES_DRAWN: None if shares is None else class_shares(features, shares),
    }
    return found | ({"lr_scheduler_type": schedule, "lr_scheduler_kwargs": None} if schedule else {})


def run_facts(
    settings: Mapping[str, Any], model: PreTrainedModel, args: TrainingArguments, state: TrainerState
) -> dict[str, Any]:
    """The report's "model", "training" and "log_history".

    Args:
        settings: `run_settings` of the run, the only source for how it was trained.
        model: unwrapped.
    """
    bare = model.get_base_model() if is_lora(model) else model
    return {
        "model": {
            "architecture": type(bare).__name__,
            **origin_of(bare),
            "adapter": "lora" if is_lora(model) else None,
            "num_parameters": sum(weights.numel() for weights in bare.parameters()),
            "num_trainable_parameters": settings[TRAINABLE],
        },
        "training": {**_progress(args, state), **_decided(settings, state)},
        "log_history": state.log_history,
    }


def _progress(args: TrainingArguments, state: TrainerState) -> dict[str, Any]:
    last = next((entry for entry in reversed(state.log_history) if "train_runtime" in entry), {})
    return {
        "epochs": state.epoch,
        "steps": state.global_step,
        "best_step": state.best_global_step,
        "seconds": last.get("train_runtime"),  # since the last resume, if the run was interrupted
        "windows_per_second": last.get("train_samples_per_second"),
        "device": torch.cuda.get_device_name() if args.device.type == "cuda" else args.device.type,
        "num_processes": args.world_size,
    }


def _decided(settings: Mapping[str, Any], state: TrainerState) -> dict[str, Any]:
    precision = settings["mixed_precision"]
    return {
        "windows_per_step": settings["windows_per_step"],
        "learning_rate": settings["learning_rate"],
        "lr_scheduler": settings["lr_scheduler_type"],
        "weight_decay": settings["weight_decay"],
        "objective": _objective_in_words(settings),
        "optimizing": _in_words(settings, state),
        "precision": "fp32" if precision == "no" else precision,
        "seed": settings["seed"],
        "settings": {name: value for name, value in settings.items() if not name.startswith(OF_THE_MODEL)},
    }


def _objective_in_words(settings: Mapping[str, Any]) -> dict[str, str]:
    """The losses and augmentation of a classification run that had an effect, for a table."""
    if "loss" not in settings:
        return {}
    parts = [settings["loss"].replace("_", "-")]
    smoothing, weights = settings["label_smoothing_factor"], settings["class_weights"]
    if smoothing:
        parts.append(f"label smoothing {smoothing:g}")
    if settings.get("logit_adjustment"):
        parts.append(f"logit adjustment {settings['logit_adjustment']:g}")
    if weights:
        parts.append(f"class weights {min(weights):.3g} to {max(weights):.3g}")
    parts += [
        f"{what} loss times {settings[f'{what}_weight']:g}" for what in EMBEDDING_LOSSES if f"{what}_weight" in settings
    ]
    if taught := settings.get("distillation"):
        parts.append(f"distillation weight {taught['weight']:g}")
    dropped = ["PatchDropout"] if any(settings.get(name) for name in FRACTIONS) else []
    words = {"loss": ", ".join(parts), "augmentation": ", ".join([*settings["augmentation_steps"], *dropped])}
    return {name: value for name, value in words.items() if value}


def _in_words(settings: Mapping[str, Any], state: TrainerState) -> dict[str, str]:
    """The settings of OptimizingConfig that had an effect, for a table."""
    layers = settings["layers"] or []
    words = {
        "published weights": _published_weights(settings, state),
        "sampling": settings["balanced_sampling"] and f"balanced by class ({settings['balanced_sampling']})",
    }
    rates = sorted({rate for _, rate, _ in layers})
    if len(rates) > 1:
        words["learning rates of layers"] = f"{rates[0]:.3g} to {rates[-1]:.3g}, the head's {layers[0][1]:.3g}"
    if layers and layers[-1][2]:
        words["unfrozen"] = f"from the head down, one layer every {layers[1][2]:g} epochs"
    return {name: value for name, value in words.items() if value}


def _published_weights(settings: Mapping[str, Any], state: TrainerState) -> str | None:
    """How the published weights were averaged. The best ones may be from before the mean of the last epochs."""
    ema, num_epochs = settings["ema_decay"], settings["swa_epochs"]
    if ema:
        return f"moving average, decay {ema:g}"
    if not num_epochs:
        return None
    per_epoch = round(state.global_step / state.epoch) if state.epoch else 1
    first = first_averaged_step(num_epochs, state.max_steps, per_epoch)
    left = state.best_global_step or state.global_step
    if left < first:
        return f"those of step {left:,}, better on validation than the mean of the last {num_epochs} epochs"
    return f"mean of the last epochs, at most {num_epochs}, at step {left:,}"
