"""The only place where a model's config.json is read, since it may be untrusted.

transformers keeps every field of the file as an attribute, follows some of them (`auto_map` to third-party code,
`quantization_config` and `attn_implementation` to other libraries and repositories), saves all of them with the next
model, and trusts every number. So only fields that a class itself declares are accepted here, for a fixed list of
classes, with the declared type and a plausible size for an audio model.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import typing
from collections.abc import Mapping
from typing import Any

from huggingface_hub.dataclasses import validate_typed_dict
from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING, PretrainedConfig

from hf_audio.errors import InputError, one_line
from hf_audio.models.classifier import AudioClassifierConfig
from hf_audio.models.transformer_backbone import BACKBONES
from hf_audio.models.transformer_classifier import TransformerClassifierConfig

OF_THE_TASK = ("id2label", "label2id", "problem_type")  # declared by the base class of all configs
NEVER_TAKEN = {"architectures", "dtype", "transformers_version", "output_hidden_states", "return_dict"}
# The largest speech encoders have 48 layers, 1,280 units and vocabularies of 256,000.
MAX_LAYERS, MAX_NETWORKS, MAX_PLACES, MAX_NUMBER = 256, 64, 4096, 1 << 24
MAX_FLOAT = 10**12
MAX_CLASSES = 1 << 16
MAX_LETTERS = 1000
# By a part of a field's name: fields that set a number of modules, and fields that windows are downsampled or padded
# by.
LIMITS = {
    **dict.fromkeys(("layers", "depths"), MAX_LAYERS),
    "num_backbones": MAX_NETWORKS,
    **dict.fromkeys(("stride", "kernel", "pools", "dilation", "multiple", "channels", "mel_bins"), MAX_PLACES),
}
MAX_ENTRIES = {"id2label": MAX_CLASSES, "label2id": MAX_CLASSES, "groups": MAX_NETWORKS}


def config_from_settings(settings: Mapping[str, Any], source: str) -> PretrainedConfig:
    """The config of an audio classifier, stock or ours, or of an encoder for one.

    Args:
        settings: the content of its config.json.
        source: the name of the checkpoint, for messages.

    Raises:
        InputError: the model type is not for audio classification, or a field has the wrong type or is too large.
    """
    kind = settings.get("model_type")
    known = {one.model_type: one for one in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING}
    known = {name: one for name, one in known.items() if name in BACKBONES or issubclass(one, AudioClassifierConfig)}
    if not isinstance(kind, str) or kind not in known:
        found = "names no model_type in its config.json" if kind is None else f"is a {str(kind)[:40]} model"
        raise InputError(
            f"{source} {found}, which does not classify audio: try facebook/wav2vec2-base, microsoft/wavlm-base or "
            "openai/whisper-base"
        )
    return _made(known[kind], settings, source)


def declared(config_class: type[PretrainedConfig]) -> dict[str, Any]:
    """The fields that a config class declares itself, and their types."""
    if not issubclass(config_class, AudioClassifierConfig):
        return {one.name: one.type for one in dataclasses.fields(config_class) if one.name not in NEVER_TAKEN}
    fields = {one.name: one.type for one in dataclasses.fields(PretrainedConfig) if one.name in OF_THE_TASK}
    one: Any
    for one in config_class.__mro__[: config_class.__mro__.index(PretrainedConfig)]:
        hints = typing.get_type_hints(one.__init__)
        fields |= {name: hints[name] for name in inspect.signature(one.__init__).parameters if name in hints}
    return {name: float | int if kind is float else kind for name, kind in fields.items()}


def _made(config_class: type[PretrainedConfig], settings: Mapping[str, Any], source: str) -> PretrainedConfig:
    types = declared(config_class)
    taken = {name: value for name, value in settings.items() if name in types}
    if issubclass(config_class, TransformerClassifierConfig):
        taken["backbone"] = _backbone(taken.get("backbone"), source)
    for name, value in taken.items():
        if name != "backbone":
            _check_size(name, value, source)
    try:
        as_typed: Any = typing.TypedDict  # created at run time, so type checkers know no fields
        validate_typed_dict(as_typed("Settings", {name: types[name] for name in taken}), taken)
        return config_class(**taken)
    except (StrictDataclassError, TypeError, ValueError, AttributeError, KeyError, ArithmeticError) as error:
        raise InputError(
            f"{source} has a config.json that does not match {config_class.__name__}: {one_line(error)}"
        ) from error


def _backbone(settings: Any, source: str) -> dict[str, Any]:
    """The settings of the encoder in our wrapper: declared fields of a known kind."""
    kind = settings.get("model_type") if isinstance(settings, Mapping) else None
    if not isinstance(kind, str) or kind not in BACKBONES:
        raise InputError(f"{source} has a backbone {str(kind)[:40]}, expected one of {', '.join(BACKBONES)}")
    config = _made(CONFIG_MAPPING[kind], settings, source)
    return {**{name: settings[name] for name in declared(type(config)) if name in settings}, "model_type": kind}


def _check_size(name: str, value: Any, source: str, depth: int = 0) -> None:
    """Raises InputError if a number, a string or a list is larger than in any model."""
    found: float
    if isinstance(value, Mapping | list):
        most = MAX_CLASSES if depth else MAX_ENTRIES.get(name, MAX_LAYERS)
        found, unit = len(value), "entries"
        if found <= most and depth < 3:
            for key, one in value.items() if isinstance(value, Mapping) else enumerate(value):
                _check_size(name, key, source, 3)
                _check_size(name, one, source, depth + 1)
            return
    elif isinstance(value, str):
        most, found, unit = MAX_LETTERS, len(value), "letters"
    elif value is None or isinstance(value, bool):
        return
    else:
        most = next((limit for part, limit in LIMITS.items() if part in name), MAX_NUMBER)
        most = MAX_FLOAT if isinstance(value, float) else most
        found, unit = abs(value) if math.isfinite(value) else math.inf, "as a number"
    if found > most:
        raise InputError(f"{source} has {name} of {found:,} {unit} in its config.json, but no model has over {most:,}")
