"""Publishes stored logits as a dataset on the Hub: one Parquet file, and a card that names the model and the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from huggingface_hub import DatasetCard, DatasetCardData, HfApi

from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.markdown import Markdown, link, one_plain_line, table
from hf_audio.models.origin import is_on_the_hub
from hf_audio.privacy import require_repo_ids, write_published
from hf_audio.publishing.contents import check_all
from hf_audio.publishing.hub import HubRepo
from hf_audio.publishing.licenses import hub_license
from hf_audio.publishing.templates import render
from hf_audio.stored_scores import FOLDER, WINDOWS, read_logits

NAMES = (f"{FOLDER}/{WINDOWS}", "README.md")


def write_logits_card(folder: Path, features: FeatureDataset, repo_id: str | None = None) -> Path:
    """Writes README.md into the folder of the stored logits of a feature dataset.

    Args:
        folder: the folder that `write_logits` wrote to.
        features: the dataset that the logits are for.
        repo_id: repository of the logits; without one the code shows the folder's name.
    """
    require_repo_ids(repo_id)
    path = folder / FOLDER / WINDOWS
    stored = read_logits(path, str(folder))
    splits = pq.read_table(path, columns=["split"])["split"].value_counts().to_pylist()
    source = repo_id or f"./{folder.resolve().name}"
    told, teacher, dataset = stored.told, str(stored.told.get("teacher")), features.public_name
    card = render(
        "logits_card.md",
        card_data=Markdown(_metadata(told, source).to_yaml()),
        name=source.split("/")[-1],
        source=source,
        told=told,
        teacher_link=link(teacher, _address(teacher) if told.get("commit") else None),
        features_link=link(dataset, _address(dataset, "datasets/")),
        corpus=features.manifest["corpus"],
        labels=stored.labels.names,
        multi_label=stored.labels.is_multi_label,
        split_table=table(["split", "windows"], [[one["values"], f"{one['counts']:,}"] for one in splits]),
    )
    write_published(folder / "README.md", str(DatasetCard(card)))
    return folder / "README.md"


def push_logits(
    folder: Path, features: FeatureDataset, repo_id: str, *, private: bool | None = None, token: str | None = None
) -> str:
    """Pushes stored logits with their card, and returns the address of the dataset.

    Raises:
        InputError: the errors of `push_features`.
    """
    repo = HubRepo(repo_id, "dataset", token)
    write_logits_card(folder, features, repo.repo_id)
    check_all(folder, NAMES)
    if private and repo.is_private() is False:
        raise InputError(f"{repo.repo_id} exists and is public: push to another name, or leave out --private")
    repo.create(private)
    repo.upload(folder, NAMES, "Upload logits")
    return repo.url


def _address(name: str, kind: str = "") -> str | None:
    return f"{HfApi().endpoint}/{kind}{name}" if is_on_the_hub(name) else None


def _metadata(told: dict[str, Any], source: str) -> DatasetCardData:
    license = told.get("license")
    return DatasetCardData(
        pretty_name=one_plain_line(source.split("/")[-1]),
        tags=["audio", "hf_audio", "distillation"],
        task_categories=["audio-classification"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": f"{FOLDER}/{WINDOWS}"}]}],
        **(hub_license(license) if isinstance(license, str) else {}),
    )
