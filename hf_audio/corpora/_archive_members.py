"""Lists the files in an archive, one after the other, with names that stay within the target folder.

tarfile reads headers and long names of any length that an archive claims, so it gets a stream that limits each read
and the total.
"""

from __future__ import annotations

import bz2
import gzip
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from hf_audio.corpora._download import as_size
from hf_audio.errors import InputError
from hf_audio.files import open_regular
from hf_audio.terminal import named_logger, progress

CHUNK_BYTES = 1 << 20
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2")
DECOMPRESSORS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}
# For names and headers, about 1 kB per file, and for the padding at the end
TAR_OVERHEAD, TAR_OVERHEAD_BYTES = 1.5, 64 << 20
HOLES = "has a sparse file"
UTF8_NAMES = 0x800  # flag of a zip member; without it, names are declared as code page 437
MAX_NAME_BYTES, MAX_PATH_LETTERS, MAX_FOLDERS = 255, 1_000, 40
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # LZMA may need gigabytes of memory

logger = named_logger(__name__)


def members_of(archive: Path, max_bytes: int) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and contents of the files in an archive, in order; any other file, by
    its name, is its own only member.

    Raises:
        InputError: it has more than `max_bytes`, or suspicious members.
        zipfile.BadZipFile, tarfile.TarError, EOFError, OSError ...: it is damaged.
    """
    name = archive.name.lower()
    if name.endswith(".zip"):
        yield from _zip_members(archive, max_bytes)
    elif name.endswith(TAR_SUFFIXES):
        yield from _tar_members(archive, max_bytes)
    else:
        with open_regular(archive) as file:
            yield archive.name, file


def refusal(archive: Path, what: str) -> InputError:
    """The error for an archive that is not damaged, but malicious or the wrong file."""
    return InputError(
        f"{archive} {what}, which is suspicious; nothing was unpacked: delete it and get it from a source you trust"
    )


def as_name(name: str) -> str:
    """A member's name as a path relative to the target folder.

    Raises:
        ValueError: it leads elsewhere, or is too long.
    """
    if any("\udc80" <= letter <= "\udcff" for letter in name):  # bytes that are not UTF-8
        name = name.encode("utf-8", "surrogateescape").decode("latin-1")
    name = name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or (parts and parts[0].endswith(":")) or "\0" in name:
        raise ValueError(f"would write {name!r} outside its folder")
    if len(name) > MAX_PATH_LETTERS or len(parts) > MAX_FOLDERS or any(_is_long(part) for part in parts):
        raise ValueError(f"has a file with a name of {len(name):,} letters in {len(parts)} folders ({name[:40]!r}...)")
    return "/".join(parts)


def _is_long(part: str) -> bool:
    return len(part.encode()) > MAX_NAME_BYTES


def _safe_name(archive: Path, name: str) -> str:
    try:
        return as_name(name)
    except ValueError as error:
        raise refusal(archive, str(error)) from error


def _zip_members(archive: Path, max_bytes: int) -> Iterator[tuple[str, IO[bytes]]]:
    with open_regular(archive) as packed, zipfile.ZipFile(packed) as file:
        members = [member for member in file.infolist() if not member.is_dir()]
        total = sum(member.file_size for member in members)
        if total > max_bytes:
            raise refusal(archive, f"unpacks to {as_size(total)}, expected at most {as_size(max_bytes)}")
        free = shutil.disk_usage(archive.parent).free
        if free < total:
            raise InputError(
                f"{archive.name} unpacks to {as_size(total)}, but only {as_size(free)} is free in {archive.parent}; "
                "free some space and run the same command again to resume"
            )
        with progress(desc=f"unpacking {archive.name}", total=total, unit="B", unit_scale=True) as bar:
            for member in members:
                name = _safe_name(archive, _zip_name(member))
                if stat.S_ISLNK(member.external_attr >> 16):
                    logger.warning("Skipped %s in %s, which is a link", name, archive.name)
                    continue
                if member.compress_type not in ZIP_METHODS:
                    raise zipfile.BadZipFile(f"compressed by method {member.compress_type}")
                with file.open(member) as stream:
                    yield name, stream
                bar.update(member.file_size)


def _zip_name(member: zipfile.ZipInfo) -> str:
    """The member's name; many zips have UTF-8 names without declaring it."""
    if member.flag_bits & UTF8_NAMES:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _tar_members(archive: Path, max_bytes: int) -> Iterator[tuple[str, IO[bytes]]]:
    with (
        open_regular(archive) as packed,
        _decompressed(packed) as whole,
        tarfile.open(
            fileobj=cast(Any, stream := _Limited(archive, whole, max_bytes)), mode="r:", tarinfo=_Member
        ) as tar,
        progress(desc=f"unpacking {archive.name}", total=archive.stat().st_size, unit="B", unit_scale=True) as bar,
    ):
        while (member := tar.next()) is not None:
            cast(
                Any, tar
            ).members.clear()  # tarfile keeps all members in a list, and some archives have hundreds of thousands
            name = _safe_name(archive, member.name)
            if member.issparse():
                raise refusal(archive, HOLES)
            if member.isfile():
                yield name, tar.extractfile(member)
            elif not member.isdir():
                logger.warning("Skipped %s in %s, which is a link or a device", name, archive.name)
            bar.update(packed.tell() - bar.n)
        while stream.read(CHUNK_BYTES):  # to the end, which has the checksum
            pass


def _decompressed(packed: IO[bytes]) -> IO[bytes]:
    start = packed.read(2)
    packed.seek(0)
    return DECOMPRESSORS[start](packed) if start in DECOMPRESSORS else packed


class _Member(tarfile.TarInfo):
    """Refuses sparse files before their list of holes is read, which may have any length."""

    def _proc_sparse(self, tar: Any) -> None:
        raise refusal(tar.fileobj.archive, HOLES)

    def _proc_gnusparse_10(self, _: tarfile.TarInfo, __: dict[str, str], tar: Any) -> None:
        raise refusal(tar.fileobj.archive, HOLES)


class _Limited:
    """A stream with limits for its total length and for each read."""

    def __init__(self, archive: Path, stream: IO[bytes], max_bytes: int) -> None:
        self.archive, self._stream, self._max_bytes = archive, stream, max_bytes
        self._end = int(TAR_OVERHEAD * max_bytes) + TAR_OVERHEAD_BYTES

    def read(self, num_bytes: int = -1) -> bytes:
        if not 0 <= num_bytes <= 2 * CHUNK_BYTES:
            raise refusal(self.archive, "has a header of more than a megabyte")
        self._check(self.tell() + num_bytes)
        return self._stream.read(num_bytes)

    def seek(self, position: int) -> int:
        self._check(position)
        return self._stream.seek(position)

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, position: int) -> None:
        if position > self._end + 2 * CHUNK_BYTES:
            raise refusal(self.archive, f"unpacks to more than the expected {as_size(self._max_bytes)}")
