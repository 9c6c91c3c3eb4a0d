"""Pushing feature datasets and models to the Hub, and never against a corpus's licence by mistake."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_audio.errors import InputError
from hf_audio.publishing.dataset_card import name_repo, read_manifest, write_dataset_card
from hf_audio.publishing.hub import HubRepo

UNFINISHED = (".build/*", "*.tmp")
# What a run folder holds beside the model. Features are a dataset of their own, under the corpus's licence; the rest
# is Trainer's, for itself, and training_args.bin is a pickle besides.
NO_PART_OF_THE_MODEL = (
    "features/*",
    *("checkpoints/*", "checkpoint-*/*", "tensorboard/*", "runs/*", "training_args.bin", "trainer_state.json"),
    *("optimizer.*", "scheduler.*", "scaler.*", "rng_state*"),
)
# What an earlier push may have left under another name, where it would be loaded in place of the new files, or with
# them: a dataset that had more shards, a model that was sharded, adapters.
SHARDS = "data/*.parquet"
OLD_FEATURES = (SHARDS,)
OLD_WEIGHTS = (
    *("model*.safetensors", "model.safetensors.index.json", "model.skops"),
    *("adapter_*", "adapter/*", "network/*", "plots/*"),
)


def push_features(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    public_licence: str | None = None,
    token: str | None = None,
    revision: str | None = None,
) -> str:
    """Push a finished feature folder as a dataset; a card is written first where it has none.

    A push that was interrupted is simply repeated: what the Hub has already is not uploaded again. Shards are committed
    2 GB at a time, and the manifest last: until it is there, nobody takes the dataset for whole.

    Args:
        folder: what `build_features` made.
        repo_id: "name" or "namespace/name"; without a namespace, the user's own.
        private: whether a new repository is private; None leaves it to the Hub, which makes it public.
        public_licence: the corpus's licence, word for word: says that the user knows it and pushes in public although
            not everyone may redistribute the corpus.
        token: a Hub token with write permission; None takes HF_TOKEN or the one of `hf auth login`.
        revision: a branch, made if it does not exist; None is main.

    Returns:
        Address of the dataset.

    Raises:
        InputError: the folder is not finished, the licence forbids it, the token or the name is wrong, permission is
            missing, or the Hub cannot be reached for minutes.
    """
    folder = Path(folder)
    corpus = read_manifest(folder)["corpus"]
    repo = HubRepo(repo_id, "dataset", token)
    require_licence(repo, corpus, private, public_licence)
    repo.create(private)
    if revision is not None:
        repo.create_branch(revision)
    if (folder / "README.md").is_file():
        name_repo(folder, repo.repo_id)
    else:
        write_dataset_card(folder, repo.repo_id)
    repo.upload(folder, "Upload features", revision=revision, ignore=UNFINISHED, replace=OLD_FEATURES, ahead=SHARDS)
    return repo.url


def push_model(folder: str | Path, repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
    """Push a run folder as a model, without what only serves to resume training.

    Arguments, return value and errors are those of `push_features`.
    """
    folder = Path(folder)
    weights = [path for pattern in ("*.safetensors", "*.skops") for path in folder.glob(pattern)]
    if not (folder / "config.json").is_file() or not weights:
        raise InputError(
            f"{folder} has no config.json with *.safetensors or *.skops beside it: run the training to its end first"
        )
    repo = HubRepo(repo_id, "model", token)
    claim_model_repo(repo, private)
    repo.upload(folder, "Upload model", ignore=UNFINISHED + NO_PART_OF_THE_MODEL, replace=OLD_WEIGHTS)
    return repo.url


def claim_model_repo(repo: HubRepo, private: bool | None = None) -> None:
    """Makes the repository that a model will be pushed to, so that a refusal is met before the model is trained."""
    _visibility(repo, private)
    repo.create(private)


def require_licence(
    repo: HubRepo, corpus: Mapping[str, Any], private: bool | None = None, public_licence: str | None = None
) -> None:
    """Raises InputError where features of this corpus must not go to this repository; see `push_features`.

    Args:
        corpus: `name`, `licence` and `may_redistribute` of its card.
    """
    is_private = _visibility(repo, private)
    if not (is_private or corpus["may_redistribute"] or public_licence == corpus["licence"]):
        raise InputError(_licence_refusal(repo.repo_id, corpus, public_licence))


def _visibility(repo: HubRepo, private: bool | None) -> bool:
    """Whether what is pushed will be private: a repository that exists keeps its own visibility.

    Raises:
        InputError: a private push to a public repository.
    """
    is_private = repo.is_private()
    if is_private is None:
        return bool(private)
    if private and not is_private:
        raise InputError(
            f"{repo.repo_id} exists and is public, so nothing can be pushed to it in private: make it private in its "
            "settings on the Hub, or push to another name"
        )
    return is_private


def _licence_refusal(repo_id: str, corpus: Mapping[str, Any], public_licence: str | None) -> str:
    licence = corpus["licence"]
    named = "" if public_licence is None else f" (not {public_licence!r})"
    return (
        f"{repo_id} would be public, but {corpus['name']} is under {licence!r}{named} and not everyone may "
        "redistribute its audio or features: push to a private repository (private=True, --hub_private_repo), or, if "
        f"you may publish it, name its licence exactly (public_licence={licence!r}, --public_licence {licence!r})"
    )
