"""Unpacking archives as a whole or not at all, with a list of their files by which damage is found later.

The list, .files.csv, is written into the folder before the folder gets its name, so that its presence also means that
everything was unpacked.
"""

from __future__ import annotations

import csv
import gzip
import logging
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm.auto import tqdm

from hf_audio.corpora._download import as_size, unwritable
from hf_audio.errors import InputError, one_line

FILE_LIST = ".files.csv"
COLUMNS = ("path", "bytes", "crc32")
CHUNK_BYTES = 1 << 20
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
UTF8_NAMES = 0x800  # flag of a zip's member; without it names are said to be in code page 437
# BadZipFile, encrypted, unknown compression; and what the decompressors raise on damaged data
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError,
)  # fmt: skip

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    """A file that is not as it was unpacked: what was found, and what was expected."""

    path: str
    found: str
    expected: str


def is_unpacked(folder: Path) -> bool:
    """Whether `unpack` has finished `folder`."""
    return (folder / FILE_LIST).is_file()


def unpack(archive: Path, folder: Path) -> None:
    """Makes `folder` of an archive; a file that is no archive by its name is put into it alone.

    A single folder that holds everything in the archive becomes `folder` itself. Links are left out.

    Raises:
        InputError: it is damaged or no archive (and was removed), has a file outside of itself, or the disk is full.
    """
    scratch = archive.parent / f"{folder.name}.unpacking"
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was interrupted
    try:
        scratch.mkdir(parents=True)
        rows = {name: _write_member(scratch / name, stream) for name, stream in _members(archive)}
        if not rows:
            raise EOFError("there is no file in it")
        tops = {name.partition("/")[0] if "/" in name else "" for name in rows}
        top = tops.pop() if len(tops) == 1 else ""
        content = scratch / top
        _write_file_list(content / FILE_LIST, {name.removeprefix(f"{top}/"): row for name, row in rows.items()})
        os.replace(content, folder)
    except DAMAGED as error:
        archive.unlink(missing_ok=True)
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno is None:  # bz2 reports damaged data so
            archive.unlink(missing_ok=True)
            raise _damaged(archive, error) from error
        raise unwritable(folder.parent, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def damaged_files(folder: Path, title: str) -> list[Fault]:
    """Files that are missing, shortened or changed since `folder` was unpacked; reads all of them."""
    table = folder / FILE_LIST
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = [(row["path"], int(row["bytes"]), row["crc32"]) for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{table} cannot be read as a list of files, so nothing can be verified by it; delete {folder} and "
            "download it again"
        ) from error
    faults = []
    with tqdm(desc=title, total=sum(size for _, size, _ in rows), unit="B", unit_scale=True) as bar:
        for name, size, checksum in rows:
            found = _what_is_wrong(folder / name, size, checksum)
            if found:
                faults.append(Fault(f"{folder.name}/{name}", found, f"{size:,} bytes, CRC-32 {checksum}"))
            bar.update(size)
    return faults


def _what_is_wrong(path: Path, size: int, checksum: str) -> str | None:
    try:
        found = path.stat().st_size
        if found != size:
            return f"{found:,} bytes"
        crc = 0
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                crc = zlib.crc32(chunk, crc)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"unreadable: {error.strerror}"
    return None if f"{crc:08x}" == checksum else f"changed, CRC-32 {crc:08x}"


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and contents of the files in an archive, in its order."""
    name = archive.name.lower()
    if name.endswith(".zip"):
        yield from _zip_members(archive)
    elif name.endswith(TAR_SUFFIXES):
        yield from _tar_members(archive)
    else:
        with archive.open("rb") as file:
            yield archive.name, file


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as file:
        members = [member for member in file.infolist() if not member.is_dir()]
        total = sum(member.file_size for member in members)
        free = shutil.disk_usage(archive.parent).free
        if free < total:
            raise InputError(
                f"{archive.name} unpacks to {as_size(total)} but {as_size(free)} are free in {archive.parent}; free "
                "some space and run the same command again: it goes on"
            )
        with tqdm(desc=f"unpacking {archive.name}", total=total, unit="B", unit_scale=True) as bar:
            for member in members:
                name = _inside(archive, _zip_name(member))
                if stat.S_ISLNK(member.external_attr >> 16):
                    logger.warning("%s in %s is a link, left out", name, archive.name)
                    continue
                with file.open(member) as stream:
                    yield name, stream
                bar.update(member.file_size)


def _zip_name(member: zipfile.ZipInfo) -> str:
    """The member's name; many zips have UTF-8 names without saying so."""
    if member.flag_bits & UTF8_NAMES:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with (
        archive.open("rb") as file,
        tarfile.open(fileobj=file, mode="r:*") as tar,
        tqdm(desc=f"unpacking {archive.name}", total=archive.stat().st_size, unit="B", unit_scale=True) as bar,
    ):
        while (member := tar.next()) is not None:
            tar.members.clear()  # it would remember them all, and some archives have hundreds of thousands
            name = _inside(archive, member.name)
            if member.isfile():
                yield name, tar.extractfile(member)
            elif not member.isdir():
                logger.warning("%s in %s is a link or a device, left out", name, archive.name)
            bar.update(file.tell() - bar.n)
        while tar.fileobj.read(CHUNK_BYTES):  # to the end, where the checksum of the whole is
            pass


def _inside(archive: Path, name: str) -> str:
    """A member's name as a path below the folder it is unpacked to."""
    if any("\udc80" <= letter <= "\udcff" for letter in name):  # bytes that are no UTF-8
        name = name.encode("utf-8", "surrogateescape").decode("latin-1")
    name = name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or (parts and parts[0].endswith(":")):
        raise InputError(
            f"{archive} would write {name!r} outside of its folder, as no corpus does; nothing was unpacked: delete it "
            "and get it from a place you trust"
        )
    return "/".join(parts)


def _write_member(path: Path, stream: IO[bytes]) -> tuple[int, int]:
    """Size and CRC-32 of what was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = crc = 0
    with path.open("wb") as file:
        while chunk := stream.read(CHUNK_BYTES):
            file.write(chunk)
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return size, crc


def _write_file_list(path: Path, rows: dict[str, tuple[int, int]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((name, size, f"{crc:08x}") for name, (size, crc) in rows.items())


def _damaged(archive: Path, error: Exception) -> InputError:
    return InputError(
        f"{archive.name} is damaged or no archive ({one_line(error)}) and was removed; run the same command again to "
        "download it anew"
    )
