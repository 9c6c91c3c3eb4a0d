"""Reading a feature dataset: from a folder, from the Hub's cache or streamed, by the same call."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import torch
from datasets import Dataset, Image, IterableDataset, load_dataset
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential
from transformers import ASTFeatureExtractor

from hf_audio.data.feature_plan import FORMAT_VERSION, shard_names
from hf_audio.data.feature_storage import decode_features
from hf_audio.data.labels import LabelSpace
from hf_audio.data.splits import check_disjoint
from hf_audio.errors import InputError

DOWNLOADS_AT_A_TIME = 8
TRIES = 4


@dataclass
class FeatureDataset:
    """A feature dataset ready for training.

    Attributes:
        splits: "train", "validation" and "test" as far as they exist. Rows have clip_id, group, start_s, features (a
            dict with the PNG's bytes), offset, scale, num_frames and labels (class indices); FeatureCollator makes
            batches of them.
        labels: the classes.
        extractor: the stock extractor that makes the same features of a waveform, with this dataset's statistics.
        manifest: manifest.json.
        source: folder or Hub repository it was loaded from.
    """

    splits: dict[str, Dataset | IterableDataset]
    labels: LabelSpace
    extractor: ASTFeatureExtractor
    manifest: dict[str, Any]
    source: str

    def num_windows(self, split: str) -> int:
        """Rows of a split; known for streamed splits too."""
        return self.manifest["splits"][split]["num_windows"]


def load_features(
    source: str | Path, *, streaming: bool = False, token: str | bool | None = None, revision: str | None = None
) -> FeatureDataset:
    """Load a feature dataset that `build_features` wrote.

    Args:
        source: a folder, or a dataset repository on the Hub such as "someone/irmas-fbank".
        streaming: read the train split while it is used instead of downloading it first. Validation and test are
            small and need an order, so they are always local.
        token: Hub token, for private repositories; by default HF_TOKEN or the one that is logged in. A process that
            streams from several private repositories should set HF_TOKEN, since `datasets` keeps one token only.
        revision: branch, tag or commit on the Hub.

    Raises:
        InputError: neither a folder nor a repository; no access; an unfinished build; not a feature dataset; a group
            in two splits.
    """
    files = _Files.of(source, token, revision)
    manifest = json.loads(files.path("manifest.json").read_text(encoding="utf-8"))
    if manifest.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{source} has feature format {manifest.get('format_version')!r}; this hf_audio reads {FORMAT_VERSION}, "
            "so build the features again or install the hf_audio they were built with"
        )
    check_disjoint_groups(files.path("index.csv"), str(source))
    extractor = ASTFeatureExtractor.from_json_file(files.path("preprocessor_config.json"))
    splits = dict.fromkeys(manifest["splits"])
    for split in sorted(splits, key="train".__eq__):  # train last: `datasets` streams with the token it met last
        facts = manifest["splits"][split]
        shards = [f"data/{name}.parquet" for name in shard_names(split, facts["num_shards"])]
        rows = files.load(split, shards, streaming and split == "train")
        if isinstance(rows, Dataset) and len(rows) != facts["num_windows"]:
            raise InputError(
                f"{source} is damaged: its {split} split has {len(rows)} windows but its manifest counts "
                f"{facts['num_windows']}; download or build it again"
            )
        splits[split] = rows
    labels = LabelSpace(tuple(manifest["label_names"]), manifest["problem_type"])
    return FeatureDataset(splits, labels, extractor, manifest, str(source))


@dataclass(frozen=True)
class _Files:
    """Where the files of a feature dataset are: a folder, or one commit of a Hub repository."""

    source: str
    is_folder: bool
    token: str | bool | None = None
    revision: str | None = None

    @classmethod
    def of(cls, source: str | Path, token: str | bool | None, revision: str | None) -> _Files:
        folder = Path(source).expanduser()
        if folder.is_dir():
            if not (folder / "manifest.json").exists():
                if (folder / "plan.json").exists():
                    raise InputError(f"The build in {folder} is not finished; run the same build again to complete it")
                raise InputError(f"{folder} is not a feature dataset (it has no manifest.json); build features first")
            return cls(str(folder), True)
        try:
            if isinstance(source, Path) or source.count("/") != 1:
                raise HFValidationError
            validate_repo_id(source)
        except HFValidationError:
            raise InputError(f"{source} is neither a folder nor a Hub repository of the form user/name") from None
        with _hub_errors_in_words(source, revision):
            # The client libraries silently take an old copy from their caches where the Hub refuses access: ask first.
            with contextlib.suppress(OfflineModeIsEnabled, httpx2.ConnectError):
                _patiently(HfApi(token=token).dataset_info, source, revision=revision)
            manifest = Path(_download(source, "manifest.json", token, revision))
        # the folder of a cached file is named after its commit: everything else is read from the same one
        return cls(source, False, token, manifest.parent.name)

    def path(self, name: str) -> Path:
        """A local path of one file, downloaded unless the cache has it."""
        if self.is_folder:
            path = Path(self.source) / name
            if not path.exists():
                raise InputError(f"{self.source} is incomplete: {name} is missing; download or build it again")
            return path
        with _hub_errors_in_words(self.source, self.revision):
            return Path(_download(self.source, name, self.token, self.revision))

    def load(self, split: str, shards: list[str], streaming: bool) -> Dataset | IterableDataset:
        """One split through plain `datasets`, pictures left as PNG bytes."""
        if streaming and not self.is_folder:
            source, access = self.source, {"token": self.token, "revision": self.revision}
        else:  # shard by shard: what the cache has needs no connection
            with ThreadPoolExecutor(DOWNLOADS_AT_A_TIME) as threads:
                paths = list(threads.map(self.path, shards))
            source, access = str(paths[0].parents[1]), {}
        rows = load_dataset(source, data_files={split: shards}, split=split, streaming=streaming, **access)
        return rows.cast_column("features", Image(decode=False))


def _download(repo_id: str, name: str, token: str | bool | None, revision: str | None) -> str:
    return _patiently(hf_hub_download, repo_id, name, repo_type="dataset", token=token, revision=revision)


def _patiently(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Try again what the client library does not: a connection that breaks, an answer that never comes, a 503."""

    def may_pass(error: BaseException) -> bool:
        if isinstance(error, HfHubHTTPError):
            return error.response is not None and error.response.status_code >= 500
        return isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.ConnectError)

    retrying = Retrying(
        retry=retry_if_exception(may_pass), stop=stop_after_attempt(TRIES), wait=wait_exponential(), reraise=True
    )
    return retrying(call, *args, **options)


