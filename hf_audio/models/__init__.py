"""Models by name: a preset is trained from scratch, anything else is a checkpoint to fine-tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoFeatureExtractor

from hf_audio.errors import InputError, unknown_name
from hf_audio.models.audio_spectrogram_transformer import ast_from_checkpoint, ast_from_scratch, load_checkpoint
from hf_audio.models.lora import add_lora

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from hf_audio.data.features_dataset import FeatureDataset

# Widths and heads are those of DeiT, but for "ast-mini", which a CPU trains in minutes. Patches of 16 x 16 overlap only
# in "ast-base", as in the paper.
PRESETS = {
    "ast-mini": {"hidden_size": 128, "num_layers": 4, "num_heads": 4, "stride": 16},
    "ast-tiny": {"hidden_size": 192, "num_layers": 4, "num_heads": 3, "stride": 16},
    "ast-small": {"hidden_size": 384, "num_layers": 12, "num_heads": 6, "stride": 16},
    "ast-base": {"hidden_size": 768, "num_layers": 12, "num_heads": 12, "stride": 10},
}


def build_model(
    name: str,
    features: FeatureDataset,
    *,
    lora_rank: int = 0,
    lora_alpha: int | None = None,
    lora_dropout: float = 0.0,
    lora_targets: str = "attention",
    token: str | None = None,
    seed: int = 0,
) -> PreTrainedModel | PeftModel:
    """A model for a feature dataset: its classes, its task, its window length.

    Args:
        name: a preset (see PRESETS), or the Hub name or folder of an AST checkpoint.
        features: what it will be trained on.
        lora_rank: train adapters of this rank and the head only; 0 trains all weights.
        lora_alpha, lora_dropout, lora_targets: see `add_lora`.
        token: for a private checkpoint.
        seed: of the new weights; the caller's random state stays untouched.

    Raises:
        InputError: an unknown preset (names the nearest), a checkpoint that cannot be used, or one whose features
            were computed in another way.
    """
    extractor = features.extractor
    size = (features.labels, extractor.max_length, extractor.num_mel_bins)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name in PRESETS:
            if lora_rank:
                raise InputError(f"LoRA adapts a trained checkpoint and {name} is untrained: give one with --model")
            return ast_from_scratch(*size, **PRESETS[name])
        if "/" not in name and not Path(name).is_dir():
            raise unknown_name("model", name, PRESETS)
        _check_extractor(name, features, token)
        model = ast_from_checkpoint(name, *size, token=token)
        return add_lora(model, lora_rank, lora_alpha, lora_dropout, lora_targets) if lora_rank else model


def _check_extractor(name: str, features: FeatureDataset, token: str | None) -> None:
    """Raises InputError where a checkpoint expects other features than the stored ones."""
    from hf_audio.data.features_dataset import check_same_extractor

    wanted = load_checkpoint(AutoFeatureExtractor.from_pretrained, name, token=token)
    check_same_extractor(features.extractor, wanted)
