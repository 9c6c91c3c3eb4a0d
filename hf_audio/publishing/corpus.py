"""Publishes the recordings of a corpus as a dataset on the Hub, according to the settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from hf_audio.config import CorpusConfig, DataConfig, ShareConfig
from hf_audio.data.index.table import CorpusCard
from hf_audio.errors import InputError
from hf_audio.preparation import corpora_of, corpus_as_it_is, require_one_corpus
from hf_audio.privacy import last_name
from hf_audio.publishing.hub import HubRepo
from hf_audio.publishing.push import require_licenses
from hf_audio.publishing.recordings import refuse_features, share_recordings
from hf_audio.ranks import process_state
from hf_audio.terminal import show

PUSHES = Path("pushes")  # state of uploads, and the few shards that are being uploaded


def share_corpus(corpus: CorpusConfig, sharing: ShareConfig) -> str:
    """Makes a dataset of the recordings of a corpus, a folder, a table or another dataset; see `share_recordings`.

    Licenses and permissions are checked before recordings or rows are downloaded, read or built. How a folder, table
    or dataset was read is printed first, in one paragraph.

    Returns:
        The address of the dataset, or its folder if it is not pushed.

    Raises:
        InputError: the errors of the corpus and of `share_recordings`.
    """
    if process_state().num_processes > 1:
        raise InputError(
            "Sharing recordings uses one process with several threads: run it with python, not accelerate launch"
        )
    require_one_corpus(corpus)
    cards = [_licensed(card, sharing) for card in corpora_of(corpus, sharing.hub_token)]
    private = sharing.hub_private_repo or None
    if sharing.hub_dataset_id:
        repo = HubRepo(sharing.hub_dataset_id, "dataset", sharing.hub_token)
        _require_another(repo, cards)
        refuse_features(repo, repo.files())
        require_licenses(repo, map(dataclasses.asdict, cards), private, sharing.public_license)
    data = DataConfig(**vars(corpus), strict=sharing.strict)
    found = corpus_as_it_is(data, token=sharing.hub_token, tell=show)
    card = _licensed(found.card, sharing)
    if corpus.corpus == "folder" and not card.source:  # a folder has no name of its own
        card = dataclasses.replace(card, name=last_name(sharing.hub_dataset_id or sharing.output_dir))
    return share_recordings(
        found.clips,
        found.labels,
        card,
        sharing.output_dir or PUSHES / sharing.hub_dataset_id.replace("/", "--"),
        sharing.hub_dataset_id,
        keep=bool(sharing.output_dir),
        audio_format=sharing.audio_format,
        private=private,
        public_license=sharing.public_license,
        token=sharing.hub_token,
        num_workers=sharing.num_workers,
        strict=sharing.strict,
    )


def _require_another(repo: HubRepo, cards: Sequence[CorpusCard]) -> None:
    """Refuses to push a dataset to its own repository: its files would be replaced while they are read."""
    if any(card.revision and card.source == repo.repo_id for card in cards):
        raise InputError(f"--hub_dataset_id {repo.repo_id} is also the dataset that is read: push to another name")


def _licensed(card: CorpusCard, sharing: ShareConfig) -> CorpusCard:
    """The card with the license from --license, which is only for recordings that have none yet."""
    if sharing.license is None:
        return card
    if card.revision:
        raise InputError(
            f"--license {sharing.license} is for your own recordings, but the license of {card.source} is stated by "
            "its card on the Hub: remove the flag, or ask its owner to change the card"
        )
    if card.license not in ("unknown", sharing.license):
        raise InputError(
            f"--license {sharing.license} is for your own recordings, but {card.name} is under {card.license!r}: "
            "remove the flag"
        )
    return dataclasses.replace(card, license=sharing.license, may_redistribute=True)
