"""Transformers for audio, from a checkpoint or from scratch, as stock classes wherever the head allows it.

AutoModelForAudioClassification has a linear head on the complete encoder, so a model with that head is a stock model,
which loads without our code. All other heads use `TransformerClassifier`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from transformers import AutoConfig, AutoModelForAudioClassification, PretrainedConfig, PreTrainedModel

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError, unknown_name
from hf_audio.models.audio_spectrogram_transformer import ast_from_checkpoint
from hf_audio.models.classifier import AudioClassifierConfig
from hf_audio.models.foreign_checkpoint import Checkpoint, is_of_head
from hf_audio.models.transformer_backbone import (
    AST,
    WHISPER,
    backbone_settings,
    only_convolutions,
    silence,
    without_waste,
)
from hf_audio.models.transformer_classifier import TransformerClassifier, TransformerClassifierConfig

# "wav2vec2-mini" has a frame every 20 ms, like the large models, and trains on a CPU in minutes. It has layer norm in
# the convolutions and before each block, so it trains without a long warm-up, and padding does not change the result.
TRANSFORMER_PRESETS: dict[str, dict[str, Any]] = {
    "wav2vec2-mini": {
        "model_type": "wav2vec2",
        "conv_dim": [64] * 7,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 512,
        "classifier_proj_size": 128,
        "initializer_range": 128**-0.5,  # the usual 0.02 suits widths of 768 and more
    },
}
SETTINGS = {"pooling", *inspect.signature(AudioClassifierConfig).parameters} - {"kwargs"}
FRAMES_PER_POSITION = 2  # of Whisper: its second convolution has stride 2


def transformer_from_checkpoint(
    name: str,
    labels: LabelSpace,
    *,
    encoder: str = "full",
    num_frames: int | None = None,
    num_bins: int | None = None,
    token: str | None = None,
    **settings,
) -> PreTrainedModel:
    """A trained audio transformer with a new head: a stock class if the head allows it, otherwise ours.

    Args:
        name: Hub name or folder of any model that AutoModelForAudioClassification knows, whatever its task was:
            pretraining, speech recognition, other classes.
        labels: the new head's classes.
        encoder: "full", or "convolutional": only the convolutions of Wav2Vec2 and similar models.
        num_frames, num_bins: size of a window, for AST. Whisper takes `num_frames` too, for windows shorter than the
            30 s (3,000 frames) it was trained on.
        token: access token for a private checkpoint. None: the stored token.
        settings: `pooling`, and settings of the head, see AudioClassifierConfig.

    Raises:
        InputError: the checkpoint does not exist, is not an audio model, has missing or pickled weights, or the
            settings are invalid.
    """
    _check_settings(settings)
    size = {"num_frames": num_frames, "num_bins": num_bins}
    stock = stock_from_checkpoint(name, labels, token=token, **size)
    return stock if stays_stock(encoder, **settings) else with_head(stock, labels, encoder=encoder, **settings)


def stock_from_checkpoint(
    name: str,
    labels: LabelSpace,
    *,
    num_frames: int | None = None,
    num_bins: int | None = None,
    token: str | None = None,
) -> PreTrainedModel:
    """A checkpoint as the class that AutoModelForAudioClassification maps it to, in float32, with a new classifier.

    All weights of the encoder are the checkpoint's. The classifier is new, unless the checkpoint was trained on exactly
    these classes. Masking and layer dropout in training are switched off (see `silence`). Arguments and errors are
    those of `transformer_from_checkpoint`. Checkpoints of our own classes load in the same way.
    """
    checkpoint = Checkpoint(name, token)
    config = checkpoint.config
    if config.model_type == AST:
        if num_frames is None or num_bins is None:
            raise ValueError("An AST needs num_frames and num_bins of its windows")
        return ast_from_checkpoint(name, labels, num_frames, num_bins, token=token)
    same_classes = list(config.id2label.values()) == list(labels.names)
    for key, value in labels.config_settings.items():
        setattr(config, key, value)
    if isinstance(config, AudioClassifierConfig):
        config.logit_curve_points = 0  # the calibration is not valid for weights that change
    silence(config)
    if config.model_type == WHISPER and num_frames is not None:
        config.max_source_positions = -(-num_frames // FRAMES_PER_POSITION)
    model, absent = checkpoint.load(config)
    head_is_whole = not any(is_of_head(key) for key in absent)
    if not (same_classes and head_is_whole):
        for module in model.classifier.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    without_waste(backbone_of(model))
    return model


def transformer_from_scratch(kind: str, labels: LabelSpace, *, encoder: str = "full", **settings) -> PreTrainedModel:
    """An untrained transformer of a preset in TRANSFORMER_PRESETS, a stock class if the head allows it.

    Settings are `pooling`, settings of the head, and fields of the preset's own config, such as num_hidden_layers.

    Raises:
        InputError: an unknown preset, or invalid settings.
    """
    if kind not in TRANSFORMER_PRESETS:
        raise unknown_name("model", kind, TRANSFORMER_PRESETS)
    preset = TRANSFORMER_PRESETS[kind]
    known = AutoConfig.for_model(**preset).to_dict()
    of_network = {key: value for key, value in settings.items() if key in known}
    settings = {key: value for key, value in settings.items() if key not in known}
    _check_settings(settings, preset)
    config = AutoConfig.for_model(**{**preset, **of_network, **labels.config_settings})
    silence(config)
    if stays_stock(encoder, **settings):
        model = AutoModelForAudioClassification.from_config(config, trust_remote_code=False)
        without_waste(backbone_of(model))
        return model
    return _new_classifier(config, labels, encoder, settings)


def with_head(
    stock: PreTrainedModel, labels: LabelSpace, *, encoder: str = "full", **settings
) -> TransformerClassifier:
    """The encoder of a stock audio classifier, trained or not, with another head. Do not use the stock model
    afterwards.

    Raises:
        InputError: invalid settings.
    """
    _check_settings(settings)
    backbone = backbone_of(stock)
    model = _new_classifier(backbone.config, labels, encoder, settings)
    if encoder == "convolutional":
        backbone = only_convolutions(backbone)
    model.backbone.load_state_dict(backbone.state_dict())
    model.config.name_or_path = model.name_or_path = stock.name_or_path
    model.has_stock_base = bool(stock.name_or_path)
    return model


def stays_stock(
    encoder: str = "full",
    pooling: str | None = None,
    head: str = "linear",
    head_sizes: Sequence[int] = (),
    head_dropout: float = 0.0,
    metadata: dict | None = None,
    **others,
) -> bool:
    """Whether the stock class has this head: linear, on the encoder's own pooling, without metadata."""
    is_linear = head == "linear" and not head_sizes and not head_dropout
    return encoder == "full" and pooling is None and is_linear and not metadata


def backbone_of(model: PreTrainedModel) -> PreTrainedModel:
    """The encoder of an audio classifier, stock or ours."""
    return model.encoder if model.config.model_type == WHISPER else model.base_model


def _new_classifier(config: PretrainedConfig, labels: LabelSpace, encoder: str, settings: dict):
    try:
        wrapped = TransformerClassifierConfig(
            backbone=backbone_settings(config), encoder=encoder, **settings, **labels.config_settings
        )
        return TransformerClassifier(wrapped)
    except ValueError as error:  # one sentence about the head or the encoder
        raise InputError(str(error)) from error


def _check_settings(settings: dict[str, Any], preset: Iterable[str] = ()) -> None:
    for name in settings.keys() - SETTINGS:
        raise unknown_name("model option", name, [*SETTINGS, *preset])
