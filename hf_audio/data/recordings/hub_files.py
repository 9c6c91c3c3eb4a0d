"""Files that hold recordings, opened to be read where they are: on this disk, or on the Hub by ranges of bytes."""

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
# Of one request: what is lost where a connection breaks, and one round trip in a tenth of a second or so of transfer.
BLOCK_BYTES = 16 << 20
BLOCKS_AT_A_TIME = 4  # of one read: one connection is seldom as fast as a core decodes
PATHS_AT_A_TIME = 500
# Recordings up to here are held in memory, longer ones lie in a temporary file while they are decoded.
MAX_HELD_BYTES = 64 << 20


class MissingFileError(InputError):
    """A file of the Hub is not there."""


def open_container(address: str, token: str | bool | None = None) -> BinaryIO:
    """A file to read from and to seek in.

    Args:
        address: a path, or `hf://datasets/USER/NAME@COMMIT/FILE`.
        token: for repositories that are not public.

    Raises:
        InputError: it is not there, no regular file, or the Hub refuses it; later, that the connection broke for good.
    """
    return cast(BinaryIO, HubFile(address, token)) if address.startswith(ON_HUB) else open_regular(address)


def root_of(address: str) -> str:
    """The repository, with its commit, that a file of the Hub is in."""
    return address.split("/", 5)[0] + "//" + "/".join(address.split("/")[2:5])


class HubFile(io.RawIOBase):
    """A file of a commit of the Hub. Each block is asked for until it has come: 503, a drop or a stall cost that block.

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
                f"{address} is not there, or this token may not read it; check the name, and for a private dataset the "
                "token (HF_TOKEN, --hub_token or `hf auth login`)"
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
        """Fills as much of a buffer as there is; unlike other raw files it never stops before."""
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
        """So many bytes, or all to the end."""
        left = max(0, self.size - self._place)
        length = left if size is None or size < 0 else min(size, left)
        if length <= BLOCK_BYTES:
            block = self._block(self._place, length) if length else b""
            self._place += len(block)
            return block
        buffer = bytearray(length)
        self.readinto(buffer)
        return buffer  # as good as bytes to those who only look at it, and not copied

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
        super().close()

    def _block(self, first: int, length: int) -> bytes:
        """Some bytes, by a request of their own: fsspec's part of a file that has no state."""
        with hub_errors_in_words(self._repo_id, self._commit):
            block = patiently(self._file._fetch_range, first, first + length)
        if len(block) != length:
            raise InputError(
                f"The Hub gave {len(block):,} of {length:,} bytes of {self._address}; run the same command again"
            )
        return block


@lru_cache(maxsize=8)
def _file_system(token: str | bool | None, endpoint: str) -> HfFileSystem:
    """One for all threads, so that what one of them was told of a file need not be asked for again."""
    return HfFileSystem(token=token, endpoint=endpoint)


def held(file: BinaryIO, num_bytes: int, scratch: Path | None) -> BinaryIO:
    """A recording's bytes to decode from: in memory, or if they are many in a temporary file of `scratch`."""
    if num_bytes <= MAX_HELD_BYTES:
        return io.BytesIO(file.read(num_bytes))
    copy = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - the caller's
    while block := file.read(min(BLOCK_BYTES, num_bytes - copy.tell())):
        copy.write(block)
    return copy


def sizes_on_hub(addresses: Iterable[str], token: str | bool | None) -> dict[str, int]:
    """Bytes of files of the Hub; those that are not there are left out.

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
