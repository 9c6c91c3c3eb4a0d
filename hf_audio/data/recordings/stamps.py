"""Whether recordings are still those that features were made of: told by their times, else by a few of their bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from multiprocessing.pool import ThreadPool
from typing import NamedTuple

from hf_audio.errors import InputError
from hf_audio.files import regular_descriptor
from hf_audio.terminal import progress

# Read of a file, at its head, its tail and three places between. Files of up to PLACES times so many are read whole.
PLACE_BYTES, PLACES = 4096, 5
FILES_AT_A_TIME = 64  # not one task per file: there may be millions


class Stamp(NamedTuple):
    """What the entry of a file says: bytes, when they were written, and when it was last changed itself."""

    size_bytes: int
    written_ns: int
    changed_ns: int


def stamp(path: str) -> Stamp | None:
    """The stamp of a file; None where it is not there."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None
    return Stamp(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def times_digest(stamps: Iterable[Stamp | None]) -> str:
    """Changes whenever one of the files is written or replaced, and when all are copied elsewhere.

    The time of the last change of its entry counts as well, since anyone who replaces a file can keep its other time.
    """
    found = hashlib.sha256()
    for one in stamps:
        found.update("{} {} {}\n".format(*one).encode() if one else b"missing\n")
    return found.hexdigest()


def contents_digest(paths: Sequence[str], num_threads: int) -> str:
    """Changes with what is sampled of the files' bytes; the same wherever they lie, and whenever they were copied."""
    found = hashlib.sha256()
    with ThreadPool(num_threads) as threads:
        sampled = threads.imap(sampled_digest, paths, chunksize=FILES_AT_A_TIME)
        for digest in progress(sampled, total=len(paths), desc="contents", unit=" files", delay=2):
            found.update(digest)
    return found.hexdigest()


def sampled_digest(path: str) -> bytes:
    """Of a file's size and, as far as it can be read, its bytes at PLACES places that are evenly apart."""
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
