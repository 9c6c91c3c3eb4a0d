"""Finds out what --dataset or --data_dir is: built features, a dataset with audio, or files and tables."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx2
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import OfflineModeIsEnabled

from hf_audio.config import CorpusConfig
from hf_audio.config.data import SEVERAL
from hf_audio.corpora._dataset import DatasetReading, Place, find_dataset, is_dataset_folder
from hf_audio.corpora.folder import Reading
from hf_audio.data.loading.dataset_files import is_feature_folder
from hf_audio.errors import InputError
from hf_audio.privacy import last_name, public_name

Config = TypeVar("Config", bound=CorpusConfig)
FEATURES, DATASET, FILES = "features", "dataset", "files"


class Source(NamedTuple):
    """The source of the recordings or features.

    Attributes:
        kind: FEATURES, DATASET, or FILES, which a corpus module reads.
        place: of a DATASET, or of FEATURES on the Hub.
        data_dir: of FILES; None if they must be downloaded or rendered first.
    """

    kind: str
    place: Place | None = None
    data_dir: str | None = None


def each_corpus(data: Config) -> dict[str, Config]:
    """The settings of each corpus, by a unique name; with a single corpus, the given settings.

    The name is that of its module or dataset, or the last part of its folder's path.
    """
    if data.num_corpora == 1:
        return {_name(data): data}
    found: dict[str, Config] = {}
    for number in range(data.num_corpora):
        of_one = {
            name: one[number] if isinstance(one, list) else one for name in SEVERAL if (one := getattr(data, name))
        }
        one = dataclasses.replace(data, **{**dict.fromkeys(SEVERAL), **of_one})
        name, count = _name(one), 1
        while name in found:
            count += 1
            name = f"{_name(one)}-{count}"
        found[name] = one
    return found


def _name(data: CorpusConfig) -> str:
    if data.dataset:
        return public_name(data.dataset)
    if data.corpus == "folder" and data.data_dir:
        return Path(last_name(data.data_dir)).stem
    return data.corpus


def source_of(data: CorpusConfig, token: str | bool | None = None) -> Source:
    """The source in the settings; a dataset on the Hub at its current commit.

    Args:
        token: Hub token; by default HF_TOKEN or the stored token.

    Raises:
        InputError: it is neither a folder nor a readable repository.
    """
    if data.num_corpora > 1:
        raise InputError("Several corpora are given, but only one is possible here: give one --corpus or --dataset")
    if data.dataset is None:
        root = Path(data.data_dir) if data.data_dir else None
        if data.corpus == "folder" and root is not None and root.is_dir() and is_dataset_folder(root):
            return Source(DATASET, find_dataset(str(root)))
        return Source(FILES, data_dir=data.data_dir)
    folder = Path(data.dataset).expanduser()
    if folder.is_file():
        return Source(FILES, data_dir=str(folder))
    try:
        place = find_dataset(data.dataset, token, data.dataset_revision)
    except InputError as error:
        unreachable = isinstance(error.__cause__, httpx2.ConnectError | OfflineModeIsEnabled)
        if unreachable and _are_cached_features(data.dataset, data.dataset_revision):
            return Source(FEATURES)
        raise
    if not place.is_on_hub:
        if is_feature_folder(folder):
            return Source(FEATURES)
        return Source(DATASET, place) if is_dataset_folder(folder) else Source(FILES, data_dir=str(folder))
    return Source(FEATURES if place.holds("manifest.json") else DATASET, place)


def require_one_source(data: CorpusConfig) -> None:
    """Refuses --data_dir together with --dataset, for settings that all come from the user."""
    if data.dataset and data.data_dir:
        raise InputError(
            "--data_dir would have no effect here: --dataset says where the recordings are: leave one of the two out"
        )


def kinds_and_commits(data: CorpusConfig, token: str | bool | None = None) -> tuple[list[str], list[str | None]]:
    """The kind of source of each corpus, and its current commit if it is on the Hub.

    Raises:
        InputError: see `source_of`.
    """
    sources = [source_of(one, token) for one in each_corpus(data).values()]
    return [one.kind for one in sources], [one.place.commit if one.place else None for one in sources]


def _are_cached_features(dataset: str, revision: str | None) -> bool:
    """Whether the Hub's cache has the manifest of features with this name."""
    return isinstance(try_to_load_from_cache(dataset, "manifest.json", revision=revision, repo_type="dataset"), str)


def source_and_reading(data: CorpusConfig, token: str | bool | None = None) -> tuple[Source, Any]:
    """The source in the settings, and the settings for reading it, None for features.

    Raises:
        InputError: see `source_of`; or a setting is for another kind of source.
    """
    source = source_of(data, token)
    if source.kind == FILES:
        _refuse(data, DatasetReading, Reading, "is for datasets, but {} is read as files: leave it out")
        return source, _filled(Reading, data)
    if source.kind == DATASET:
        _refuse(data, Reading, DatasetReading, "is for folders and tables, but {} is a dataset: leave it out")
        return source, _filled(DatasetReading, data)
    return source, None


def _filled(kind: type, data: CorpusConfig) -> Reading | DatasetReading:
    return kind(**{one.name: getattr(data, one.name) for one in dataclasses.fields(kind)})


def _refuse(data: CorpusConfig, others: type, ours: type, why: str) -> None:
    """Refuses a setting that only `others` has."""
    own = {one.name for one in dataclasses.fields(ours)}
    for one in dataclasses.fields(others):
        if one.name not in own and getattr(data, one.name) != one.default:
            what = data.dataset or data.data_dir or data.corpus
            raise InputError(f"--{one.name} {why.format(os.path.basename(what.rstrip('/')) or what)}")
