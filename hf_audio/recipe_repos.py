"""The Hub repositories of a recipe's features and model, which are checked before hours of work."""

from __future__ import annotations

import dataclasses

from hf_audio.config import Recipe
from hf_audio.preparation import corpora_of
from hf_audio.privacy import public_name
from hf_audio.publishing.hub import HubRepo
from hf_audio.publishing.push import claim_model_repo, require_licenses


def repo_of(recipe: Recipe, kind: str) -> HubRepo:
    """The repository to which a run publishes its "model" or its features ("dataset")."""
    name = recipe.run_folder.resolve().name
    wanted = recipe.training.hub_model_id if kind == "model" else recipe.hub.hub_dataset_id
    return HubRepo(wanted or (name if kind == "model" else f"{name}-features"), kind, recipe.token)


def dataset_id_of(recipe: Recipe) -> str | None:
    """The Hub name of the features, if they have one; a local folder means nothing to readers of a card."""
    stored = recipe.corpus.dataset
    if recipe.stored_features:
        return stored if public_name(stored) == stored else None
    return repo_of(recipe, "dataset").repo_id if recipe.push_to_hub else None


def check_publishing(recipe: Recipe) -> None:
    """Raises InputError if the Hub or a corpus's license would refuse publishing."""
    private = recipe.training.hub_private_repo
    if not recipe.stored_features:
        corpora = [dataclasses.asdict(card) for card in corpora_of(recipe.corpus, recipe.token)]
        require_licenses(repo_of(recipe, "dataset"), corpora, private, recipe.hub.public_license)
    claim_model_repo(repo_of(recipe, "model"), private)
