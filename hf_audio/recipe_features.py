"""The features of a recipe: those of --dataset, stored ones, or newly built ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hf_audio.config import Recipe
from hf_audio.config.acting import require_acting
from hf_audio.config.reported import flat_settings
from hf_audio.data.loading.features_dataset import FeatureDataset, load_features
from hf_audio.preparation import build_corpus_features
from hf_audio.preparation.extractors import window_extractor
from hf_audio.preparation.loaded_features import check_wanted
from hf_audio.preparation.sources import FEATURES, kinds_and_commits
from hf_audio.publishing.push import push_features
from hf_audio.ranks import told_by_main
from hf_audio.recipe_repos import repo_of
from hf_audio.terminal import show

if TYPE_CHECKING:
    from hf_audio.data.index.labels import LabelSpace


def settle_source(recipe: Recipe) -> None:
    """Finds out whether --dataset is features or recordings, and fixes its commit. One process asks the Hub for all.

    Raises:
        InputError: it cannot be read, or a given setting would have no effect with it.
    """
    if recipe.corpus.dataset is None:
        return
    kinds, commits = told_by_main(lambda: kinds_and_commits(recipe.corpus, recipe.token))
    several = len(kinds) > 1
    recipe.stored_features = not several and kinds[0] == FEATURES
    recipe.corpus.dataset_revision = commits if several else commits[0]
    require_acting(recipe.given, flat_settings(recipe))


def stored_features(recipe: Recipe) -> FeatureDataset:
    """Loads or streams features that exist in a folder or on the Hub.

    Raises:
        InputError: they cannot be read, or do not match the recipe's settings.
    """
    # A fraction is drawn from all rows, so they cannot be streamed. Local folders are not streamed, so that their rows
    # can be shuffled globally; those of a stream are shuffled only within blocks.
    dataset = recipe.corpus.dataset
    is_folder = Path(dataset).expanduser().is_dir()
    streaming = recipe.hub.streaming and recipe.split.train_fraction == 1 and not is_folder
    features = load_features(dataset, streaming=streaming, token=recipe.token, revision=recipe.corpus.dataset_revision)
    check_wanted(features, recipe.features)
    _check_labels(recipe, features.labels, features.corpus)
    return features


def built_features(recipe: Recipe, publishes: bool) -> FeatureDataset:
    """Builds the features of the recipe's corpus, unless they exist. With `publishes` they are pushed immediately.

    Raises:
        InputError: an error of the corpus, the split, building or the Hub.
    """
    folder = Path(recipe.building.features_dir or recipe.run_folder / "features")
    metadata = recipe.model.metadata or ()
    build_corpus_features(
        *(recipe.data, folder, recipe.features, recipe.mixing, recipe.token, recipe.given, metadata),
        check_clips=lambda found: _check_labels(recipe, found.labels, found.card.name),
    )
    if publishes:
        url = push_features(
            folder,
            repo_of(recipe, "dataset").repo_id,
            private=recipe.training.hub_private_repo,
            public_license=recipe.hub.public_license,
            token=recipe.token,
        )
        show(f"Published features: {url}")
    return load_features(folder)


def _check_labels(recipe: Recipe, labels: LabelSpace, corpus: str) -> None:
    """Refuses a loss, augmentation or teacher that does not fit the classes or features, before features are built."""
    from hf_audio.training.teachers import require_teacher

    check_classes(recipe, labels, corpus)
    if recipe.distilling.teacher or recipe.distilling.teacher_logits:
        extractor = window_extractor(recipe.features).to_feature_extractor(1, 0.0, 1.0)
        require_teacher(recipe.distilling, labels, extractor, recipe.token)


def check_classes(recipe: Recipe, labels: LabelSpace, corpus: str) -> None:
    """Raises InputError for a loss or augmentation that does not fit the classes or features."""
    from hf_audio.augment import require_sense
    from hf_audio.losses import TaskLoss

    TaskLoss(labels, recipe.loss, frequencies=np.full(len(labels), 0.5), corpus=corpus)  # frequencies are unknown yet
    require_sense(recipe.augment, window_extractor(recipe.features).to_feature_extractor(1, 0.0, 1.0), labels)
