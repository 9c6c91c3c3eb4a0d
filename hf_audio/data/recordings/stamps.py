"""Checks that recordings have not changed since features were computed, by file times, else by some of their bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from multiprocessing.pool import ThreadPool
from typing import NamedTuple

from hf_audio.errors import InputError
from hf_audio.files import regular_descriptor
from hf_audio.terminal import progress

# Bytes read at the head, the tail and three places between. Files of at most PLACES times as many are read whole.
PLACE_BYTES, PLACES = 4096, 5
FILES_AT_A_TIME = 64  # instead of one task per file: there may be millions of files


class Stamp(NamedTuple):
    """A file's size, when its content was last written, and when its directory entry last changed."""

    size_bytes: int
    written_ns: int
    changed_ns: int


def stamp(path: str) -> Stamp | None:
    """The stamp of a file; None if it does not exist."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None
    return Stamp(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def times_digest(stamps: Iterable[Stamp | None]) -> str:
    """A digest that changes whenever a file is written or replaced, and when all files are copied elsewhere.

    It includes the time of the last change of the entry, because a replaced file can keep its modification time.
    """
    found = hashlib.sha256()
    for one in stamps:
        found.update("{} {} {}\n".format(*one).encode() if one else b"missing\n")
    return found.hexdigest()


def contents_digest(paths: Sequence[str], num_threads: int) -> str:
    """A digest of bytes sampled from the files; it does not depend on where they are or when they were copied."""
    found = hashlib.sha256()
    with ThreadPool(num_threads) as threads:
        sampled = threads.imap(sampled_digest, paths, chunksize=FILES_AT_A_TIME)
        for digest in progress(sampled, total=len(paths), desc="contents", unit=" files", delay=2):
            found.update(digest)
    return found.hexdigest()


def sampled_digest(path: str) -> bytes:
    """The digest of a file's size and, as far as it can be read, its bytes at PLACES evenly spaced places."""
    found = hashlib.sha256()
    try:
        file = regular_descriptor(path)
        try:
            size = os.fstat(file).st_size
            found.update(f"{size}\n".encode())
            if size <= PLACES * PLACE_BYTES:
                found.update(os.read(file, PLACES * PLACE_BYTES))
            else:
                for place in range(PLACES):
                    os.lseek(file, place * (size - PLACE_BYTES) // (PLACES - 1), os.SEEK_SET)
                    found.update(os.read(file, PLACE_BYTES))
        finally:
            os.close(file)
    except (InputError, OSError) as error:
        found.update(type(error).__name__.encode())
    return found.digest()
