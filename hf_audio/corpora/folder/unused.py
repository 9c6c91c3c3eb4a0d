"""Lists what is not used in a folder, with the number and first names of each kind."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hf_audio.corpora.folder.contents import Contents
from hf_audio.corpora.folder.reading import Read
from hf_audio.data.index.understanding import counted


def name_unlisted(read: Read, contents: Contents) -> None:
    """Adds recordings that are not named in any row to the unused parts of a reading."""
    listed = {_identity(clip.path) for clip in read.clips}
    unlisted = [path for path in contents.audio if _identity(path) not in listed]
    if unlisted:
        names = contents.names(unlisted)
        read.not_used.append(counted(names, "recording not named in any row", "recordings not named in any row"))


def name_other_files(read: Read, contents: Contents, tables: Sequence[Path], why: Mapping[Path, str]) -> Read:
    """Adds all other files to a reading: tables with the reason why they are not read, others, and hidden files."""
    sheets = contents.spreadsheets
    others = sorted(set(contents.others) - set(sheets))
    reasons = [f": {why[path]}" if path in why else "" for path in tables]
    told = [name + reason for name, reason in zip(contents.names(tables), reasons, strict=True)]
    for names, one, several in (
        (told, "table", "tables"),
        (contents.names(sheets), "spreadsheet (save as CSV)", "spreadsheets (save as CSV)"),
        (contents.names(others), "other file", "other files"),
        (contents.names(contents.hidden), "hidden file", "hidden files or folders"),
    ):
        if names:
            read.not_used.append(counted(names, one, several))
    return read


def _identity(path: str | Path) -> tuple[int, int]:
    """Identifies a file, regardless of the path that leads to it."""
    status = os.stat(path)
    return status.st_dev, status.st_ino
