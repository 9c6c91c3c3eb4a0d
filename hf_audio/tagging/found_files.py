"""The recordings to tag: files of any name, folders with everything in them, lists of names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hf_audio.errors import InputError
from hf_audio.files import MAX_TEXT_BYTES, read_text


class FoundFile(NamedTuple):
    """A recording's path as given, and its path relative to the given folder, which names its result file."""

    path: str
    name: str


def found_files(given: Iterable[str]) -> list[FoundFile]:
    """The given files, and the recordings in the given folders, sorted by name; each recording once.

    Files are accepted with any suffix; whether they can be read turns out later.

    Raises:
        InputError: a path does not exist, or a folder has no recordings.
    """
    found: dict[str, FoundFile] = {}
    for path in given:
        if os.path.isdir(path):
            below = _recordings_below(Path(path))
        elif os.path.lexists(path):
            below = [FoundFile(path, os.path.basename(path))]
        else:
            raise InputError(f"{path!r} does not exist: expected recordings, folders of recordings, or - for stdin")
        for one in below:
            found.setdefault(os.path.abspath(one.path), one)
    return list(found.values())


def names_listed(source: str) -> list[str]:
    """The names in a file, or with "-" from standard input: one per line, or separated by NUL (`find -print0`).

    Raises:
        InputError: the list cannot be read or is empty.
    """
    if source == "-":
        content = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
        if len(content) > MAX_TEXT_BYTES:
            raise InputError(f"stdin has more than {MAX_TEXT_BYTES >> 20} MiB of names: use folders instead")
        text = os.fsdecode(content)
    else:
        text = read_text(source)
    names = [name for name in (text.split("\0") if "\0" in text else text.splitlines()) if name.strip()]
    if not names:
        raise InputError(f"{'stdin' if source == '-' else source} lists no files: expected one name per line")
    return names


def _recordings_below(folder: Path) -> list[FoundFile]:
    from hf_audio.corpora.folder.contents import contents_of  # its package imports much that other calls do not need

    recordings = sorted(contents_of(folder).audio)
    if not recordings:
        raise InputError(f"{folder} contains no recordings: use another folder, or name the files")
    return [FoundFile(str(path), path.relative_to(folder).as_posix()) for path in recordings]
