"""Any audio encoder of transformers under any of our heads, or only the convolutions it begins with.

The stock classes of AutoModelForAudioClassification have one linear head; where that is enough, they are used as they
are (`checkpoints.py`). This class is for the rest: deep, Fluffy and ArcFace heads, metadata beside the embedding, and
Wav2Vec2's convolutional feature encoder without the transformer on it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from .classifier import AudioClassifier, AudioClassifierConfig, Layers

ENCODERS = ("full", "convolutional")
POOLINGS = ("mean", "cls")
AST, WHISPER = "audio-spectrogram-transformer", "whisper"
# The audio encoders that are known to fit: others may fetch code or weights of their own, or hear something else.
BACKBONES = (
    *(AST, "data2vec-audio", "hubert", "sew", "sew-d", "unispeech", "unispeech-sat", "wav2vec2", "wav2vec2-bert"),
    *("wav2vec2-conformer", "wavlm", WHISPER),
)
NUM_SPECIAL_TOKENS = 2  # AST's cls and distillation tokens, in front of the patches
# Masks drawn inside the model and layers skipped at random differ between processes and leave weights without gradient:
# masks are the training's (augmentations), and the adapter layers of speech models shorten what is averaged here.
SILENCED = {
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "layerdrop": 0.0,
    "encoder_layerdrop": 0.0,
    "add_adapter": False,
}
# What a backbone's config says of another task, of the machine it was loaded on, or of other code and libraries.
FOREIGN = (
    *("architectures", "auto_map", "dtype", "id2label", "label2id", "problem_type", "transformers_version"),
    *("attn_implementation", "experts_implementation", "quantization_config", "custom_pipelines"),
)


class TransformerClassifierConfig(AudioClassifierConfig):
    """A backbone, what of it is used, and how its frames become one vector.

    Args:
        backbone: the config of the backbone as a dict, with its `model_type`; see `backbone_settings`.
        encoder: "full", or "convolutional": only the convolutions on the waveform that Wav2Vec2 and its relatives
            begin with.
        pooling: "mean" over frames that are no padding, or "cls", the pooled tokens of AST. None is AST's own for AST
            and mean for all others.
        head and others: see AudioClassifierConfig.
    """

    model_type = "hf_audio_transformer"

    def __init__(
        self,
        backbone: dict[str, Any] | None = None,
        encoder: str = "full",
        pooling: str | None = None,
        **kwargs,
    ) -> None:
        if kwargs.get("model_type", self.model_type) != self.model_type:
            backbone, kwargs = kwargs, {}  # the config of a checkpoint without a head of ours
        self.backbone = dict(backbone or {"model_type": "wav2vec2"})
        self.encoder = encoder
        self.pooling = pooling or ("cls" if self.backbone.get("model_type") == AST else "mean")
        super().__init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Width of the backbone; of convolutions alone the channels of the last one."""
        config = backbone_config(self.backbone)
        return config.conv_dim[-1] if self.encoder == "convolutional" else config.hidden_size

    @property
    def num_hidden_layers(self) -> int:
        """Transformer layers of the backbone, of which none are used with convolutions alone."""
        return 0 if self.encoder == "convolutional" else backbone_config(self.backbone).num_hidden_layers

    @property
    def num_attention_heads(self) -> int:
        """Heads of each of them."""
        return backbone_config(self.backbone).num_attention_heads


