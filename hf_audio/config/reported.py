"""The settings of a run in a published report: known settings with their values, never the command line as typed."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Collection, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from hf_audio.config.acting import idle
from hf_audio.config.data import SEVERAL
from hf_audio.config.model import ClassicalConfig, PretrainingConfig
from hf_audio.config.run import NETWORK_GROUPS, RECORDING_GROUPS, HubConfig, Recipe, RunConfig
from hf_audio.config.setting import HUB_OR_PATH, NAMES, PATH
from hf_audio.markdown import python_literal
from hf_audio.privacy import last_name, public_name, public_value

GROUPS = (*RECORDING_GROUPS.values(), *NETWORK_GROUPS.values(), PretrainingConfig, ClassicalConfig)
SETTINGS = [field for group in GROUPS for field in dataclasses.fields(group)]
FIELDS = {field.name: field for field in (*SETTINGS, *dataclasses.fields(HubConfig), *dataclasses.fields(RunConfig))}
# The flags of a reported command: those that determine data, model and training, including each of transformers' flags
# that affects the result. Others are not published: locations of files, accounts, and the rest of transformers' flags.
REPORTED_FLAGS = (
    "demo",
    *(field.name for field in SETTINGS),
    "streaming",
    *("num_train_epochs", "max_steps", "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"),
    *("optim", "optim_args", "optim_target_modules", "adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay"),
    *("max_grad_norm", "label_smoothing_factor", "train_sampling_strategy", "dataloader_drop_last"),
    *("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"),
    *("gradient_checkpointing", "bf16", "fp16", "tf32", "torch_compile", "seed", "data_seed", "full_determinism"),
    *("eval_strategy", "eval_steps", "eval_delay", "save_strategy", "save_steps"),
    *("metric_for_best_model", "greater_is_better"),
    "searched_trials",
)


def reported_settings(recipe: Recipe, of_features: Collection[str] | None = None) -> dict[str, dict[str, Any]]:
    """The settings that had an effect, by group: recordings, features, mixtures, and the network or classical model.

    Args:
        of_features: the settings that this kind of features has. None: all settings of features are reported.
    """
    of_model = ("classical",) if recipe.classical else NETWORK_GROUPS
    groups = {group: vars(getattr(recipe, group)) for group in (*RECORDING_GROUPS, *of_model)}
    idle_ones = {name for name, _ in idle(flat_settings(recipe))}
    if of_features is not None:
        idle_ones |= groups["features"].keys() - set(of_features)
    acted = {
        group: {name: _reported(name, value) for name, value in flags.items() if name not in idle_ones}
        for group, flags in groups.items()
    }
    return {group: flags for group, flags in acted.items() if flags}


def flat_settings(recipe: Recipe) -> dict[str, Any]:
    """All of our own settings, by name."""
    of_model = (*(getattr(recipe, group) for group in NETWORK_GROUPS), recipe.classical)
    groups = (recipe.data, recipe.features, recipe.mixing, *of_model, recipe.hub)
    found = {name: value for group in groups if group for name, value in vars(group).items()}
    return found | {"push_to_hub": recipe.push_to_hub, "stored_features": recipe.stored_features}


def reported_command(recipe: Recipe, program: str) -> str:
    """The command line that repeats a run, with the flags that differ from the recipe; or the Python call, if it was
    made in Python.

    Args:
        program: path of the recipe.
    """
    if recipe.made_in_python:
        return _reported_call(recipe)
    script = Path(program).name
    script = script if re.fullmatch(r"[\w-]+\.py", script) else "RECIPE.py"
    words = ["accelerate", "launch", f"recipes/{script}"]
    for name in REPORTED_FLAGS:
        if recipe.chosen.get(name) is not None:
            words += [f"--{name}", *_words(_reported(name, recipe.chosen[name]))]
    return shlex.join(words)


def _reported_call(recipe: Recipe) -> str:
    chosen = {name: recipe.chosen[name] for name in REPORTED_FLAGS if recipe.chosen.get(name) is not None}
    settings = (f"{name}={python_literal(_reported(name, value))}" for name, value in chosen.items())
    return f"hf_audio.make_recipe({', '.join(settings)})"


def _reported(name: str, value: Any) -> Any:
    """The value of a setting as it may be published."""
    if isinstance(value, list) and name in SEVERAL:
        return [_reported(name, one) for one in value]
    named = NAMES.get(FIELDS.get(name))
    if value and named == PATH:
        return last_name(value)
    if value and named == HUB_OR_PATH:
        return public_name(value)
    return public_value(value.value if isinstance(value, Enum) else value)


def _words(value: Any) -> list[str]:
    """The words after a flag on a command line."""
    if value is True:
        return []
    if value is False:
        return ["false"]
    if isinstance(value, Mapping):
        return [json.dumps(value, ensure_ascii=False)]
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]
