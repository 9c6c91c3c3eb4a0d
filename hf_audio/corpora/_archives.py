"""Unpacks archives completely or not at all, with a list of their files for finding damage later.

The list, .files.csv, is written into the folder before the folder gets its final name, so its presence also means that
everything was unpacked. Archives are untrusted: nothing is written outside the folder or beyond the announced size,
links and devices are skipped, and an archive with a repeated name or a sparse file is refused.
"""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hf_audio.corpora._archive_members import as_name, members_of, refusal
from hf_audio.corpora._download import as_size, unwritable
from hf_audio.data.tables import csv_text, written_rows
from hf_audio.errors import InputError, one_line
from hf_audio.files import open_for_writing, open_regular, write_atomically
from hf_audio.terminal import progress

FILE_LIST = ".files.csv"
COLUMNS = ("path", "bytes", "crc32")
CHUNK_BYTES = 1 << 20
MAX_MEMBERS = 2_000_000  # the training part of NSynth has 289,206
# Exceptions for bad, encrypted or unknown archives, and those of decompressors and parsers on damaged data
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError,
    ValueError, LookupError, OverflowError, struct.error,
)  # fmt: skip
# Members that conflict with each other: the folder was empty
IN_THE_WAY = (FileExistsError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True)
class Fault:
    """A file that has changed since it was unpacked: what was found, and what was expected."""

    path: str
    found: str
    expected: str


def is_unpacked(folder: Path) -> bool:
    """Whether `unpack` has finished `folder`."""
    return (folder / FILE_LIST).is_file()


def unpack(archive: Path, folder: Path, max_bytes: float) -> None:
    """Unpacks an archive to `folder`; a file whose name is not that of an archive is moved into it.

    If the archive has a single top folder, it becomes `folder` itself.

    Args:
        archive: the path of the archive.
        folder: the target, which must not exist yet.
        max_bytes: maximum total size of its contents.

    Raises:
        InputError: it is damaged or not an archive (and was removed), has more than `max_bytes` or suspicious members,
            or the disk is full.
    """
    with _unpacked(archive, archive.parent / f"{folder.name}.unpacking", max_bytes) as (scratch, rows):
        tops = {name.partition("/")[0] if "/" in name else "" for name in rows}
        top = tops.pop() if len(tops) == 1 else ""
        listed = [(name.removeprefix(f"{top}/"), size, f"{crc:08x}") for name, (size, crc) in rows.items()]
        if any(name == FILE_LIST for name, _, _ in listed):
            raise refusal(archive, f"has a file called {FILE_LIST}")
        write_atomically(scratch / top / FILE_LIST, csv_text([COLUMNS, *listed]))
        os.replace(scratch / top, folder)


def unpack_into(archive: Path, folder: Path, max_bytes: float) -> None:
    """Unpacks an archive into a folder that may contain other files; files with the same names are replaced.

    Raises:
        InputError: see `unpack`.
    """
    with _unpacked(archive, archive.parent / f"{archive.name}.unpacking", max_bytes) as (scratch, rows):
        for name in rows:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(scratch / name, folder / name)


@contextlib.contextmanager
def _unpacked(archive: Path, scratch: Path, max_bytes: float) -> Iterator[tuple[Path, dict[str, tuple[int, int]]]]:
    """A temporary folder with the files of an archive, and the size and CRC-32 of each file by name."""
    if scratch.is_symlink():
        scratch.unlink()
    shutil.rmtree(scratch, ignore_errors=True)  # left by an interrupted run
    try:
        scratch.mkdir(parents=True)
        rows = _write_members(archive, members_of(archive, int(max_bytes)), scratch, int(max_bytes))
        if not rows:
            raise EOFError("it contains no file")
        yield scratch, rows
    except InputError:
        raise
    except DAMAGED as error:
        archive.unlink(missing_ok=True)
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno is None:  # bz2 reports damaged data this way
            archive.unlink(missing_ok=True)
            raise _damaged(archive, error) from error
        raise unwritable(scratch.parent, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_members(
    archive: Path, members: Iterable[tuple[str, IO[bytes]]], folder: Path, max_bytes: int
) -> dict[str, tuple[int, int]]:
    rows: dict[str, tuple[int, int]] = {}
    left = max_bytes
    for name, stream in members:
        if len(rows) >= MAX_MEMBERS:
            raise refusal(archive, f"has more than {MAX_MEMBERS:,} files")
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            rows[name] = size, _ = _write_member(folder / name, stream, left)
        except IN_THE_WAY:
            raise refusal(archive, f"has {name!r} twice, or both as a file and as a folder") from None
        left -= size
        if left < 0:
            raise refusal(archive, f"unpacks to more than the expected {as_size(max_bytes)}")
    return rows


def _write_member(path: Path, stream: IO[bytes], max_bytes: int) -> tuple[int, int]:
    """Size and CRC-32 of the written file; a size above `max_bytes` means that the member is longer."""
    size = crc = 0
    with open_for_writing(path, "xb") as file:
        while size <= max_bytes and (chunk := stream.read(CHUNK_BYTES)):
            file.write(chunk)
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return size, crc


def damaged_files(folder: Path, title: str) -> list[Fault]:
    """Files that are missing, shortened or changed since `folder` was unpacked; reads all of them."""
    table = folder / FILE_LIST
    try:
        rows = [(as_name(row["path"]), int(row["bytes"]), row["crc32"]) for row in written_rows(table, COLUMNS)]
    except ValueError as error:
        raise InputError(
            f"{table} cannot be read as a list of files, so nothing can be verified; delete {folder} and "
            "download it again"
        ) from error
    faults = []
    with progress(desc=title, total=sum(size for _, size, _ in rows), unit="B", unit_scale=True) as bar:
        for name, size, checksum in rows:
            found = _what_is_wrong(folder / name, size, checksum)
            if found:
                faults.append(Fault(f"{folder.name}/{name}", found, f"{size:,} bytes, CRC-32 {checksum}"))
            bar.update(size)
    return faults


def _what_is_wrong(path: Path, size: int, checksum: str) -> str | None:
    try:
        with open_regular(path) as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                return f"{found:,} bytes"
            crc = 0
            while chunk := file.read(CHUNK_BYTES):
                crc = zlib.crc32(chunk, crc)
    except (OSError, InputError) as error:
        return one_line(error) if path.exists() else "missing"
    return None if f"{crc:08x}" == checksum else f"changed, CRC-32 {crc:08x}"


def _damaged(archive: Path, error: Exception) -> InputError:
    return InputError(
        f"{archive.name} is damaged or not an archive ({one_line(error)}) and was removed; run the same command again "
        "to download it again"
    )
