"""Freezing parts of a model."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from hf_audio.errors import InputError, unknown_name
from hf_audio.models.checkpoints import backbone_of
from hf_audio.models.classifier import AudioClassifier
from hf_audio.models.foreign_checkpoint import is_of_head
from hf_audio.models.transformer_classifier import TransformerClassifier

FREEZABLE = ("none", "backbone", "convolutional")


def freeze(model: PreTrainedModel, what: str) -> None:
    """Freezes weights, in place.

    Args:
        model: any audio classifier, stock or ours.
        what: "none"; "backbone": all but the head, which includes its projection; "convolutional": the first
            convolutions of Wav2Vec2, similar models and Whisper, which are usually frozen in fine-tuning.

    Raises:
        InputError: the name is unknown, or the model has no such convolutions.
    """
    if what not in FREEZABLE:
        raise unknown_name("freeze", what, FREEZABLE)
    if what == "backbone":
        for name, weights in model.named_parameters():
            weights.requires_grad_(weights.requires_grad and is_of_head(name))
    elif what == "convolutional":
        convolutions = _convolutions(model)
        if not convolutions:
            raise InputError(
                f"--freeze convolutional is for Wav2Vec2, similar models and Whisper, found {model.config.model_type}: "
                "use --freeze backbone or none"
            )
        for module in convolutions:
            module.requires_grad_(False)


def _convolutions(model: PreTrainedModel) -> list[nn.Module]:
    if isinstance(model, AudioClassifier) and not isinstance(model, TransformerClassifier):
        return []  # the conv1 of a ResNet is something else
    backbone = backbone_of(model)
    names = ("feature_extractor", "conv1", "conv2")
    return [getattr(backbone, name) for name in names if isinstance(getattr(backbone, name, None), nn.Module)]
