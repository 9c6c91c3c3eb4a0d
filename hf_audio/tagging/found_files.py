"""The recordings to tag: files of any name, folders with everything below them, lists of names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hf_audio.errors import InputError
from hf_audio.files import MAX_TEXT_BYTES, read_text


class FoundFile(NamedTuple):
    """A recording's path as it was given, and its name below the folder that was given, for results of its own."""

    path: str
    name: str


def found_files(given: Iterable[str]) -> list[FoundFile]:
    """The files themselves, and of folders the recordings below them, in the order of their names; none of them twice.

    A file is taken whatever its suffix; that it can be read is found out when it is.

    Raises:
        InputError: nothing of this name, or a folder without recordings.
    """
    found: dict[str, FoundFile] = {}
    for path in given:
        if os.path.isdir(path):
            below = _recordings_below(Path(path))
        elif os.path.lexists(path):
            below = [FoundFile(path, os.path.basename(path))]
        else:
            raise InputError(f"There is no {path!r}: give recordings, folders with recordings, or - for audio on stdin")
        for one in below:
            found.setdefault(os.path.abspath(one.path), one)
    return list(found.values())


def names_listed(source: str) -> list[str]:
    """The names that a file lists, or with "-" standard input: one per line, or with NUL between (`find -print0`).

    Raises:
        InputError: it cannot be read, or lists nothing.
    """
    if source == "-":
        content = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
        if len(content) > MAX_TEXT_BYTES:
            raise InputError(f"More than {MAX_TEXT_BYTES >> 20} MiB of names came through stdin: give folders instead")
        text = os.fsdecode(content)
    else:
        text = read_text(source)
    names = [name for name in (text.split("\0") if "\0" in text else text.splitlines()) if name.strip()]
    if not names:
        raise InputError(f"{'stdin' if source == '-' else source} lists no file: one name per line is expected")
    return names


def _recordings_below(folder: Path) -> list[FoundFile]:
    from hf_audio.corpora.folder.contents import contents_of  # all the ways of reading a folder, for one of them

    recordings = sorted(contents_of(folder).audio)
    if not recordings:
        raise InputError(f"{folder} contains no recordings: give another folder, or files by name")
    return [FoundFile(str(path), path.relative_to(folder).as_posix()) for path in recordings]
