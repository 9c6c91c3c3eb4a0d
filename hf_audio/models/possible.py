"""Checks a model by its name and settings alone, so that errors are raised before hours are spent on features."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from hf_audio.errors import InputError, unknown_name
from hf_audio.kinds import Form, Kind, names_of
from hf_audio.models.checkpoints import SETTINGS, TRANSFORMER_PRESETS
from hf_audio.models.freezing import FREEZABLE
from hf_audio.models.heads import HEADS, MARGIN_HEADS, build_head
from hf_audio.models.presets import AST_PRESETS, NETWORKS, PRESETS
from hf_audio.models.timm_backbone import ParallelTimmConfig
from hf_audio.models.timm_network import import_timm

TIMM = "timm/"  # timm's own namespace on the Hub


def is_trained(name: str) -> bool:
    """Whether a name is a checkpoint; presets, which are trained from scratch, take precedence over folders."""
    return name not in PRESETS and ("/" in name or Path(name).is_dir())


def require_possible(
    name: str,
    *,
    freeze: str = "none",
    lora_rank: int = 0,
    gradient_checkpointing: bool = False,
    patch_dropout: bool = False,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Raises InputError for an impossible model or combination of settings, as far as names reveal it.

    Args:
        name, freeze, lora_rank, options: see `build_model`.
        gradient_checkpointing: recompute layers in the backward pass instead of storing their outputs.
        patch_dropout: drop patches in training.

    Raises:
        InputError: an unknown name or option (suggests the nearest), an impossible head, adapters for an untrained
            model, gradient checkpointing for a network that does not support it, or patch dropout for a network
            without patches.
    """
    if not is_trained(name) and name not in PRESETS and name not in import_timm().list_models():
        raise unknown_name("model", name, [*PRESETS, *import_timm().list_models()])
    if freeze not in FREEZABLE:
        raise unknown_name("freeze", freeze, FREEZABLE)
    if lora_rank and not is_trained(name):
        raise InputError(f"LoRA adapts a pretrained checkpoint, but {name} is untrained: use a checkpoint as --model")
    if gradient_checkpointing and name in NETWORKS and not NETWORKS[name].model_class.supports_gradient_checkpointing:
        raise InputError(f"{name} does not support gradient checkpointing: leave out --gradient_checkpointing")
    if patch_dropout and not (name in AST_PRESETS or (is_trained(name) and not name.startswith(TIMM))):
        raise InputError(
            f"Patch dropout is for Audio Spectrogram Transformers, but {name} is not one: use "
            "--patch_dropout 0 --patch_dropout_time 0 --patch_dropout_frequency 0, or --model ast-mini"
        )
    known = _known_options(name)
    for option in options or {}:
        if option not in known:
            raise unknown_name(f"model option of {name}", option, known)
    _check_head(NETWORKS[name].settings if name in NETWORKS else {}, options or {})


def require_form(name: str, kind: Kind) -> None:
    """Raises InputError for features that a preset or a timm network cannot read."""
    if is_trained(name) and not name.startswith(TIMM):
        return  # checked by its extractor
    form = Form.IMAGE
    if name in NETWORKS:
        form = NETWORKS[name].form
    elif name in PRESETS and name not in AST_PRESETS:
        form = Form.SOUND
    if kind.form is not form:
        kinds = names_of(form)
        raise InputError(f"{name} needs {kinds} features, but these are {kind.name}: use --features {kinds}")


def _known_options(name: str) -> Collection[str]:
    """The options that a model has."""
    if name in AST_PRESETS:
        return {*AST_PRESETS[name], *SETTINGS}
    if name in NETWORKS:
        return NETWORKS[name].model_class.config_class().to_dict().keys()
    if name in TRANSFORMER_PRESETS:
        return {*AutoConfig.for_model(**TRANSFORMER_PRESETS[name]).to_dict(), *SETTINGS, "encoder"}
    if is_trained(name) and not name.startswith(TIMM):
        return {*SETTINGS, "encoder"}
    return ParallelTimmConfig().to_dict().keys()


def _check_head(preset: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    wanted = {**preset, **options}
    head = wanted.get("head", HEADS[0])
    if head not in HEADS:
        raise unknown_name("head", head, HEADS)
    idle = [
        name for name in ("head_margin", "head_scale") if head not in MARGIN_HEADS and options.get(name) is not None
    ]
    if idle:
        raise InputError(
            f"--{idle[0]} has no effect with a {head} head: add --head arcface or cosface, or leave it out"
        )
    try:
        with torch.device("meta"):  # draws no random numbers
            build_head(head, 1, 2, wanted.get("head_sizes", ()), wanted.get("head_dropout", 0.0))
    except (TypeError, ValueError) as error:
        raise InputError(f"{error} (--head, --head_sizes, --head_dropout, or the same in --model_options)") from None
