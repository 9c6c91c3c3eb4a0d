"""The stages of a recipe, in order, one call each:

    features = prepare_features(recipe)                 recordings or Hub → feature dataset
    model = prepare_model(recipe, features)             preset or checkpoint, with or without adapters
    trainer = train_model(recipe, model, features)      resumable
    report = evaluate_run(recipe, trainer)              scores, baselines, plots
    publish_run(recipe, trainer, report)                model card; with --push_to_hub also the model

or, to pretrain a checkpoint without labels, from which the stages above can start:

    trainer = pretrain_model(recipe, features)          resumable
    publish_pretrained(recipe, trainer)                 its card; with --push_to_hub also the encoder

or, instead of a network, an SVM or gradient boosting on classical features:

    trainer = train_classical(recipe, features)         then evaluate_run and publish_run as above

They only pass a recipe's settings to the functions that do the work, which can also be called without a recipe.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from accelerate import PartialState

from hf_audio.config import ClassicalConfig, PretrainingConfig, Recipe
from hf_audio.config.reported import reported_command, reported_settings
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.loading.training_share import share_of_training
from hf_audio.errors import InputError
from hf_audio.preparation import corpus_clips
from hf_audio.preparation.added_sounds import added_sounds, require_added_sounds
from hf_audio.preparation.extractors import settings_of
from hf_audio.preparation.loaded_features import as_asked
from hf_audio.publishing.push import push_model
from hf_audio.ranks import process_state, wait_for_everyone
from hf_audio.recipe_features import built_features, settle_source, stored_features
from hf_audio.recipe_model import require_makeable_model, require_possible_model, seen_by_base
from hf_audio.recipe_repos import check_publishing, dataset_id_of, repo_of
from hf_audio.run_config import WrittenConfig, write_run_config
from hf_audio.stage_lines import features_line, model_line, training_line
from hf_audio.starter import end_with_standard_input
from hf_audio.terminal import show

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel

    from hf_audio.analysis.evaluation import Trained
    from hf_audio.analysis.report import Report
    from hf_audio.classical_models import TrainedClassifiers
    from hf_audio.config.loss import LossConfig
    from hf_audio.data.index.labels import LabelSpace
    from hf_audio.training import AudioTrainer, Objective


def prepare_features(recipe: Recipe) -> FeatureDataset:
    """The features to train on: loaded or streamed from `--dataset`, or built from the corpus.

    Under `accelerate launch` every process takes part in building, and all return the same dataset. With
    `--push_to_hub` the features are published immediately, and errors that would prevent publishing the model occur
    here, before training.

    Raises:
        InputError: an error of the corpus, the split, building, loading or the Hub.
    """
    from hf_audio.models import with_extractor_of

    require_possible_model(recipe)
    if recipe.run.trial:
        end_with_standard_input()
    settle_source(recipe)
    if not recipe.stored_features:
        require_makeable_model(recipe)
    to_build = None if recipe.stored_features else recipe.features
    require_added_sounds(recipe.waveform_augment, recipe.data, to_build)
    publishes = recipe.push_to_hub and PartialState().is_main_process
    if publishes:
        check_publishing(recipe)
    features = stored_features(recipe) if recipe.stored_features else built_features(recipe, publishes)
    wait_for_everyone()  # one process may still be publishing or downloading
    features = as_asked(features, recipe.features)
    features = share_of_training(features, recipe.split.train_fraction, recipe.split.split_seed)
    features = with_extractor_of(recipe.model.model, features, recipe.token)
    _say(features_line(features))
    if recipe.run.trial:  # without the test split, so that it cannot influence the choice
        seen = {name: split for name, split in features.splits.items() if name != "test"}
        return dataclasses.replace(features, splits=seen)
    return features


def prepare_model(recipe: Recipe, features: FeatureDataset) -> PreTrainedModel:
    """The model to train: a preset from scratch or a checkpoint, adapted to the features' classes and window."""
    from hf_audio.models import build_model
    from hf_audio.training.seen_clips import warn_of_seen_clips

    settings = recipe.model
    warn_of_seen_clips(f"--model {settings.model}", seen_by_base(recipe, features))
    model = build_model(
        settings.model,
        features,
        options=settings.options,
        metadata_fields=settings.metadata or (),
        freeze=settings.freeze,
        lora_rank=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        token=recipe.token,
        seed=recipe.training.seed,
    )
    _say(model_line(model))
    return model


