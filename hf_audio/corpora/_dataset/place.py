"""Where a dataset is: a folder, or one commit of a Hub repository."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import datasets
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hf_audio.errors import InputError
from hf_audio.files import MAX_JSON_BYTES, open_regular, read_json
from hf_audio.hub_access import hub_errors_in_words, patiently

Found = TypeVar("Found")
BLOCK_BYTES = 1 << 18  # of read-ahead for files that are read from the beginning


@dataclass(frozen=True)
class Place:
    """The files of a dataset, which do not change while they are read.

    Attributes:
        root: the folder's absolute path, or hf://datasets/USER/NAME@COMMIT.
        name: USER/NAME as it is now on the Hub, or the folder's name.
        asked: the requested name, which may be an old one.
        commit: the commit of the repository; None for a folder.
        files: names of the files of a repository, relative to `root`; empty for a folder.
        token: for private repositories; never shown.
    """

    root: str
    name: str
    asked: str
    commit: str | None = None
    files: tuple[str, ...] = ()
    token: str | bool | None = field(default=None, repr=False, compare=False)

    @property
    def is_on_hub(self) -> bool:
        return self.commit is not None

    def holds(self, file: str) -> bool:
        """Whether a file with this name exists."""
        return file in self.files if self.is_on_hub else (Path(self.root) / file).is_file()

    def listed(self) -> list[str]:
        """Names of all files except hidden ones, relative to the root."""
        if self.is_on_hub:
            return list(self.files)
        found = []
        for folder, below, files in os.walk(self.root):
            below[:] = sorted(name for name in below if not name.startswith("."))
            within = Path(folder).relative_to(self.root)
            found += [(within / name).as_posix() for name in sorted(files) if not name.startswith(".")]
        return found

    def shown(self, address: str) -> str:
        """A file's name relative to the root."""
        return address.removeprefix(self.root).lstrip("/")

    @contextmanager
    def open(self, address: str, *, ahead: bool = False) -> Iterator[BinaryIO]:
        """Opens one of the files as a seekable file; from the Hub, only what is read is transferred.

        Args:
            address: the address of the file, including the root.
            ahead: read ahead in blocks, for files that are read from the beginning.

        Raises:
            InputError: it cannot be read. `patiently` explains errors of the Hub.
        """
        if not self.is_on_hub:
            with open_regular(address) as file:
                yield file
            return
        options = {"cache_type": "readahead", "block_size": BLOCK_BYTES} if ahead else {"cache_type": "none"}
        with self.file_system.open(address, "rb", **options) as file:
            yield file

    def patiently(self, call: Callable[..., Found], *args: Any) -> Found:
        """The result of `call`, which is called again if the connection breaks.

        Raises:
            InputError: an error of the Hub, explained in one sentence.
        """
        with hub_errors_in_words(self.name, self.commit):
            return patiently(call, *args)

    def read(self, address: str, max_bytes: int) -> bytes:
        """All of a small file.

        Raises:
            InputError: see `open`; or it is larger than `max_bytes`.
        """

        def content() -> bytes:
            with self.open(address) as file:
                return file.read(max_bytes + 1)

        found = self.patiently(content)
        if len(found) > max_bytes:
            raise InputError(
                f"{self.shown(address)} of {self.name} has more bytes than expected (at most {max_bytes:,}): it cannot "
                "be what its name says"
            )
        return found

    def read_json(self, file: str) -> dict[str, Any]:
        """The JSON object in a small file, by its name relative to the root.

        Raises:
            InputError: see `read`; or it is not a JSON object.
        """
        if not self.is_on_hub:
            return read_json(f"{self.root}/{file}", MAX_JSON_BYTES)
        try:
            content = json.loads(self.read(f"{self.root}/{file}", MAX_JSON_BYTES))
        except (ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            content = None
        if not isinstance(content, dict):
            raise InputError(f"{file} of {self.name} is not a JSON object; ask its authors to fix it")
        return content

    @property
    def file_system(self) -> HfFileSystem:
        """The Hub as a file system, the same one that `datasets` uses, so that a repository is listed only once."""
        return HfFileSystem(endpoint=datasets.config.HF_ENDPOINT, token=self.token)


def find_dataset(source: str, token: str | bool | None = None, revision: str | None = None) -> Place:
    """The dataset with a name, at its current commit or a given revision.

    Args:
        source: a folder, or a dataset repository on the Hub, USER/NAME.
        token: Hub token; by default HF_TOKEN or the stored token.
        revision: branch, tag or commit on the Hub.

    Raises:
        InputError: `source` is neither a folder nor a repository; there is no access; the revision does not exist, or
            was given for a folder.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if revision:
            raise InputError(
                f"--dataset_revision {revision} applies to datasets on the Hub, but {source} is a local folder; "
                "leave it out"
            )
        folder = folder.absolute()
        return Place(str(folder), folder.name, source)
    try:
        if source.count("/") != 1:
            raise HFValidationError
        validate_repo_id(source)
    except HFValidationError:
        raise InputError(f"{source} is neither a local folder nor a Hub repository of the form user/name") from None
    with hub_errors_in_words(source, revision):
        found = patiently(HfApi(token=token).dataset_info, source, revision=revision)
    root = f"hf://datasets/{found.id}@{found.sha}"
    files = tuple(sorted(one.rfilename for one in found.siblings or ()))
    return Place(root, found.id, source, found.sha, files, token)
