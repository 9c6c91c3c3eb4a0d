"""The stages of a recipe, in order, one call each:

    features = prepare_features(recipe)                 recordings or Hub → feature dataset
    model = prepare_model(recipe, features)             preset or checkpoint, with or without adapters
    trainer = train_model(recipe, model, features)      resumable
    report = evaluate_run(recipe, trainer)              scores, baselines, plots
    publish_run(recipe, trainer, report)                model card, and with --push_to_hub the model

or, without labels, to make a checkpoint that the above can start from:

    trainer = pretrain_model(recipe, features)          resumable
    publish_pretrained(recipe, trainer)                 its card, and with --push_to_hub the encoder

or, in place of a network, an SVM or gradient boosting on classical features:

    trainer = train_classical(recipe, features)         then evaluate_run and publish_run as above

They only hand a recipe's settings to the functions that do the work, which can be called without a recipe as well.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import PartialState

from hf_audio.config import ClassicalConfig, ModelConfig, PretrainingConfig, Recipe
from hf_audio.config.acting import require_acting
from hf_audio.config.model import HEAD_FLAGS
from hf_audio.config.reported import flat_settings, reported_command, reported_settings
from hf_audio.data.loading.features_dataset import FeatureDataset, load_features
from hf_audio.data.loading.training_share import share_of_training
from hf_audio.errors import InputError
from hf_audio.preparation import build_corpus_features, corpora_of, corpus_clips
from hf_audio.preparation.added_sounds import added_sounds, require_added_sounds
from hf_audio.preparation.extractors import settings_of, window_extractor
from hf_audio.preparation.loaded_features import as_asked, check_wanted
from hf_audio.preparation.sources import FEATURES, kinds_and_commits
from hf_audio.privacy import public_name
from hf_audio.publishing.hub import HubRepo
from hf_audio.publishing.push import claim_model_repo, push_features, push_model, require_licenses
from hf_audio.ranks import process_state, told_by_main, wait_for_everyone
from hf_audio.terminal import show

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel

    from hf_audio.analysis.evaluation import Trained
    from hf_audio.classical_models import TrainedClassifiers
    from hf_audio.data.index.labels import LabelSpace
    from hf_audio.training import AudioTrainer, Objective


def prepare_features(recipe: Recipe) -> FeatureDataset:
    """The features to train on: loaded or streamed from `--dataset`, else built from the corpus.

    Under `accelerate launch` every process takes part in building and all of them return the same dataset. With
    `--push_to_hub` the features are published right away, and whatever would forbid publishing the model is met here.

    Raises:
        InputError: as the corpus, the split, building, loading and the Hub do.
    """
    from hf_audio.models import require_possible, with_extractor_of

    if not recipe.classical:
        settings, training = recipe.model, recipe.training
        require_possible(
            settings.model,
            freeze=settings.freeze,
            lora_rank=settings.lora_rank,
            gradient_checkpointing=training.gradient_checkpointing or training.activation_checkpointing,
            patch_dropout=recipe.augment.drops_patches,
            options=_model_options(settings),
        )
    _settle_source(recipe)
    to_build = None if recipe.stored_features else recipe.features
    require_added_sounds(recipe.waveform_augment, recipe.data, to_build)
    publishes = recipe.push_to_hub and PartialState().is_main_process
    if publishes:
        _check_publishing(recipe)
    features = _stored_features(recipe) if recipe.stored_features else _built_features(recipe, publishes)
    wait_for_everyone()  # one may still be publishing or downloading
    features = as_asked(features, recipe.features)
    features = share_of_training(features, recipe.split.train_fraction, recipe.split.split_seed)
    return with_extractor_of(recipe.model.model, features, recipe.token)


def _settle_source(recipe: Recipe) -> None:
    """Finds out what --dataset is, and its commit, which stays the same from here on; one process asks for all.

    Raises:
        InputError: it cannot be read, or a setting that was given would do nothing with what it is.
    """
    if recipe.corpus.dataset is None:
        return
    kinds, commits = told_by_main(lambda: kinds_and_commits(recipe.corpus, recipe.token))
    several = len(kinds) > 1
    recipe.stored_features = not several and kinds[0] == FEATURES
    recipe.corpus.dataset_revision = commits if several else commits[0]
    require_acting(recipe.given, flat_settings(recipe))


def _stored_features(recipe: Recipe) -> FeatureDataset:
    # A share is drawn from all that there is; a folder's rows are shuffled whole, a stream's in blocks.
    dataset = recipe.corpus.dataset
    is_folder = Path(dataset).expanduser().is_dir()
    streaming = recipe.hub.streaming and recipe.split.train_fraction == 1 and not is_folder
    features = load_features(dataset, streaming=streaming, token=recipe.token, revision=recipe.corpus.dataset_revision)
    check_wanted(features, recipe.features)
    _check_labels(recipe, features.labels, features.corpus)
    return features


def _built_features(recipe: Recipe, publishes: bool) -> FeatureDataset:
    folder = Path(recipe.building.features_dir or _run_folder(recipe) / "features")
    metadata = recipe.model.metadata or ()
    build_corpus_features(
        *(recipe.data, folder, recipe.features, recipe.mixing, recipe.token, recipe.given, metadata),
        check_clips=lambda found: _check_labels(recipe, found.labels, found.card.name),
    )
    if publishes:
        url = push_features(
            folder,
            _repo(recipe, "dataset").repo_id,
            private=recipe.training.hub_private_repo,
            public_license=recipe.hub.public_license,
            token=recipe.token,
        )
        show(f"Features: {url}")
    return load_features(folder)


def prepare_model(recipe: Recipe, features: FeatureDataset) -> PreTrainedModel:
    """The model to train: a preset from scratch or a checkpoint, fitted to the features' classes and window."""
    from hf_audio.models import build_model

    settings = recipe.model
    return build_model(
        settings.model,
        features,
        options=_model_options(settings),
        metadata_fields=settings.metadata or (),
        freeze=settings.freeze,
        lora_rank=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        token=recipe.token,
        seed=recipe.training.seed,
    )


