"""Audio models of transformers that are small enough to train in a test, with the structure of published ones."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import (
    ASTModel,
    AutoConfig,
    AutoModel,
    HubertModel,
    PreTrainedModel,
    Wav2Vec2ForCTC,
    Wav2Vec2Model,
    WavLMModel,
    WhisperForConditionalGeneration,
)

from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.models.checkpoints import stock_from_checkpoint, with_head
from hf_audio.models.transformer_classifier import TransformerClassifier

SPEECH = {
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48},
    **{"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2},
    **{"classifier_proj_size": 12},  # masks, skipped layers and dropout as in published models
}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
WHISPER = {
    **{"model_type": "whisper", "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2},
    **{"encoder_ffn_dim": 48, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 48},
    **{"vocab_size": 20, "num_mel_bins": 16, "max_source_positions": 100, "classifier_proj_size": 12},
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1),
}
AST = {
    **{"model_type": "audio-spectrogram-transformer", "hidden_size": 32, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "intermediate_size": 48, "max_length": 198, "num_mel_bins": 32},
}

LABELS = LabelSpace(("violin", "bell", "hum"), MULTI_LABEL)
METADATA = {"genre": ["cla", "jaz_blu"]}


@dataclass(frozen=True)
class Kind:
    """A checkpoint and its windows for fine-tuning, which are shorter than in pretraining if the length is fixed."""

    config: dict[str, Any]
    trained_as: type[PreTrainedModel]
    inputs: tuple[int, ...]  # the shape of two windows
    size: dict[str, int] = field(default_factory=dict)


KINDS = {
    "wav2vec2": Kind({"model_type": "wav2vec2", **SPEECH}, Wav2Vec2ForCTC, (2, 1600)),
    "wav2vec2-layer": Kind({"model_type": "wav2vec2", **SPEECH, **LAYER_NORM}, Wav2Vec2Model, (2, 1600)),
    "hubert": Kind({"model_type": "hubert", **SPEECH}, HubertModel, (2, 1600)),
    "wavlm": Kind({"model_type": "wavlm", **SPEECH}, WavLMModel, (2, 1600)),
    "whisper": Kind(WHISPER, WhisperForConditionalGeneration, (2, 16, 100), {"num_frames": 100}),
    "ast": Kind(AST, ASTModel, (2, 98, 32), {"num_frames": 98, "num_bins": 32}),
}


# The kinds that read waveforms.
WAVEFORM_KINDS = [kind for kind in KINDS if len(KINDS[kind].inputs) == 2]


def save_checkpoints(folder: Path) -> dict[str, str]:
    """One folder per kind, like published checkpoints: trained for other tasks, or without a head."""
    torch.manual_seed(0)
    for kind, made in KINDS.items():
        model = made.trained_as(AutoConfig.for_model(**made.config))
        with torch.no_grad():
            for weights in model.parameters():
                weights += 0.02 * torch.randn_like(weights)  # also weights that start at zero or one
        model.save_pretrained(folder / kind)
    return {kind: str(folder / kind) for kind in KINDS}


def files_of(folder, **changes) -> dict[str, bytes]:
    """The files of a checkpoint, with changed fields in its config."""
    files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    files["config.json"] = json.dumps({**json.loads(files["config.json"]), **changes}).encode()
    return files


def windows(kind: str, seed: int = 1) -> torch.Tensor:
    """Two windows like those of the kind's extractor."""
    return torch.randn(KINDS[kind].inputs, generator=torch.Generator().manual_seed(seed))


def stock_of(checkpoints, kind, labels=LABELS):
    return stock_from_checkpoint(checkpoints[kind], labels, **KINDS[kind].size)


def headed_of(checkpoints, kind, labels=LABELS, **settings):
    torch.manual_seed(5)
    return headed_from_checkpoint(checkpoints[kind], labels, **KINDS[kind].size, **settings).eval()


def encoder_of(checkpoints, kind):
    """The encoder loaded by transformers."""
    model = AutoModel.from_pretrained(checkpoints[kind]).eval()
    return model.encoder if kind == "whisper" else model


def assert_same_encoder(found, wanted, kind):
    """All weights are the checkpoint's, except for the mask embedding and those that depend on the window length."""
    resized = {"ast": "embeddings.position_embeddings", "whisper": "embed_positions.weight"}.get(kind)
    found, wanted = found.state_dict(), wanted.state_dict()
    assert found.keys() == wanted.keys() - {"masked_spec_embed"}
    for name in found.keys() - {resized}:
        assert torch.equal(found[name], wanted[name]), name


def logits(model, inputs, **others):
    with torch.no_grad():
        return model(inputs, **others).logits


def without_gradient(model) -> list[str]:
    return [name for name, weights in model.named_parameters() if weights.requires_grad and weights.grad is None]


def headed_from_checkpoint(
    name: str, labels: LabelSpace, *, encoder: str = "full", num_frames=None, num_bins=None, **settings
) -> TransformerClassifier:
    """Like `transformer_from_checkpoint`, but always our class, even with a plain linear head."""
    stock = stock_from_checkpoint(name, labels, num_frames=num_frames, num_bins=num_bins)
    return with_head(stock, labels, encoder=encoder, **settings)
