"""Any audio encoder of transformers, or only its first convolutions, with any of our heads.

The stock classes of AutoModelForAudioClassification have one linear head; if that is enough, they are used unchanged
(`checkpoints.py`). This class is for all other cases: deep, fluffy and margin heads, metadata in addition to the
embedding, and Wav2Vec2's convolutional feature encoder without the transformer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import parametrize
from transformers import AutoConfig, AutoModelForAudioClassification

from .classifier import AudioClassifier, AudioClassifierConfig, Windows
from .padding import mean_over_frames
from .transformer_backbone import (
    AST,
    ENCODERS,
    WHISPER,
    backbone_config,
    build_backbone,
    draw_missing,
    min_samples,
)

POOLINGS = ("mean", "cls")
NUM_SPECIAL_TOKENS = 2  # AST's cls and distillation tokens, before the patches


class TransformerClassifierConfig(AudioClassifierConfig):
    """A backbone, which part of it is used, and how its frames are pooled to one vector.

    Args:
        backbone: the config of the backbone as a dict, with its `model_type`; see `backbone_settings`.
        encoder: "full", or "convolutional": only the first convolutions of Wav2Vec2 and similar models.
        pooling: "mean" over frames (for AST: patches) that are not padding, or "cls", the pooled tokens of AST. None:
            "cls" for AST, "mean" for all others.
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
            backbone, kwargs = kwargs, {}  # the config of a checkpoint of another class
        self.backbone = dict(backbone or {"model_type": "wav2vec2"})
        self.encoder = encoder
        self.pooling = pooling or ("cls" if self.backbone.get("model_type") == AST else "mean")
        super().__init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Width of the backbone; with only convolutions, the channels of the last one."""
        config = backbone_config(self.backbone)
        return config.conv_dim[-1] if self.encoder == "convolutional" else config.hidden_size

    @property
    def num_hidden_layers(self) -> int:
        """Transformer layers of the backbone; with only convolutions, none."""
        return 0 if self.encoder == "convolutional" else backbone_config(self.backbone).num_hidden_layers

    @property
    def num_attention_heads(self) -> int:
        """Attention heads per layer."""
        return backbone_config(self.backbone).num_attention_heads


class TransformerClassifier(AudioClassifier):
    """input_values or input_features of the backbone's feature extractor; waveforms are `[batch, samples]`.

    Waveforms that are too short for one frame are padded with zeros. The mask of padded waveforms is ignored if the
    convolutions normalize over time ("group"): such models were trained on zero padding without a mask.
    """

    config_class = TransformerClassifierConfig
    base_model_prefix = "backbone"
    has_attentions = True  # empty with only convolutions
    supports_gradient_checkpointing = True
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True  # backbone decides
    lora_targets: tuple[str, ...] = ("q_proj", "v_proj", "linear_q", "linear_v", "query_proj", "value_proj")

    def __init__(self, config: TransformerClassifierConfig) -> None:
        attention = config._attn_implementation  # None unless one was requested
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
        self.min_samples = min_samples(self.backbone.config)
        for weights in self.backbone.parameters():
            if not weights.is_meta:  # meta tensors have not been loaded yet
                weights._is_hf_initialized = True
        self.add_head(config.hidden_size)

    def embedding_of(self, windows: Windows) -> Tensor:
        values, attention_mask, layers = windows.values, windows.attention_mask, windows.layers
        if getattr(self.backbone.config, "feat_extract_norm", None) == "group":
            attention_mask = None
        if self.min_samples:
            values, attention_mask = self._long_enough(values, attention_mask)
        if self.config.encoder == "convolutional":
            frames = self.backbone.feature_extractor(values).transpose(1, 2)
            layers.add(frames)
            return mean_over_frames(self.backbone.layer_norm(frames), self._frame_mask(frames, attention_mask))
        kind = self.config.backbone["model_type"]
        options = {} if kind in (AST, WHISPER) else {"attention_mask": attention_mask}
        if layers.hidden_states is not None:
            options["output_hidden_states"] = layers.wanted  # some models also take layer numbers
        if layers.attentions is not None:
            options["output_attentions"] = True
        outputs = self.backbone(values, return_dict=True, **options)
        if layers.hidden_states is not None:
            layers.hidden_states = list(outputs.hidden_states)
        if layers.attentions is not None:
            layers.attentions = list(outputs.attentions)
        if self.config.pooling == "cls":
            return outputs.pooler_output
        frames = outputs.last_hidden_state
        if kind == AST:
            return mean_over_frames(frames[:, NUM_SPECIAL_TOKENS:], self._patch_mask(windows.num_frames))
        return mean_over_frames(frames, self._frame_mask(frames, attention_mask))

    def initialize_weights(self) -> None:
        """transformers 5 calls this for new models, and after loading for weights that the checkpoint lacked.

        The backbone is initialized first, by its own transformers class: within another class, modules without direct
        weights count as initialized, and their rules (for Whisper's positions) would be skipped.
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
            # Reentrant checkpoints, the default before transformers 5, give weights a gradient only if the layer's
            # input requires one, which the waveform does not by default.
            function = args[0] if args else kwargs.get("gradient_checkpointing_func")
            is_reentrant = getattr(function, "keywords", {}).get("use_reentrant", True)
            is_trained = any(weights.requires_grad for weights in convolutions.parameters())
            convolutions._requires_grad = enable and is_reentrant and is_trained

    def _long_enough(self, samples: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Windows padded with zeros to at least one frame, whose samples then all count as real."""
        missing = self.min_samples - samples.shape[1]
        if missing > 0:
            samples = functional.pad(samples, (0, missing))
        if mask is not None:
            mask = functional.pad(mask, (0, samples.shape[1] - mask.shape[1]))
            mask = torch.cat([torch.ones_like(mask[:, : self.min_samples]), mask[:, self.min_samples :]], dim=1)
        return samples, mask

    def _patch_mask(self, num_frames: Tensor | None) -> Tensor | None:
        """Which of AST's patches `[batch, patches]`, band by band, have a frame that is not padding."""
        if num_frames is None:
            return None
        rows, columns = self.backbone.embeddings.get_shape(self.backbone.config)
        starts = torch.arange(columns, device=num_frames.device) * self.backbone.config.time_stride
        return (starts < num_frames[:, None]).repeat(1, rows)

    def _frame_mask(self, frames: Tensor, mask: Tensor | None) -> Tensor | None:
        """Which frames `[batch, frames]` are not padding, from the mask of the input."""
        if mask is None:
            return None
        if self.config.backbone["model_type"] == WHISPER:
            return mask[:, ::2]  # its second convolution has stride 2
        return self.backbone._get_feature_vector_attention_mask(frames.shape[1], mask)


TransformerClassifierConfig.register_for_auto_class()
TransformerClassifier.register_for_auto_class("AutoModelForAudioClassification")
# Repeats what the imported files import: from a local folder, transformers 4 copies only the files that the main file
# itself imports. From the Hub, it copies all.
from .heads import HEADS  # noqa: E402, F401
from .logit_curves import LogitCurves  # noqa: E402, F401
from .window_losses import cross_entropy  # noqa: E402, F401

AutoConfig.register(TransformerClassifierConfig.model_type, TransformerClassifierConfig, exist_ok=True)
AutoModelForAudioClassification.register(TransformerClassifierConfig, TransformerClassifier, exist_ok=True)
