"""Checks a recipe's model as far as possible before features are built, so that errors appear within seconds."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import torch

from hf_audio.config import FeatureConfig, Recipe
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.loading.features_dataset import check_same_extractor
from hf_audio.errors import InputError, one_line
from hf_audio.kinds import kind_named
from hf_audio.preparation.extractors import window_extractor

if TYPE_CHECKING:
    from hf_audio.data.loading.features_dataset import FeatureDataset

SOME_WINDOW_S = 5.0  # if the length depends on the clips
SOME_CLASSES = LabelSpace(tuple(f"class {number}" for number in range(16)), "single_label_classification")


def require_possible_model(recipe: Recipe) -> None:
    """Refuses networks and options that are impossible by their names alone; see `models.require_possible`."""
    from hf_audio.models import require_form, require_possible

    if recipe.classical:
        return
    settings, training = recipe.model, recipe.training
    require_possible(
        settings.model,
        freeze=settings.freeze,
        lora_rank=settings.lora_rank,
        gradient_checkpointing=training.gradient_checkpointing or getattr(training, "activation_checkpointing", False),
        patch_dropout=recipe.augment.drops_patches,
        options=settings.options,
    )
    if settings.lora_rank and importlib.util.find_spec("peft") is None:
        raise InputError("--lora_rank needs the package peft, which is not installed: pip install peft")
    if recipe.corpus.dataset is None:  # otherwise it may contain features
        require_form(settings.model, kind_named(recipe.features.features))


def require_makeable_model(recipe: Recipe) -> None:
    """Checks a checkpoint's files, or builds the network on torch's meta device, to refuse impossible models.

    Raises:
        InputError: the checkpoint does not exist, is not an audio classifier, reads other features or lacks a requested
            part; or the network cannot be built with these options and windows.
    """
    from hf_audio.models.foreign_checkpoint import Checkpoint
    from hf_audio.models.possible import TIMM, is_trained
    from hf_audio.models.presets import NETWORKS, PRESETS

    if recipe.classical:
        if recipe.classical.network:
            _ = Checkpoint(recipe.classical.network, recipe.token).config
        return
    name = recipe.model.model
    is_of_timm = name.startswith(TIMM) or name not in PRESETS or "timm_name" in NETWORKS.get(name, [{}, {}])[1]
    if is_trained(name) and not name.startswith(TIMM):
        _check_checkpoint(recipe)
    elif is_of_timm:
        _refuse_freezing(recipe, "a network for images")
    else:
        _make_once(recipe)


def seen_by_base(recipe: Recipe, features: FeatureDataset) -> dict[str, int]:
    """The validation and test clips that the run's starting checkpoint was trained on, by split."""
    from hf_audio.models.foreign_checkpoint import Checkpoint
    from hf_audio.models.possible import TIMM, is_trained
    from hf_audio.training.seen_clips import seen_clips

    name = recipe.classical.network if recipe.classical else recipe.model.model
    if not name or not is_trained(name) or name.startswith(TIMM):
        return {}
    return seen_clips(Checkpoint(name, recipe.token), features)


def _check_checkpoint(recipe: Recipe) -> None:
    from hf_audio.models.classifier import AudioClassifierConfig
    from hf_audio.models.foreign_checkpoint import Checkpoint
    from hf_audio.models.transformer_backbone import AST
    from hf_audio.models.transformer_classifier import TransformerClassifierConfig

    settings = recipe.model
    checkpoint = Checkpoint(settings.model, recipe.token)
    config = checkpoint.config
    is_ours = isinstance(config, AudioClassifierConfig)
    asked = sorted({*settings.options, *(["metadata"] if settings.metadata else [])})
    if is_ours and asked:
        raise InputError(f"{settings.model} keeps the settings it was trained with: remove {', '.join(asked)}")
    if config.model_type == AST or (is_ours and not isinstance(config, TransformerClassifierConfig)):
        _refuse_freezing(recipe, config.model_type)
        if settings.options.get("encoder") == "convolutional":
            raise InputError(
                f"encoder convolutional needs a model that reads waveforms, such as wav2vec2, found {config.model_type}"
            )
    check_same_extractor(_extractor(recipe.features), checkpoint.extractor)


def _refuse_freezing(recipe: Recipe, found: str) -> None:
    if recipe.model.freeze == "convolutional":
        raise InputError(
            f"--freeze convolutional is for Wav2Vec2, similar models and Whisper, found {found}: use --freeze backbone "
            "or none"
        )


def _make_once(recipe: Recipe) -> None:
    """Builds a network from scratch on torch's meta device, where weights take neither memory nor time."""
    from hf_audio.models import build_model

    options = recipe.model.options
    if "groups" in options:  # groups of classes, which are not known yet
        return
    kind = kind_named(recipe.features.features)
    stand_in: Any = SimpleNamespace(labels=SOME_CLASSES, kind=kind, extractor=_extractor(recipe.features))
    try:
        with torch.device("meta"):
            build_model(
                recipe.model.model,
                cast("FeatureDataset", stand_in),
                options=options,
                freeze=recipe.model.freeze,
            )
    except ArithmeticError as error:
        raise InputError(f"{recipe.model.model} cannot be built with {options}: {one_line(error)}") from error
    except RuntimeError:  # the network reads its weights during construction: errors appear when it is built for real
        return


def _extractor(settings: FeatureConfig) -> Any:
    """The extractor of the requested features, with approximately their window length and without statistics."""
    windows: Any = window_extractor(settings)
    num_frames = windows.num_frames(round((settings.window_s or SOME_WINDOW_S) * windows.sample_rate))
    return windows.to_feature_extractor(max(1, num_frames), 0.0, 1.0)
