"""The audio encoders of transformers that our heads can use, and how they are built from a config."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

ENCODERS = ("full", "convolutional")
AST, WHISPER = "audio-spectrogram-transformer", "whisper"
# The audio encoders that are known to work: others may fetch code or weights, or need different inputs.
BACKBONES = (
    *(AST, "data2vec-audio", "hubert", "sew", "sew-d", "unispeech", "unispeech-sat", "wav2vec2", "wav2vec2-bert"),
    *("wav2vec2-conformer", "wavlm", WHISPER),
)
# Random masks inside the model and layer dropout differ between processes and leave weights without a gradient; here,
# masking is an augmentation. The adapter layers of speech models shorten the sequence that is averaged here.
SILENCED = {
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "layerdrop": 0.0,
    "encoder_layerdrop": 0.0,
    "add_adapter": False,
}
# Fields of a backbone's config about another task, the machine it was loaded on, or other code and libraries.
FOREIGN = (
    *("architectures", "auto_map", "dtype", "id2label", "label2id", "problem_type", "transformers_version"),
    *("attn_implementation", "experts_implementation", "quantization_config", "custom_pipelines"),
)


def build_backbone(settings: dict[str, Any], encoder: str = "full", attention: str | None = None) -> PreTrainedModel:
    """An untrained backbone from its config as a dict: for Whisper, only its encoder; or only the convolutions.

    Raises:
        ValueError: the model type is not in BACKBONES, or it has no convolutions on the waveform.
    """
    if settings.get("model_type") not in BACKBONES:
        raise ValueError(f"The backbone must be one of {', '.join(BACKBONES)}, found {settings.get('model_type')!r}")
    config = backbone_config(settings)
    silence(config)
    chosen = {"attn_implementation": attention} if attention else {}
    if encoder == "convolutional":
        if not hasattr(config, "conv_stride"):
            raise ValueError(
                f"encoder convolutional needs a model of waveforms, such as wav2vec2, found {config.model_type}"
            )
        config.num_hidden_layers = 0
        whole = AutoModel.from_config(config, trust_remote_code=False, **chosen)
        return without_waste(only_convolutions(whole))
    if config.model_type == WHISPER:
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        return WhisperEncoder._from_config(config, **chosen)
    return without_waste(AutoModel.from_config(config, trust_remote_code=False, **chosen))


def backbone_config(settings: dict[str, Any]) -> PretrainedConfig:
    """The config of a backbone from its settings, without fields that point elsewhere."""
    return AutoConfig.for_model(
        **{key: value for key, value in settings.items() if key not in FOREIGN and key[0] != "_"}
    )


def only_convolutions(backbone: PreTrainedModel) -> PreTrainedModel:
    """The same Wav2Vec2-like model with only the convolutions and the normalization of their frames.

    The layer norm, if there is one, is the first half of the feature projection: it brings the frames of all clips to
    the same scale. The projection to the transformer's width is removed.
    """
    norm = getattr(backbone.feature_projection, "layer_norm", None) or getattr(backbone, "layer_norm", nn.Identity())
    for name, _ in list(backbone.named_children()):
        if name != "feature_extractor":
            delattr(backbone, name)
    backbone.layer_norm = norm
    if hasattr(backbone, "masked_spec_embed"):
        del backbone.masked_spec_embed
    return backbone


def silence(config: PretrainedConfig) -> None:
    """Switches off a speech model's own behavior in training: masking, layer dropout, shortening adapters."""
    for name, value in SILENCED.items():
        if hasattr(config, name):
            setattr(config, name, value)


def without_waste(backbone: PreTrainedModel) -> PreTrainedModel:
    """The same speech model without unnecessary gradients.

    Weights that it never uses are frozen, because several processes wait for the gradient of each weight. Also, its
    convolutions no longer require a gradient of the waveform: only reentrant checkpointing needs it, it costs time, and
    it breaks the graph of torch.compile.
    """
    for name, weights in backbone.named_parameters():
        is_spare = backbone.config.model_type == "wav2vec2-conformer" and "pos_conv_embed" in name
        if is_spare or name == "masked_spec_embed":
            weights.requires_grad_(False)
    convolutions = getattr(backbone, "feature_extractor", None)
    if hasattr(convolutions, "_requires_grad"):
        convolutions._requires_grad = False
    return backbone


def backbone_settings(config: PretrainedConfig) -> dict[str, Any]:
    """The config of a backbone for `TransformerClassifierConfig`, without its own task and classes."""
    settings = {key: value for key, value in config.to_diff_dict().items() if key not in FOREIGN and key[0] != "_"}
    return {**settings, "model_type": config.model_type}


def min_samples(config: PretrainedConfig) -> int:
    """Minimum number of samples for one output frame: 400 with the usual strides. 0 for inputs that are not
    waveforms."""
    if not hasattr(config, "conv_stride"):
        return 0
    samples = getattr(config, "squeeze_factor", 1)  # SEW's transformer gets every second frame
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


@torch.no_grad()
def draw_missing(convolution: nn.Module) -> None:
    """Initializes the weights of a convolution with weight norm, as torch does, unless they come from a checkpoint.

    transformers initializes the product of direction and magnitude, which is recomputed at each call.
    """
    factors = list(convolution.parametrizations.weight.parameters())
    if any(one.is_meta or getattr(one, "_is_hf_initialized", False) for one in factors):
        return
    weight = torch.empty_like(convolution.weight)
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    convolution.weight = weight
    for one in factors:
        one._is_hf_initialized = True
