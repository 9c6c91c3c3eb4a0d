"""Opens files with recordings for reading in place: on this disk, or on the Hub by byte ranges."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from huggingface_hub import HfApi, HfFileSystem, constants
from huggingface_hub.hf_api import RepoFile

from hf_audio.errors import InputError
from hf_audio.files import open_regular
from hf_audio.hub_access import hub_errors_in_words, patiently

ON_HUB = "hf://"
# One request: the data lost if a connection breaks. Its transfer takes about a tenth of a second per round trip.
BLOCK_BYTES = 16 << 20
BLOCKS_AT_A_TIME = 4  # requested in parallel by one read: one connection is seldom as fast as one core can decode
PATHS_AT_A_TIME = 500
# Recordings up to this size are held in memory, larger ones in a temporary file while they are decoded.
MAX_HELD_BYTES = 64 << 20


class MissingFileError(InputError):
    """A file does not exist on the Hub."""


def open_container(address: str, token: str | bool | None = None) -> BinaryIO:
    """A seekable file to read.

    Args:
        address: a path, or `hf://datasets/USER/NAME@COMMIT/FILE`.
        token: for repositories that are not public.

    Raises:
        InputError: it does not exist, is not a regular file, or the Hub refuses it; while reading: the connection is
            lost for good.
    """
    return cast(BinaryIO, HubFile(address, token)) if address.startswith(ON_HUB) else open_regular(address)


def root_of(address: str) -> str:
    """The repository of a file on the Hub, with its commit."""
    return address.split("/", 5)[0] + "//" + "/".join(address.split("/")[2:5])


class HubFile(io.RawIOBase):
    """A file of a commit on the Hub. Each block is retried on its own after an error 503, a lost or stalled connection.

    Attributes:
        size: in bytes.
    """

    def __init__(self, address: str, token: str | bool | None = None) -> None:
        super().__init__()
        self._address, self._place = address, 0
        self._repo_id, _, self._commit = root_of(address).removeprefix("hf://datasets/").partition("@")
        try:
            with hub_errors_in_words(self._repo_id, self._commit):
                options = {"cache_type": "none", "block_size": BLOCK_BYTES}
                self._file = patiently(_file_system(token, constants.ENDPOINT).open, address, "rb", **options)
        except FileNotFoundError as error:
            raise MissingFileError(
                f"{address} does not exist, or this token may not read it; check the name, and for a private dataset "
                "the token (HF_TOKEN, --hub_token or `hf auth login`)"
            ) from error
        self.size = self._file.size

    @property
    def mode(self) -> str:
        return "rb"

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer up to the end of the file; unlike other raw files it never reads less."""
        wanted, start = memoryview(buffer).cast("B"), self._place
        length = max(0, min(len(wanted), self.size - start))

        def fill(first: int) -> None:
            last = min(first + BLOCK_BYTES, length)
            wanted[first:last] = self._block(start + first, last - first)

        places = range(0, length, BLOCK_BYTES)
        if len(places) == 1:
            fill(0)
        elif places:
            with ThreadPoolExecutor(min(BLOCKS_AT_A_TIME, len(places))) as threads:
                list(threads.map(fill, places))
        self._place += length
        return length

    def read(self, size: int = -1) -> Any:
        """`size` bytes, or all bytes up to the end."""
        left = max(0, self.size - self._place)
        length = left if size is None or size < 0 else min(size, left)
        if length <= BLOCK_BYTES:
            block = self._block(self._place, length) if length else b""
            self._place += len(block)
            return block
        buffer = bytearray(length)
        self.readinto(buffer)
        return buffer  # not converted to bytes, which would copy it

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
        super().close()

    def _block(self, first: int, length: int) -> bytes:
        """Some bytes, by one request, through the part of fsspec's file that has no state."""
        with hub_errors_in_words(self._repo_id, self._commit):
            block = patiently(self._file._fetch_range, first, first + length)
        if len(block) != length:
            raise InputError(
                f"The Hub returned {len(block):,} of {length:,} bytes of {self._address}; run the same command again"
            )
        return block


@lru_cache(maxsize=8)
def _file_system(token: str | bool | None, endpoint: str) -> HfFileSystem:
    """One file system for all threads, so that facts about a file are requested only once."""
    return HfFileSystem(token=token, endpoint=endpoint)


def held(file: BinaryIO, num_bytes: int, scratch: Path | None) -> BinaryIO:
    """A recording's bytes to decode from: in memory, or in a temporary file in `scratch` if they are many."""
    if num_bytes <= MAX_HELD_BYTES:
        return io.BytesIO(file.read(num_bytes))
    copy = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - the caller's
    while block := file.read(min(BLOCK_BYTES, num_bytes - copy.tell())):
        copy.write(block)
    return copy


def sizes_on_hub(addresses: Iterable[str], token: str | bool | None) -> dict[str, int]:
    """Sizes in bytes of files on the Hub; files that do not exist are left out.

    Raises:
        InputError: the Hub refuses them.
    """
    sizes, of_root = {}, {}
    for address in addresses:
        of_root.setdefault(root_of(address), []).append(address)
    for root, its in of_root.items():
        repo_id, _, commit = root.removeprefix("hf://datasets/").partition("@")
        names = [address.removeprefix(f"{root}/") for address in its]
        with hub_errors_in_words(repo_id, commit):
            for first in range(0, len(names), PATHS_AT_A_TIME):
                part = names[first : first + PATHS_AT_A_TIME]
                options = {"repo_type": "dataset", "revision": commit}
                told = patiently(HfApi(token=token).get_paths_info, repo_id, part, **options)
                sizes |= {f"{root}/{one.path}": one.size for one in told if isinstance(one, RepoFile)}
    return sizes
