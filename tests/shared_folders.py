"""Folders that all tests of a session read: a test that changes a file in one would change what later tests find."""

from __future__ import annotations

import os
from pathlib import Path

Facts = dict[str, tuple[int, int]]  # path in the folder → bytes and time of its last change in ns


class SharedFolders:
    """The folders of session fixtures, as they were made."""

    def __init__(self) -> None:
        self._made: dict[Path, Facts] = {}

    def keep(self, folder: Path) -> Path:
        """Remembers the files of a folder, and returns it."""
        self._made[folder] = _facts(folder)
        return folder

    def changes(self) -> list[str]:
        """The paths that were changed, added or removed since they were last looked at."""
        changed = []
        for folder, before in self._made.items():
            now = _facts(folder)
            if now != before:
                self._made[folder] = now  # so that one test is to blame, and not all that follow
                different = {*before.items()} ^ {*now.items()}
                changed += sorted({str(folder / name) for name, _ in different})
        return changed


def _facts(folder: Path) -> Facts:
    found, waiting = {}, [str(folder)] if folder.is_dir() else []
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder:
                    waiting.append(entry.path)
                facts = entry.stat()
                found[os.path.relpath(entry.path, folder)] = (0, 0) if is_folder else (facts.st_size, facts.st_mtime_ns)
    return found
