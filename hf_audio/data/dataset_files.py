"""Where the files of a feature dataset are: a folder, or one commit of a Hub repository that is reached patiently."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from datasets import Dataset, IterableDataset, load_dataset
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

from hf_audio.errors import InputError

DOWNLOADS_AT_A_TIME = 8
TRIES = 4


@dataclass(frozen=True)
class DatasetFiles:
    """Where the files of a feature dataset are: a folder, or one commit of a Hub repository."""

    source: str
    is_folder: bool
    token: str | bool | None = None
    revision: str | None = None

    @classmethod
    def of(cls, source: str | Path, token: str | bool | None, revision: str | None) -> DatasetFiles:
        """Finds a finished dataset by its name.

        Raises:
            InputError: neither a folder nor a repository; no access; an unfinished build; not a feature dataset.
        """
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
        """One split through plain `datasets`."""
        if streaming and not self.is_folder:
            source, access = self.source, {"token": self.token, "revision": self.revision}
        else:  # shard by shard: what the cache has needs no connection
            with ThreadPoolExecutor(DOWNLOADS_AT_A_TIME) as threads:
                paths = list(threads.map(self.path, shards))
            source, access = str(paths[0].parents[1]), {}
        return load_dataset(source, data_files={split: shards}, split=split, streaming=streaming, **access)


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