class TransformerClassifier(AudioClassifier):
    """input_values or input_features as the backbone's feature extractor gives them, of waveforms `[batch, samples]`.

    A waveform too short for one frame is padded with zeros. The mask of padded waveforms is ignored where the
    convolutions are normalised over time ("group"): such models have learnt from zeros without a mask.
    """

    config_class = TransformerClassifierConfig
    base_model_prefix = "backbone"
    has_attentions = True  # none of them, where there are only convolutions
    supports_gradient_checkpointing = True
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True  # backbone decides
    lora_targets = ("q_proj", "v_proj", "linear_q", "linear_v", "query_proj", "value_proj")

    def __init__(self, config: TransformerClassifierConfig) -> None:
        attention = config._attn_implementation  # None unless somebody asked for one
        super().__init__(config)
        if config.encoder not in ENCODERS or config.pooling not in POOLINGS:
            raise ValueError(
                f"encoder must be one of {', '.join(ENCODERS)} and pooling one of {', '.join(POOLINGS)}, "
                f"found {config.encoder!r} and {config.pooling!r}"
            )
        kind = config.backbone.get("model_type")
        if config.pooling == "cls" and kind != AST:
            raise ValueError(f"Only AST has tokens to pool, found {kind}: use pooling mean")
        self.backbone = build_backbone(config.backbone, config.encoder, attention)
        self.main_input_name = self.backbone.main_input_name
        if config.encoder == "convolutional":
            self.lora_targets = ()
        self.least_samples = least_samples(self.backbone.config)
        for weights in self.backbone.parameters():
            if not weights.is_meta:  # those are still to be loaded
                weights._is_hf_initialized = True
        self.add_head(config.hidden_size)

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        metadata: Tensor | None = None,
        num_frames: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        input_features: Tensor | None = None,
    ) -> SequenceClassifierOutput | tuple[Tensor, ...]:
        """See AudioClassifier; `input_features` is what Whisper's and Wav2Vec2-BERT's extractors call their windows."""
        inputs = input_features if input_values is None else input_values
        asked = (output_attentions, output_hidden_states, return_dict)
        return super().forward(inputs, attention_mask, labels, metadata, num_frames, *asked)

    def embed(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        num_frames: Tensor | None = None,
        layers: Layers | None = None,
    ) -> Tensor:
        layers = layers or Layers()
        if getattr(self.backbone.config, "feat_extract_norm", None) == "group":
            attention_mask = None
        if self.least_samples:
            input_values, attention_mask = self._long_enough(input_values, attention_mask)
        if self.config.encoder == "convolutional":
            frames = self.backbone.feature_extractor(input_values).transpose(1, 2)
            layers.add(frames)
            return mean_over_frames(self.backbone.layer_norm(frames), self._frame_mask(frames, attention_mask))
        kind = self.config.backbone["model_type"]
        options = {} if kind in (AST, WHISPER) else {"attention_mask": attention_mask}
        if layers.hidden_states is not None:
            options["output_hidden_states"] = layers.wanted  # some models take numbers of layers too
        if layers.attentions is not None:
            options["output_attentions"] = True
        outputs = self.backbone(input_values, return_dict=True, **options)
        if layers.hidden_states is not None:
            layers.hidden_states = list(outputs.hidden_states)
        if layers.attentions is not None:
            layers.attentions = list(outputs.attentions)
        if self.config.pooling == "cls":
            return outputs.pooler_output
        frames = outputs.last_hidden_state
        if kind == AST:
            return frames[:, NUM_SPECIAL_TOKENS:].mean(dim=1)
        return mean_over_frames(frames, self._frame_mask(frames, attention_mask))

    def initialize_weights(self) -> None:
        """Called by transformers 5 with every new model, and after loading for what the checkpoint lacked.

        The backbone goes first, as the class of transformers that it is: within a class from elsewhere, modules that
        have no weights of their own count as initialised and their rules (Whisper's positions) would be left out.
        """
        self.backbone.initialize_weights()
        super().initialize_weights()
        for module in self.backbone.modules():
            if parametrize.is_parametrized(module, "weight"):
                draw_missing(module)

    def _set_gradient_checkpointing(self, enable: bool = True, *args, **kwargs) -> None:
        super()._set_gradient_checkpointing(enable, *args, **kwargs)
        convolutions = getattr(self.backbone, "feature_extractor", None)
        if hasattr(convolutions, "_requires_grad"):
            # Reentrant checkpoints, the default before transformers 5, give weights a gradient only if the input of
            # their layer has one; the waveform has none by itself.
            function = args[0] if args else kwargs.get("gradient_checkpointing_func")
            is_reentrant = getattr(function, "keywords", {}).get("use_reentrant", True)
            is_trained = any(weights.requires_grad for weights in convolutions.parameters())
            convolutions._requires_grad = enable and is_reentrant and is_trained

    def _long_enough(self, samples: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Windows of at least one frame: zeros behind them, which count as real where less than a frame is."""
        missing = self.least_samples - samples.shape[1]
        if missing > 0:
            samples = functional.pad(samples, (0, missing))
        if mask is not None:
            mask = functional.pad(mask, (0, samples.shape[1] - mask.shape[1]))
            mask = torch.cat([torch.ones_like(mask[:, : self.least_samples]), mask[:, self.least_samples :]], dim=1)
        return samples, mask

    def _frame_mask(self, frames: Tensor, mask: Tensor | None) -> Tensor | None:
        """Which frames `[batch, frames]` are no padding, from the mask of the input."""
        if mask is None:
            return None
        if self.config.backbone["model_type"] == WHISPER:
            return mask[:, ::2]  # its second convolution has stride 2
        return self.backbone._get_feature_vector_attention_mask(frames.shape[1], mask)


def build_backbone(settings: dict[str, Any], encoder: str = "full", attention: str | None = None) -> PreTrainedModel:
    """An untrained backbone from its config as a dict; of Whisper its encoder, or the convolutions alone.

    Raises:
        ValueError: a model type that is not in BACKBONES, or one without convolutions on the waveform.
    """
    if settings.get("model_type") not in BACKBONES:
        raise ValueError(f"The backbone must be one of {', '.join(BACKBONES)}, found {settings.get('model_type')!r}")
    config = backbone_config(settings)
    silence(config)
    chosen = {"attn_implementation": attention} if attention else {}
    if encoder == "convolutional":
        if not hasattr(config, "conv_stride"):
            raise ValueError(
                f"encoder convolutional needs a model that hears waveforms, such as wav2vec2, found {config.model_type}"
            )
        config.num_hidden_layers = 0
        whole = AutoModel.from_config(config, trust_remote_code=False, **chosen)
        return without_waste(only_convolutions(whole))
    if config.model_type == WHISPER:
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        return WhisperEncoder._from_config(config, **chosen)
    return without_waste(AutoModel.from_config(config, trust_remote_code=False, **chosen))


def backbone_config(settings: dict[str, Any]) -> PretrainedConfig:
    """The config of a backbone from its own words, without what leads elsewhere."""
    return AutoConfig.for_model(
        **{key: value for key, value in settings.items() if key not in FOREIGN and key[0] != "_"}
    )


def only_convolutions(backbone: PreTrainedModel) -> PreTrainedModel:
    """The same Wav2Vec2-like model without all that comes after the convolutions and the normalisation of their frames.

    The layer norm, where there is one, is the first half of the feature projection; it makes the frames of all clips
    alike in scale. The projection to the transformer's width goes.
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
    """Switches off what a speech model does by itself in training: masks, skipped layers, shortening adapters."""
    for name, value in SILENCED.items():
        if hasattr(config, name):
            setattr(config, name, value)


def without_waste(backbone: PreTrainedModel) -> PreTrainedModel:
    """The same speech model, which takes no gradient that nobody needs.

    Weights that it has and never uses are frozen, for several processes wait for the gradient of each weight. And its
    convolutions no longer ask for the gradient of the waveform, which is of use to reentrant checkpointing alone, costs
    time, and breaks the graph of torch.compile.
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
    """The config of a backbone as `TransformerClassifierConfig` takes it, without its own task and classes."""
    settings = {key: value for key, value in config.to_diff_dict().items() if key not in FOREIGN and key[0] != "_"}
    return {**settings, "model_type": config.model_type}


def least_samples(config: PretrainedConfig) -> int:
    """How many samples of a waveform make one output frame: 400 with the usual strides. 0 for other inputs."""
    if not hasattr(config, "conv_stride"):
        return 0
    samples = getattr(config, "squeeze_factor", 1)  # SEW's transformer sees one frame of two
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


@torch.no_grad()
def draw_missing(convolution: nn.Module) -> None:
    """Draws the weights of a convolution under weight norm, as torch does, unless a checkpoint had them.

    transformers draws such a layer's product of direction and length, which is computed anew at each call.
    """
    factors = list(convolution.parametrizations.weight.parameters())
    if any(one.is_meta or getattr(one, "_is_hf_initialized", False) for one in factors):
        return
    weight = torch.empty_like(convolution.weight)
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    convolution.weight = weight
    for one in factors:
        one._is_hf_initialized = True


def mean_over_frames(frames: Tensor, mask: Tensor | None) -> Tensor:
    """`[batch, frames, size]` -> `[batch, size]`, over the frames where the mask `[batch, frames]` is not 0."""
    if mask is None:
        return frames.mean(dim=1)
    weights = mask.float()[:, :, None]
    return ((frames * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)).to(frames.dtype)


TransformerClassifierConfig.register_for_auto_class()
TransformerClassifier.register_for_auto_class("AutoModelForAudioClassification")
# What the files named above import: of a local folder transformers 4 copies the files that a main file names, and no
# others; from the Hub it copies all.
from .heads import HEADS  # noqa: E402, F401
from .window_losses import cross_entropy  # noqa: E402, F401

AutoConfig.register(TransformerClassifierConfig.model_type, TransformerClassifierConfig, exist_ok=True)
AutoModelForAudioClassification.register(TransformerClassifierConfig, TransformerClassifier, exist_ok=True)
