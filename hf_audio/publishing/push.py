"""Pushes feature datasets and models to the Hub, and refuses what a corpus's license does not permit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_audio.data.loading.features_dataset import check_features
from hf_audio.errors import InputError
from hf_audio.publishing.contents import check_all, check_configs, features_in, model_in, name_what_stays, shards_in
from hf_audio.publishing.dataset_card import check_card, name_repo, read_manifest, write_dataset_card
from hf_audio.publishing.hub import HubRepo
from hf_audio.publishing.licenses import refuse_closed, sources_of

# Files of an earlier push that are deleted, because they would be loaded instead of the new files or together with
# them: surplus shards of a dataset, shards of a model, adapters.
OLD_FEATURES = ("data/*.parquet",)
OLD_WEIGHTS = (
    *("model*.safetensors", "model.safetensors.index.json", "model.skops"),
    *("adapter_*", "adapter/*", "network/*", "plots/*"),
)


def push_features(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    public_license: str | Sequence[str] | None = None,
    token: str | None = None,
    revision: str | None = None,
) -> str:
    """Pushes a finished feature folder as a dataset. A card is written first if there is none.

    Only the files that `build_features` and `write_dataset_card` write are pushed, by their names, and no links or
    files reached through links. A warning names the other files in the folder.

    To resume an interrupted push, repeat it: files that the Hub already has are not uploaded again. Shards are
    committed 2 GB at a time, and the manifest last: without it the dataset does not count as complete.

    Args:
        folder: the output of `build_features`.
        repo_id: "name" or "namespace/name"; without a namespace, the user's own.
        private: whether a new repository is private. With None the Hub decides, which makes it public.
        public_license: the exact license of the corpus, which confirms that the user knows it and publishes the
            features although not everyone may redistribute the corpus. With several corpora, such as negatives: the
            licenses of all that forbid redistribution.
        token: a Hub token with write permission; None uses HF_TOKEN or the token of `hf auth login`.
        revision: a branch, created if it does not exist; None is main.

    Returns:
        Address of the dataset.

    Raises:
        InputError: the folder is not finished or `load_features` could not read it, a file in it is a link, contains
            a token or refers to other files, a license forbids publishing, the token or the name is wrong,
            permission is missing, or the Hub was unreachable for minutes.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    names = features_in(folder, manifest)
    check_all(folder, names)
    check_configs(folder, names)
    has_card = "README.md" in names
    if has_card:
        check_card(folder, manifest)
    repo = HubRepo(repo_id, "dataset", token)
    require_licenses(repo, sources_of(manifest["corpus"]), private, public_license)
    check_features(folder)
    repo.create(private)
    if revision is not None:
        repo.create_branch(revision)
    if has_card:
        name_repo(folder, repo.repo_id)
    else:
        write_dataset_card(folder, repo.repo_id)
    names, shards = features_in(folder, manifest), shards_in(manifest)
    repo.upload(folder, names, "Upload features", revision=revision, replace=OLD_FEATURES, ahead=shards)
    name_what_stays(folder, names)
    return repo.url


def push_model(folder: str | Path, repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
    """Pushes a run folder as a model: the files that training and evaluation write for publishing, by their names.

    Arguments, return value and errors are those of `push_features`.
    """
    folder = Path(folder)
    names = model_in(folder)
    if "config.json" not in names or not any(name.endswith((".safetensors", ".skops")) for name in names):
        raise InputError(f"{folder} has no config.json with a *.safetensors or *.skops file: finish the training first")
    check_all(folder, names)
    check_configs(folder, names)
    repo = HubRepo(repo_id, "model", token)
    claim_model_repo(repo, private)
    repo.upload(folder, names, "Upload model", replace=OLD_WEIGHTS)
    name_what_stays(folder, names)
    return repo.url


def claim_model_repo(repo: HubRepo, private: bool | None = None) -> None:
    """Creates the repository that a model will be pushed to, so that errors come before training, not after it."""
    _visibility(repo, private)
    repo.create(private)


def require_licenses(
    repo: HubRepo,
    sources: Iterable[Mapping[str, Any]],
    private: bool | None = None,
    public_license: str | Sequence[str] | None = None,
) -> None:
    """Raises InputError if features of these corpora must not be pushed to this repository; see `push_features`.

    Args:
        sources: `name`, `license` and `may_redistribute` of each corpus.
    """
    refuse_closed(repo.repo_id, sources, _visibility(repo, private), public_license)


def _visibility(repo: HubRepo, private: bool | None) -> bool:
    """Whether the pushed files will be private: an existing repository keeps its visibility.

    Raises:
        InputError: a private push to a public repository.
    """
    is_private = repo.is_private()
    if is_private is None:
        return bool(private)
    if private and not is_private:
        raise InputError(
            f"{repo.repo_id} exists and is public, so a private push to it is impossible: make it private in its "
            "settings on the Hub, or push to another name"
        )
    return is_private