def train_model(recipe: Recipe, model: PreTrainedModel, features: FeatureDataset) -> AudioTrainer:
    """Trains, or goes on where an interrupted run stopped; the best model is then in the run folder."""
    from hf_audio.augment import augmentation_of, waveform_steps
    from hf_audio.training import Classification, PatchDropout
    from hf_audio.training.teachers import distillation_for

    rate, settings = features.extractor.sampling_rate, recipe.waveform_augment
    sounds = added_sounds(settings, recipe.data, features.manifest, rate, recipe.stored_features)
    waveform = waveform_steps(settings, rate, sounds)
    device = {"device": recipe.training.device, "bf16": recipe.training.bf16}
    objective = Classification(
        features,
        augment=augmentation_of(features, recipe.augment, waveform),
        loss=recipe.loss,
        label_smoothing=recipe.training.label_smoothing_factor,
        distillation=distillation_for(recipe.distilling, features, token=recipe.token, **device),
        patch_dropout=PatchDropout.of(recipe.augment),
    )
    return _trained(recipe, model, objective)


def pretrain_model(recipe: Recipe, features: FeatureDataset) -> AudioTrainer:
    """Trains the encoder of `--model` without looking at labels; it is then in the run folder, to be fine-tuned.

    Raises:
        InputError: a model that is no spectrogram transformer or whose patches overlap, or augmentation.
    """
    from hf_audio.augment import augmentation_for
    from hf_audio.models.spectrogram_pretraining import pretraining_model
    from hf_audio.training import Pretraining

    settings = recipe.pretraining or PretrainingConfig()
    if augmentation_for(recipe.augment, features.extractor) is not None:
        raise InputError("Pretraining hides or shuffles patches itself: leave out masks and mixup")
    model = pretraining_model(prepare_model(recipe, features), **vars(settings), seed=recipe.training.seed)
    return _trained(recipe, model, Pretraining(features))


def _trained(recipe: Recipe, model: PreTrainedModel, objective: Objective) -> AudioTrainer:
    from hf_audio.analysis.tracked_pictures import TrackedPictures
    from hf_audio.training import AudioTrainer

    trainer = AudioTrainer(
        model,
        recipe.training,
        objective,
        optimizing=recipe.optimizing,
        early_stopping_patience=recipe.model.early_stopping_patience,
        overwrite_run=recipe.run.overwrite_run,
    )
    if recipe.run.track_pictures:
        trainer.add_callback(TrackedPictures(trainer))
    trainer.train_resumable()
    return trainer


def train_classical(recipe: Recipe, features: FeatureDataset) -> TrainedClassifiers:
    """Trains an SVM or boosting, with `--network` on that network's embeddings too; it is then in the run folder.

    One process trains, the others load what it saved.

    Raises:
        InputError: features that are not classical, a network whose windows are others, or skops is missing.
    """
    from hf_audio.classical_models import train_pipeline
    from hf_audio.classical_models.run_folder import claim_folder, load_run, require_skops, save_run
    from hf_audio.classical_models.window_vectors import VectorReader, open_network

    require_skops()
    settings, folder, seed = recipe.classical or ClassicalConfig(), _run_folder(recipe), recipe.training.seed
    state = process_state()
    network = None
    if settings.network:
        network = open_network(settings.network, settings.network_features, token=recipe.token, seed=seed)
    if state.is_main_process:
        claim_folder(folder, recipe.run.overwrite_run)
        trained = train_pipeline(
            features,
            settings.classical_model,
            settings=settings.of_svm,
            search=settings.search,
            network=network,
            seed=seed,
            num_jobs=recipe.building.num_workers,
        )
        save_run(trained, folder)
    wait_for_everyone()
    return trained if state.is_main_process else load_run(folder, VectorReader(features, network))


