"""Finds sound that a header promises but the file lacks: libsndfile silently reads only what exists."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

# A recording: its path, or an open seekable file, which is left open.
Source = str | os.PathLike | BinaryIO

# By the first bytes: byte order of numbers, the chunk that holds the sound, bytes of that chunk before the sound
_CONTAINERS = {b"RIFF": ("<", b"data", 0), b"RIFX": (">", b"data", 0), b"FORM": (">", b"SSND", 8)}
# Programs that write to a pipe do not know the length, and write one of the largest numbers.
_UNKNOWN_BYTES = 0x7FFF_0000
MAX_CHUNKS = 64
OGG_PAGE_HEADER, LARGEST_OGG_PAGE, LAST_OGG_PAGE = 27, 65_307, 4


@contextlib.contextmanager
def at_start(source: Source) -> Iterator[BinaryIO]:
    """A file, read from its beginning; one that is already open gets its position back afterwards.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            yield file
        return
    place = source.tell()
    try:
        source.seek(0)
        yield source
    finally:
        source.seek(place)


def missing_bytes(source: Source) -> tuple[int, int] | None:
    """Bytes of sound missing at a file's end, and bytes that its header promises; None if no header states them.

    Only for WAV, AIFF and AU: compressed formats have no such number, or libsndfile checks it.

    Raises:
        OSError: the file cannot be read.
    """
    with at_start(source) as file:
        found = _sound_bytes(file)
        file.seek(0, 2)
        if found is None or not 0 < found[1] < _UNKNOWN_BYTES:
            return None
        offset, promised = found
        return max(0, offset + promised - file.tell()), promised


def unpromised_bytes(source: Source) -> int:
    """Bytes of sound after a header that promises none, as when a recorder lost power before it finished the file.

    `sox --ignore-length broken.wav fixed.wav` repairs such a file.

    Raises:
        OSError: the file cannot be read.
    """
    with at_start(source) as file:
        found = _sound_bytes(file)
        return 0 if found is None or found[1] > 0 else max(0, file.seek(0, 2) - found[0])


def lacks_last_page(source: Source) -> bool:
    """Whether it is an Ogg file without its last page, as after a broken download: Ogg headers promise no length.

    Recordings of a live stream may lack it too (RFC 3533).

    Raises:
        OSError: the file cannot be read.
    """
    with at_start(source) as file:
        if file.read(4) != b"OggS":
            return False
        file.seek(max(0, file.seek(0, 2) - LARGEST_OGG_PAGE))
        page = file.read()
    page = page[max(0, page.rfind(b"OggS")) :]
    if len(page) < OGG_PAGE_HEADER:
        return True
    segments = page[OGG_PAGE_HEADER : OGG_PAGE_HEADER + page[26]]
    return len(page) < OGG_PAGE_HEADER + page[26] + sum(segments) or not page[5] & LAST_OGG_PAGE


def _sound_bytes(file: BinaryIO) -> tuple[int, int] | None:
    """Where the sound begins, and how many bytes it has according to the header."""
    start = file.read(12)
    if start[:4] == b".snd" and len(start) == 12:
        return struct.unpack(">II", start[4:])
    if start[:4] not in _CONTAINERS or start[8:] not in (b"WAVE", b"AIFF", b"AIFC"):
        return None
    order, wanted, skipped = _CONTAINERS[start[:4]]
    for _ in range(MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return None
        name, size = header[:4], struct.unpack(f"{order}I", header[4:])[0]
        if name == wanted:
            return file.tell() + skipped, size - skipped
        file.seek(size + size % 2, 1)
    return None
