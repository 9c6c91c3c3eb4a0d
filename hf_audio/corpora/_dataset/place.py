"""Where a dataset lies: a folder, or one commit of a Hub repository."""

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
BLOCK_BYTES = 1 << 18  # that are read ahead where a file is read from its beginning on


@dataclass(frozen=True)
class Place:
    """A dataset's files, which never change while they are read.

    Attributes:
        root: the folder's absolute path, or hf://datasets/USER/NAME@COMMIT.
        name: USER/NAME as the Hub has it now, or the folder's own name.
        asked: the name it was asked for by.
        commit: of the repository; None for a folder.
        files: names of the files of a repository, below `root`; of a folder they are not listed here.
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
        """Whether there is a file of this name."""
        return file in self.files if self.is_on_hub else (Path(self.root) / file).is_file()

    def listed(self) -> list[str]:
        """Names of all files but hidden ones, as seen from the root."""
        if self.is_on_hub:
            return list(self.files)
        found = []
        for folder, below, files in os.walk(self.root):
            below[:] = sorted(name for name in below if not name.startswith("."))
            within = Path(folder).relative_to(self.root)
            found += [(within / name).as_posix() for name in sorted(files) if not name.startswith(".")]
        return found

    def shown(self, address: str) -> str:
        """A file's name as seen from the root."""
        return address.removeprefix(self.root).lstrip("/")

    @contextmanager
    def open(self, address: str, *, ahead: bool = False) -> Iterator[BinaryIO]:
        """One of the files, to read from and to seek in; of one on the Hub only what is read is transferred.

        Args:
            address: of the file, with the root before it.
            ahead: read in blocks, for what is read from its beginning on.

        Raises:
            InputError: it is none that can be read. What the Hub refuses is said in words by `patiently`.
        """
        if not self.is_on_hub:
            with open_regular(address) as file:
                yield file
            return
        options = {"cache_type": "readahead", "block_size": BLOCK_BYTES} if ahead else {"cache_type": "none"}
        with self.file_system.open(address, "rb", **options) as file:
            yield file

    def patiently(self, call: Callable[..., Found], *args: Any) -> Found:
        """What `call` returns; it is called again where the connection breaks while it reads.

        Raises:
            InputError: what the Hub refuses, in one sentence.
        """
        with hub_errors_in_words(self.name, self.commit):
            return patiently(call, *args)

    def read(self, address: str, most_bytes: int) -> bytes:
        """All of a small file.

        Raises:
            InputError: see `open`; or it is larger than `most_bytes`.
        """

        def content() -> bytes:
            with self.open(address) as file:
                return file.read(most_bytes + 1)

        found = self.patiently(content)
        if len(found) > most_bytes:
            raise InputError(
                f"{self.shown(address)} of {self.name} has more than {most_bytes:,} bytes and a file of its kind has "
                "fewer: it is not what its name says"
            )
        return found

    def read_json(self, file: str) -> dict[str, Any]:
        """A JSON object of a small file, by its name as seen from the root.

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
        """The Hub as a file system: the one that `datasets` takes too, so that both list a repository once."""
        return HfFileSystem(endpoint=datasets.config.HF_ENDPOINT, token=self.token)


def find_dataset(source: str, token: str | bool | None = None, revision: str | None = None) -> Place:
    """The dataset of a name, at the commit that it has now.

    Args:
        source: a folder, or a dataset repository on the Hub, USER/NAME.
        token: Hub token; by default HF_TOKEN or the one that is logged in.
        revision: branch, tag or commit on the Hub.

    Raises:
        InputError: neither a folder nor a repository; no access; no such revision; a revision of a folder.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if revision:
            raise InputError(
                f"--dataset_revision {revision} applies to datasets on the Hub, and {source} is a local folder; "
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