def evaluate_run(recipe: Recipe, trained: Trained) -> dict[str, Any]:
    """Scores validation and test by clip beside two baselines; report.json and plots/ go to the run folder."""
    from hf_audio.analysis.evaluation import evaluate_model

    return evaluate_model(
        trained,
        trained.features,
        recipe.training.output_dir,
        settings=reported_settings(recipe, settings_of(recipe.features.features)),
        command=reported_command(recipe, sys.argv[0]),
        recordings=None if recipe.stored_features else lambda: _clips(recipe),
        token=recipe.token,
    )


def _clips(recipe: Recipe) -> pa.Table:
    """The clips once more, whose settings were checked when features were built of them."""
    return corpus_clips(recipe.data, token=recipe.token, given=()).clips


def publish_run(recipe: Recipe, trained: Trained, report: dict[str, Any]) -> None:
    """Writes the model card beside the model; with `--push_to_hub` pushes the run folder, but for its checkpoints."""
    from hf_audio.publishing.model_card import write_model_card

    if not process_state().is_main_process:
        return
    folder, hub, training = _run_folder(recipe), recipe.hub, recipe.training
    if not recipe.push_to_hub:
        write_model_card(folder, report, dataset_id=_dataset_id(recipe), license=hub.license)
        show(f"Model, report and card: {folder}. The same command with --push_to_hub publishes them.")
        return
    model_id = _repo(recipe, "model").repo_id
    write_model_card(folder, report, repo_id=model_id, dataset_id=_dataset_id(recipe), license=hub.license)
    url = push_model(folder, model_id, private=training.hub_private_repo, token=recipe.token)
    show(f"Model: {url}")


def publish_pretrained(recipe: Recipe, trainer: AudioTrainer) -> None:
    """Writes the card beside the pretrained encoder; with `--push_to_hub` pushes the run folder as publish_run does."""
    from hf_audio.publishing.pretraining_card import write_pretraining_card

    if not process_state().is_main_process:
        return
    folder, hub, training = _run_folder(recipe), recipe.hub, recipe.training
    if not recipe.push_to_hub:
        write_pretraining_card(folder, trainer, license=hub.license)
        show(f"Pretrained encoder and card: {folder}. Fine-tune it with --model {folder}")
        return
    model_id = _repo(recipe, "model").repo_id
    write_pretraining_card(folder, trainer, repo_id=model_id, dataset_id=_dataset_id(recipe), license=hub.license)
    url = push_model(folder, model_id, private=training.hub_private_repo, token=recipe.token)
    show(f"Model: {url}")


def _model_options(settings: ModelConfig) -> dict[str, Any]:
    """What the flags say of the model's config, where they differ from the preset."""
    options = dict(settings.model_options or {})
    flags = {name: getattr(settings, name) for name in HEAD_FLAGS}
    return options | {name: value for name, value in flags.items() if value is not None}


def _run_folder(recipe: Recipe) -> Path:
    return Path(recipe.training.output_dir)


def _repo(recipe: Recipe, kind: str) -> HubRepo:
    """The repository that this run publishes its "model" or its features ("dataset") to."""
    name = _run_folder(recipe).resolve().name
    wanted = recipe.training.hub_model_id if kind == "model" else recipe.hub.hub_dataset_id
    return HubRepo(wanted or (name if kind == "model" else f"{name}-features"), kind, recipe.token)


def _dataset_id(recipe: Recipe) -> str | None:
    """The Hub name of the features, if they have one: a folder of this machine is nothing to a reader."""
    stored = recipe.corpus.dataset
    if recipe.stored_features:
        return stored if public_name(stored) == stored else None
    return _repo(recipe, "dataset").repo_id if recipe.push_to_hub else None


def _check_publishing(recipe: Recipe) -> None:
    """Meets every refusal of the Hub and of the corpora's licenses before hours are spent, not after."""
    private = recipe.training.hub_private_repo
    if not recipe.stored_features:
        corpora = [dataclasses.asdict(card) for card in corpora_of(recipe.corpus, recipe.token)]
        require_licenses(_repo(recipe, "dataset"), corpora, private, recipe.hub.public_license)
    claim_model_repo(_repo(recipe, "model"), private)


def _check_labels(recipe: Recipe, labels: LabelSpace, corpus: str) -> None:
    """Refuses a loss, an augmentation or a teacher that does not fit classes or features, before these are built."""
    from hf_audio.augment import require_sense
    from hf_audio.losses import TaskLoss
    from hf_audio.training.teachers import require_teacher

    TaskLoss(labels, recipe.loss, corpus=corpus)
    extractor = window_extractor(recipe.features).to_feature_extractor(1, 0.0, 1.0)
    require_sense(recipe.augment, extractor, labels)
    if recipe.distilling.teacher or recipe.distilling.teacher_logits:
        require_teacher(recipe.distilling, labels, extractor, recipe.token)