def train_model(recipe: Recipe, model: PreTrainedModel, features: FeatureDataset) -> AudioTrainer:
    """Trains, or resumes an interrupted run. Afterwards the best model is in the run folder."""
    from hf_audio.training import Classification, PatchDropout
    from hf_audio.training.teachers import distillation_for

    device = {"device": recipe.training.device, "bf16": recipe.training.bf16}
    objective = Classification(
        features,
        augment=_augmentation(recipe, features),
        loss=settled_loss(recipe, features.labels),
        label_smoothing=recipe.training.label_smoothing_factor,
        distillation=distillation_for(recipe.distilling, features, token=recipe.token, **device),
        patch_dropout=PatchDropout.of(recipe.augment),
    )
    return _trained(recipe, model, objective)


def settled_loss(recipe: Recipe, labels: LabelSpace) -> LossConfig:
    """The settings of the loss. A recipe's own logit adjustment is only for clips of one class: with several labels it
    would inflate the probabilities of rare classes. `config.yaml` records the settings that were used."""
    if labels.is_multi_label and "logit_adjustment" not in recipe.given:
        recipe.loss.logit_adjustment = recipe.resolved["logit_adjustment"] = 0.0
    return recipe.loss


def _augmentation(recipe: Recipe, features: FeatureDataset) -> Any:
    from hf_audio.augment import augmentation_of, waveform_steps

    rate, settings = features.extractor.sampling_rate, recipe.waveform_augment
    sounds = added_sounds(settings, recipe.data, features.manifest, rate, recipe.stored_features)
    return augmentation_of(features, recipe.augment, waveform_steps(settings, rate, sounds))


def pretrain_model(recipe: Recipe, features: FeatureDataset) -> AudioTrainer:
    """Pretrains the encoder of `--model` without labels. Afterwards it is in the run folder, ready for fine-tuning.

    Raises:
        InputError: the model is not a spectrogram transformer, its patches overlap, or augmentation is set.
    """
    from hf_audio.augment import augmentation_for
    from hf_audio.models.spectrogram_pretraining import pretraining_model
    from hf_audio.training import Pretraining

    settings = recipe.pretraining or PretrainingConfig()
    if augmentation_for(recipe.augment, features.extractor) is not None:
        raise InputError("Pretraining masks or shuffles patches itself: remove the masks and mixup")
    model = pretraining_model(prepare_model(recipe, features), **vars(settings), seed=recipe.training.seed)
    return _trained(recipe, model, Pretraining(features))


def _trained(recipe: Recipe, model: PreTrainedModel, objective: Objective) -> AudioTrainer:
    from hf_audio.analysis.tracked_pictures import TrackedPictures
    from hf_audio.training import AudioTrainer
    from hf_audio.training.trial_scores import TrialScores

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
    if recipe.run.trial:
        trainer.add_callback(TrialScores(recipe.run_folder))
    _say(training_line(trainer))
    trainer.add_callback(WrittenConfig(recipe))
    trainer.train_resumable()
    write_run_config(recipe)  # also for a finished run, which is not trained again
    return trainer