@contextlib.contextmanager
def _hub_errors_in_words(repo_id: str, revision: str | None) -> Iterator[None]:
    """What can go wrong on the way to the Hub, as one sentence each."""
    try:
        yield
    except GatedRepoError as error:
        raise InputError(f"Access to {repo_id} must be requested on its Hub page before it can be read") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"The Hub has no dataset {repo_id} that this token may read; check the name, and for a private dataset "
            "the token (HF_TOKEN, --hub_token or `hf auth login`)"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"Dataset {repo_id} has no revision {revision}; leave it out for the newest") from error
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{repo_id} is no folder here, not in the Hub's cache, and the Hub cannot be reached; check the name or "
            "the connection"
        ) from error
    except EntryNotFoundError as error:
        raise InputError(f"Dataset {repo_id} on the Hub holds no finished features (no manifest.json)") from error
    except httpx2.TransportError as error:
        raise InputError(
            f"The connection to the Hub broke while reading {repo_id} ({error}); run the same command again, what was "
            "downloaded is kept"
        ) from error
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code == 401:
            raise InputError(
                f"The Hub does not accept the token given for {repo_id}; check HF_TOKEN or --hub_token, or log in "
                "again with `hf auth login`"
            ) from error
        raise InputError(f"The Hub refuses to give {repo_id}: {str(error).splitlines()[0]}") from error


def check_disjoint_groups(index: Path, source: str) -> None:
    """Assert that no group of an index.csv is in two splits.

    Raises:
        InputError: names the first group that is.
    """
    with open(index, newline="", encoding="utf-8") as file:
        try:
            check_disjoint((row["group"], row["split"]) for row in csv.DictReader(file))
        except InputError as error:
            raise InputError(f"{source} cannot be trained on. {error}") from error


def check_same_extractor(stored: Any, wanted: Any) -> None:
    """Refuse to train on features that a model was not made for.

    Window length and statistics are not compared: a model can be adapted to those, not to another kind of feature.

    Args:
        stored: extractor of the feature dataset.
        wanted: extractor of the model.

    Raises:
        InputError: names every difference.
    """
    stored, wanted = stored.to_dict(), wanted.to_dict()
    compared = ("feature_extractor_type", "sampling_rate", "num_mel_bins")
    others = [
        f"{key} {stored.get(key)} there, {wanted.get(key)} wanted"
        for key in compared
        if stored.get(key) != wanted.get(key)
    ]
    if others:
        raise InputError(
            f"The features were made by another extractor than the model's ({'; '.join(others)}); "
            "build features for this model, or choose a model that fits them"
        )


def clip_key(clip_id: str) -> int:
    """A 63-bit number for a clip's name, the same on every machine: what tensors can carry instead of strings."""
    return int.from_bytes(hashlib.blake2b(clip_id.encode(), digest_size=8).digest(), "big") >> 1


class FeatureCollator:
    """Rows of a feature dataset → a normalised batch, exactly as ASTFeatureExtractor would have given it.

    A window shorter than `extractor.max_length` is padded with 0 before normalising.
    """

    def __init__(self, extractor: ASTFeatureExtractor, labels: LabelSpace) -> None:
        self.extractor = extractor
        self.labels = labels

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """input_values float32 `[batch, frames, bins]`, labels float32 `[batch, classes]`, clip_keys int64 `[batch]`"""
        values = np.zeros((len(rows), self.extractor.max_length, self.extractor.num_mel_bins), dtype=np.float32)
        for window, row in zip(values, rows, strict=True):
            picture = row["features"]
            if isinstance(picture, dict):
                picture = picture["bytes"]
            frames = decode_features(picture, row["offset"], row["scale"])[: len(window)]
            window[: len(frames)] = frames
        if self.extractor.do_normalize:
            values -= np.float32(self.extractor.mean)
            values /= np.float32(2 * self.extractor.std)
        return {
            "input_values": torch.from_numpy(values),
            "labels": torch.from_numpy(np.stack([self.labels.multi_hot(row["labels"]) for row in rows])),
            "clip_keys": torch.tensor([clip_key(row["clip_id"]) for row in rows], dtype=torch.int64),
        }
