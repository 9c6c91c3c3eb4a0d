"""The files of a feature dataset: in a folder, or in one commit of a Hub repository, with retries."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx2
from datasets import DownloadConfig
from datasets.utils.file_utils import xopen
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import tqdm as hub_progress_bar
from huggingface_hub.utils import validate_repo_id

from hf_audio.errors import InputError
from hf_audio.files import MAX_JSON_BYTES, open_regular
from hf_audio.hub_access import hub_errors_in_words, patiently

DOWNLOADS_AT_A_TIME = 8
NAMES_AT_A_TIME = 500
MAX_SHARD_BYTES = 1 << 37
NO_FEATURES = "has no finished features (no manifest.json)"


def is_feature_folder(folder: Path) -> bool:
    """Whether `build_features` wrote to this folder, finished or not."""
    return any((folder / name).exists() for name in ("manifest.json", "plan.json"))


@dataclass(frozen=True)
class DatasetFiles:
    """The files of a feature dataset: in a folder, or in one commit of a Hub repository."""

    source: str
    is_folder: bool
    token: str | bool | None = None
    revision: str | None = None

    @classmethod
    def of(cls, source: str | Path, token: str | bool | None, revision: str | None) -> DatasetFiles:
        """Finds a finished dataset.

        Raises:
            InputError: it is neither a folder nor a repository; there is no access; the build is unfinished; it is not
                a feature dataset.
        """
        folder = Path(source).expanduser()
        if folder.is_dir():
            if not (folder / "manifest.json").exists():
                if (folder / "plan.json").exists():
                    raise InputError(
                        f"The build in {folder} is not finished; run the same command again to complete it"
                    )
                raise InputError(f"{folder} is not a feature dataset (it has no manifest.json); build features first")
            return cls(str(folder), True)
        try:
            if isinstance(source, Path) or source.count("/") != 1:
                raise HFValidationError
            validate_repo_id(source)
        except HFValidationError:
            raise InputError(f"{source} is neither a local folder nor a Hub repository of the form user/name") from None
        with hub_errors_in_words(source, revision, NO_FEATURES):
            # If the Hub refuses access, client libraries silently use an old copy from their caches: check first.
            with contextlib.suppress(OfflineModeIsEnabled, httpx2.ConnectError):
                patiently(HfApi(token=token).dataset_info, source, revision=revision)
            manifest = Path(download_file(source, "manifest.json", token, revision, MAX_JSON_BYTES))
        # the folder of a cached file is named after its commit: all other files are read from the same commit
        return cls(source, False, token, manifest.parent.name)

    def path(self, name: str, max_bytes: int) -> Path:
        """The local path of one file, downloaded unless it is in the cache.

        Raises:
            InputError: it is missing, larger than `max_bytes`, or not a regular file; or see `of`.
        """
        if self.is_folder:
            path = Path(self.source) / name
            if not path.exists():
                raise InputError(f"{self.source} is incomplete: {name} is missing; download or build it again")
            if not path.is_file():  # follows links; opening a pipe would block
                raise InputError(f"{path} is not a regular file but a folder, pipe or device: remove or replace it")
        else:
            with hub_errors_in_words(self.source, self.revision, NO_FEATURES):
                path = Path(download_file(self.source, name, self.token, self.revision, max_bytes))
        _check_size(f"{self.source}: {name}", path.stat().st_size, max_bytes)
        return path

    def sizes(self, names: Sequence[str]) -> dict[str, int]:
        """Sizes in bytes of files in the folder or on the Hub, without downloading; offline, of files in the cache.

        Raises:
            InputError: one of them is missing or not a regular file.
        """
        if self.is_folder:
            return {name: self.path(name, MAX_SHARD_BYTES).stat().st_size for name in names}
        found: dict[str, int] = {}
        with hub_errors_in_words(self.source, self.revision, NO_FEATURES):
            for first in range(0, len(names), NAMES_AT_A_TIME):
                part = list(names[first : first + NAMES_AT_A_TIME])
                try:
                    told = patiently(
                        HfApi(token=self.token).get_paths_info,
                        *(self.source, part),
                        repo_type="dataset",
                        revision=self.revision,
                    )
                except (OfflineModeIsEnabled, httpx2.ConnectError):
                    sizes = {name: self.path(name, MAX_SHARD_BYTES).stat().st_size for name in part}
                else:
                    sizes = {one.path: one.size for one in told if isinstance(one, RepoFile)}
                missing = [name for name in part if name not in sizes]
                if missing:
                    raise InputError(
                        f"{self.source} is incomplete: {missing[0]} is missing; download or build it again"
                    )
                found |= sizes
        return found

    def shards(self, names: Sequence[str], sizes: Mapping[str, int], streaming: bool) -> list[str]:
        """Names for `open` of files with these sizes; unless they are streamed, they are downloaded first."""
        if streaming and not self.is_folder:
            return [f"hf://datasets/{self.source}@{self.revision}/{name}" for name in names]
        # file by file: files in the cache need no connection
        with ThreadPoolExecutor(DOWNLOADS_AT_A_TIME) as threads:
            return [str(path.absolute()) for path in threads.map(lambda name: self.path(name, sizes[name]), names)]

    def open(self, shard: str) -> BinaryIO:
        """Opens one of `shards` for reading."""
        if shard.startswith("hf://"):
            return xopen(shard, "rb", download_config=DownloadConfig(token=self.token))
        return open_regular(shard)


def download_file(repo_id: str, name: str, token: str | bool | None, revision: str | None, max_bytes: int) -> str:
    """Downloads one file of a dataset to the cache, unless it is too large, and returns its path.

    The folder of the file is named after its commit. Errors are those of the client libraries, see
    `hub_errors_in_words`.
    """
    bar = _bar_of_at_most(f"{repo_id}: {name}", max_bytes)
    options = {"repo_type": "dataset", "token": token, "revision": revision, "tqdm_class": bar}
    return patiently(hf_hub_download, repo_id, name, **options)


def _bar_of_at_most(file: str, max_bytes: int) -> type[hub_progress_bar]:
    """A progress bar that stops a download that is, or becomes, too large.

    The client calls it with the size before the first byte, and nothing else with the bytes that arrive.
    """

    class Bar(hub_progress_bar):
        def __init__(self, *args: Any, total: float | None = None, initial: float = 0, **options: Any) -> None:
            _check_size(file, total or 0, max_bytes)
            self.received = initial
            super().__init__(*args, total=total, initial=initial, **options)

        def update(self, n: float | None = 1) -> bool | None:
            self.received += n or 0
            _check_size(file, self.received, max_bytes)
            return super().update(n)

        def __del__(self) -> None:  # a refused one has nothing to close
            with contextlib.suppress(AttributeError):
                super().__del__()

    return Bar


def _check_size(file: str, num_bytes: float, max_bytes: int) -> None:
    if num_bytes > max_bytes:
        raise InputError(
            f"{file} has {num_bytes:,.0f} bytes, expected at most {max_bytes:,}: it cannot be what its name says"
        )