def train_classical(recipe: Recipe, features: FeatureDataset) -> TrainedClassifiers:
    """Trains an SVM or gradient boosting; with `--network` also on the embeddings of that network.

    One process trains; the others load the result from the run folder.

    Raises:
        InputError: the features are not classical, the network has other windows, or skops is not installed.
    """
    from hf_audio.classical_models import train_pipeline
    from hf_audio.classical_models.run_folder import claim_folder, load_run, require_skops, save_run
    from hf_audio.classical_models.window_vectors import VectorReader, open_network

    require_skops()
    settings, folder, seed = recipe.classical or ClassicalConfig(), recipe.run_folder, recipe.training.seed
    state = process_state()
    network = None
    if settings.network:
        network = open_network(settings.network, settings.network_features, token=recipe.token, seed=seed)
    if state.is_main_process:
        claim_folder(folder, recipe.run.overwrite_run)
        write_run_config(recipe)
        trained = train_pipeline(
            features,
            settings.classical_model,
            settings=settings.settings,
            network=network,
            seed=seed,
            num_jobs=recipe.building.num_workers,
        )
        save_run(trained, folder)
    wait_for_everyone()
    return trained if state.is_main_process else load_run(folder, VectorReader(features, network))


def evaluate_run(recipe: Recipe, trained: Trained) -> Report | dict[str, Any]:
    """Scores the validation and test split per clip, with two baselines, and writes report.json and plots/.

    In trials of a search, only the validation split is scored.
    """
    from hf_audio.analysis.evaluation import evaluate_model
    from hf_audio.analysis.trial_report import evaluate_trial

    if recipe.run.trial:
        asked = None if recipe.classical else recipe.training.metric_for_best_model
        return evaluate_trial(trained, trained.features, recipe.run_folder, asked)

    def clips_again() -> pa.Table:  # their settings were checked when the features were built
        return corpus_clips(recipe.data, token=recipe.token, given=()).clips

    return evaluate_model(
        trained,
        trained.features,
        recipe.training.output_dir,
        settings=reported_settings(recipe, settings_of(recipe.features.features)),
        command=reported_command(recipe, sys.argv[0]),
        recordings=None if recipe.stored_features else clips_again,
        token=recipe.token,
        searched_trials=recipe.run.searched_trials,
        base_seen_clips=seen_by_base(recipe, trained.features),
    )


def publish_run(recipe: Recipe, trained: Trained, report: dict[str, Any]) -> None:
    """Writes the model card into the run folder; with `--push_to_hub`, pushes that folder without checkpoints."""
    from hf_audio.publishing.model_card import write_model_card

    if not process_state().is_main_process or recipe.run.trial:
        return
    folder, model_id, license = recipe.run_folder, _published_id(recipe), recipe.hub.license
    write_model_card(folder, report, repo_id=model_id, dataset_id=dataset_id_of(recipe), license=license)
    if model_id is None:
        how = (
            f'call hf_audio.push_model("{folder}", "USER/NAME")'
            if recipe.made_in_python
            else "add --push_to_hub to the same command"
        )
        show(f"Model, report and card are in {folder}. To publish them, {how}.")
    else:
        _push(recipe, model_id)


def publish_pretrained(recipe: Recipe, trainer: AudioTrainer) -> None:
    """Writes the card of the pretrained encoder; with `--push_to_hub`, pushes the run folder as publish_run does."""
    from hf_audio.publishing.pretraining_card import write_pretraining_card

    if not process_state().is_main_process:
        return
    folder, model_id, license = recipe.run_folder, _published_id(recipe), recipe.hub.license
    write_pretraining_card(folder, trainer, repo_id=model_id, dataset_id=dataset_id_of(recipe), license=license)
    if model_id is None:
        show(f"The pretrained encoder and its card are in {folder}. To fine-tune it, use --model {folder}")
    else:
        _push(recipe, model_id)


def _say(line: str) -> None:
    """Prints a stage's decisions, in the main process only."""
    if process_state().is_main_process:
        show(line)


def _published_id(recipe: Recipe) -> str | None:
    """The model's name on the Hub; None if it is not published."""
    return repo_of(recipe, "model").repo_id if recipe.push_to_hub else None


def _push(recipe: Recipe, model_id: str) -> None:
    url = push_model(recipe.run_folder, model_id, private=recipe.training.hub_private_repo, token=recipe.token)
    show(f"Published model: {url}")
