"""Models by name: a preset or a timm network is trained from scratch, anything else is a checkpoint to fine-tune."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from hf_audio.data.index.columns import metadata_values
from hf_audio.errors import InputError, unknown_name
from hf_audio.extractors.classical import ClassicalFeatureExtractor
from hf_audio.extractors.fbank import FbankFeatureExtractor
from hf_audio.extractors.spectrogram import SpectrogramFeatureExtractor
from hf_audio.kinds import Form
from hf_audio.models.audio_spectrogram_transformer import ast_from_scratch
from hf_audio.models.checkpoints import (
    TRANSFORMER_PRESETS,
    stays_stock,
    stock_from_checkpoint,
    transformer_from_checkpoint,
    transformer_from_scratch,
    with_head,
)
from hf_audio.models.classifier import AudioClassifierConfig
from hf_audio.models.feature_networks import FeatureCNNConfig, FeatureMLPConfig, FeatureRNNConfig
from hf_audio.models.foreign_checkpoint import Checkpoint
from hf_audio.models.freezing import freeze as freeze_weights
from hf_audio.models.lora import add_lora
from hf_audio.models.possible import TIMM, is_trained, require_form, require_possible
from hf_audio.models.presets import AST_PRESETS, NETWORKS, PRESETS
from hf_audio.models.spectrogram_cnn import SpectrogramCNNConfig
from hf_audio.models.spectrogram_lstm import SpectrogramLSTMConfig
from hf_audio.models.timm_backbone import ParallelTimmConfig, TimmClassifier, timm_from_pretrained
from hf_audio.models.timm_network import TimmClassifierConfig
from hf_audio.models.transformer_classifier import TransformerClassifierConfig

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from hf_audio.data.loading.features_dataset import FeatureDataset

# Lets AutoFeatureExtractor load our extractors for our models, and by name for stock models that were trained on them
for _config in (FeatureMLPConfig, FeatureCNNConfig, FeatureRNNConfig):
    AutoFeatureExtractor.register(_config, ClassicalFeatureExtractor, exist_ok=True)
for _config in (SpectrogramCNNConfig, SpectrogramLSTMConfig, TimmClassifierConfig, ParallelTimmConfig):
    AutoFeatureExtractor.register(_config, SpectrogramFeatureExtractor, exist_ok=True)
AutoFeatureExtractor.register(TransformerClassifierConfig, FbankFeatureExtractor, exist_ok=True)

__all__ = ["PRESETS", "build_model", "require_form", "require_possible", "with_extractor_of"]


def build_model(
    name: str,
    features: FeatureDataset,
    *,
    options: Mapping[str, Any] | None = None,
    metadata_fields: Sequence[str] = (),
    freeze: str = "none",
    lora_rank: int = 0,
    lora_alpha: int | None = None,
    lora_dropout: float = 0.0,
    lora_targets: str = "attention",
    token: str | None = None,
    seed: int = 0,
) -> PreTrainedModel | PeftModel:
    """A model for a feature dataset's classes, task and window length.

    Args:
        name: to train from scratch, a preset (see PRESETS) or a bare timm name such as "resnet50". To fine-tune, the
            Hub name or folder of an audio checkpoint, or "timm/resnet50" for timm's pretrained weights.
        features: the data that it will be trained on.
        options: fields of the model's config that differ from the preset: head, head_sizes, dropout ...
        metadata_fields: metadata of the clips that is appended to the embedding.
        freeze: "none", "backbone" or "convolutional".
        lora_rank: train adapters of this rank and the head only; 0 trains all weights.
        lora_alpha, lora_dropout, lora_targets: see `add_lora`.
        token: access token for a private checkpoint.
        seed: seed for the new weights; the caller's random state is not changed.

    Raises:
        InputError: an unknown preset (suggests the nearest), invalid options, a checkpoint that cannot be used, or one
            that was trained on features computed differently.
    """
    options = dict(options or {})
    if metadata_fields:
        options["metadata"] = metadata_values(features.clips(), metadata_fields)
    if freeze == "backbone" and _is_timm(name):
        freeze, options["trainable_blocks"] = "none", 0  # freezes its batch norms too
    trained = is_trained(name)
    require_possible(name, lora_rank=lora_rank, options=options)
    require_form(name, features.kind)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = (_from_checkpoint if trained else _from_scratch)(name, features, options, token)
        except InputError:
            raise
        except (TypeError, ValueError) as error:  # raised by our configs and models, one sentence each
            raise InputError(f"{name} cannot be built with {options}: {error}") from error
        if isinstance(model.config, AudioClassifierConfig):
            model.config.padding_value = features.kind.padding_value(features.extractor)
        freeze_weights(model, freeze)
        return add_lora(model, lora_rank, lora_alpha, lora_dropout, lora_targets) if lora_rank else model


def with_extractor_of(name: str, features: FeatureDataset, token: str | None = None) -> FeatureDataset:
    """The same features with the model's own extractor, if they are waveforms.

    Wav2Vec2, Whisper and others each have their own extractor between waveform and model.

    Raises:
        InputError: the checkpoint needs other features.
    """
    from hf_audio.data.loading.features_dataset import check_same_extractor

    if name in TRANSFORMER_PRESETS and features.kind.form is Form.SOUND:
        masked = {**features.extractor.to_dict(), "return_attention_mask": True}  # the presets normalize by layer norm
        return dataclasses.replace(features, extractor=Wav2Vec2FeatureExtractor(**masked))
    if not is_trained(name) or name.startswith(TIMM):
        return features
    wanted = Checkpoint(name, token).extractor
    check_same_extractor(features.extractor, wanted)
    if features.kind.form is not Form.SOUND:
        return features
    if isinstance(wanted, WhisperFeatureExtractor):  # pads to 30 s by default, which shorter windows do not need
        seconds = max(1, -(-round(1000 * features.window_s) // 1000))
        wanted = WhisperFeatureExtractor(**{**wanted.to_dict(), "chunk_length": seconds})
    return dataclasses.replace(features, extractor=wanted)


def _is_timm(name: str) -> bool:
    return name == "mobilenets" or name.startswith(TIMM) or (not is_trained(name) and name not in PRESETS)


def _from_scratch(name: str, features: FeatureDataset, options: dict[str, Any], token: str | None) -> PreTrainedModel:
    labels = features.labels
    if name in AST_PRESETS:
        _require_one_channel(name, features)
        size = (features.extractor.max_length, features.extractor.num_mel_bins)
        of_head, of_network = _split(options, AST_PRESETS[name])
        model = ast_from_scratch(labels, *size, **{**AST_PRESETS[name], **of_network})
        return model if stays_stock(**of_head) else with_head(model, labels, **of_head)
    if name in NETWORKS:
        network = NETWORKS[name]
        settings = {**network.settings, **options}
        return network.model_class(_config_of(network.model_class.config_class, features, settings))
    if name in PRESETS:
        return transformer_from_scratch(name, labels, **options)
    return TimmClassifier(_config_of(TimmClassifierConfig, features, {"timm_name": name, **options}))


def _from_checkpoint(name: str, features: FeatureDataset, options: dict, token: str | None) -> PreTrainedModel:
    if name.startswith(TIMM):
        kind = ParallelTimmConfig if {"num_backbones", "groups"} & options.keys() else TimmClassifierConfig
        return timm_from_pretrained(_config_of(kind, features, {"timm_name": name.removeprefix(TIMM), **options}))
    features = with_extractor_of(name, features, token)
    extractor = features.extractor
    size = {}
    if features.kind.form is Form.IMAGE:
        size = {"num_frames": extractor.max_length, "num_bins": extractor.num_mel_bins}
    elif isinstance(extractor, WhisperFeatureExtractor):
        size = {"num_frames": extractor.nb_max_frames}
    if isinstance(Checkpoint(name, token).config, AudioClassifierConfig):
        if options:
            raise InputError(
                f"{name} keeps the settings that it was trained with: leave out {', '.join(sorted(options))}"
            )
        return stock_from_checkpoint(name, features.labels, token=token)
    return transformer_from_checkpoint(name, features.labels, token=token, **size, **options)


def _config_of(config_class: type[AudioClassifierConfig], features: FeatureDataset, settings: dict[str, Any]):
    """The config of one of our networks, for the size and the channels of these windows.

    Raises:
        InputError: a setting that this config does not have, or a different number of channels.
    """
    extractor, labels = features.extractor, features.labels
    known = config_class().to_dict().keys()
    for key in settings:
        if key not in known:
            raise unknown_name(f"option of {config_class.__name__}", key, known)
    size: dict[str, Any] = {}
    if config_class is SpectrogramLSTMConfig:
        size = {"num_frames": extractor.max_length, "num_mel_bins": extractor.num_mel_bins}
    elif issubclass(config_class, TimmClassifierConfig):
        size = {"max_frames": extractor.max_length, "num_mel_bins": extractor.num_mel_bins}
    elif features.kind.form is Form.VECTORS:
        size = {"num_features": extractor.feature_size}
    if "num_channels" in known:
        size["num_channels"] = _num_channels(features)
        _check_channels(config_class, size["num_channels"], settings.get("num_channels"))
    return config_class(**{**size, **settings, **labels.config_settings})


def _split(options: dict[str, Any], of_network: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the head, and the options of the network."""
    head = {key: value for key, value in options.items() if key not in of_network}
    return head, {key: value for key, value in options.items() if key in of_network}


def _num_channels(features: FeatureDataset) -> int:
    return getattr(features.extractor, "num_channels", 1)


def _check_channels(config_class: type[AudioClassifierConfig], found: int, wanted: int | None) -> None:
    """Raises InputError if the model's channels differ from those of the features, unless the features are mono, which
    is copied to all channels, or the model is an LSTM with one channel, which mixes its input down to mono."""
    makes_mono = config_class is SpectrogramLSTMConfig and wanted == 1
    if wanted not in (None, found) and found > 1 and not makes_mono:
        raise InputError(
            f"num_channels is {wanted}, but the features have {found} channels: leave it out, or build features with "
            "other --channels"
        )


def _require_one_channel(name: str, features: FeatureDataset) -> None:
    found = _num_channels(features)
    if found > 1:
        raise InputError(
            f"{name} reads one channel, but these features have {found} ({', '.join(features.extractor.channels)}): "
            "use --channels mel, or a model that reads several, such as cnn, lstm, resnet50 or mobilenets"
        )
