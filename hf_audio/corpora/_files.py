"""Lists the files below a corpus's folder, following links: Path.rglob does not enter linked folders."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path

from hf_audio.terminal import named_logger

# Files that systems create: macOS in archives; Synology, QNAP and Windows for indexes and trash.
JUNK = frozenset(
    name.casefold()
    for name in (
        "__MACOSX", "@eaDir", "@tmp", "@SynoResource", "#recycle", "#snapshot", "@Recycle", "$RECYCLE.BIN", "RECYCLER",
        "System Volume Information", "lost+found", "Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r",
    )
)  # fmt: skip
HIDDEN = (".", "~$")  # prefixes of hidden files, such as .trashed-1-a.wav or ._a.wav, and of Office's lock files
BACKUP = "~"  # suffix of editors' backups
DOWNLOADS = ".downloads"  # folder below a corpus for unfinished downloads

logger = named_logger(__name__)


def files_below(root: Path, pattern: str = "*") -> list[Path]:
    """Sorted files below `root` whose paths end like `pattern`, such as "*.wav" or "meta/esc50.csv".

    Links are followed, even out of the tree. A folder with several paths is entered only once, by its own name rather
    than a link's, so that no recording is listed twice. Hidden files, such as unfinished downloads, and system files
    are left out. Unreachable files, pipes, devices, and names that are not UTF-8, which cannot be stored in a table,
    are skipped with a warning.
    """
    name = pattern.rpartition("/")[2]
    found = (folder / file for folder, files in _walk(root) for file in fnmatch.filter(files, name))
    return sorted(path for path in found if name == pattern or path.match(pattern))


def folders_below(root: Path) -> list[Path]:
    """Sorted folders below `root`, by the same rules."""
    return sorted(folder for folder, _ in _walk(root) if folder != root)


def everything_below(root: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Sorted files and folders below `root` by the same rules, and hidden and system files."""
    hidden: list[Path] = []
    found = list(_walk(root, hidden))
    files = sorted(folder / file for folder, names in found for file in names)
    return files, sorted(folder for folder, _ in found if folder != root), sorted(hidden)


def _walk(root: Path, hidden: list[Path] | None = None) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the names of its files; appends hidden and system files to `hidden`."""
    entered: set[str] = set()
    unreachable: list[Path] = []
    misnamed: list[Path] = []
    special: list[Path] = []
    starts = [root]  # grows: linked folders are entered after all ordinary folders
    for start in starts:
        folders = [start]
        while folders:
            folder = folders.pop()
            true_name = os.path.realpath(folder)
            if true_name in entered:
                continue
            entered.add(true_name)
            try:
                with os.scandir(folder) as scanned:
                    entries = sorted(scanned, key=lambda entry: entry.name)
            except OSError:
                if folder != root:
                    unreachable.append(folder)
                continue
            files = []
            for entry in entries:
                path = folder / entry.name
                is_link = entry.is_symlink()
                if not _is_utf8(entry.name):
                    misnamed.append(path)
                elif _is_hidden(entry.name):
                    if hidden is not None:
                        hidden.append(path)
                elif os.path.isdir(path) if is_link else entry.is_dir():
                    (starts if is_link else folders).append(path)
                elif os.path.isfile(path) if is_link else entry.is_file():
                    files.append(entry.name)
                else:
                    (unreachable if is_link else special).append(path)
            yield folder, files
    if unreachable:
        logger.warning(
            "Skipped %d links or folders below %s that cannot be read, first %s; fix or remove them",
            len(unreachable), root, unreachable[0],
        )  # fmt: skip
    if special:
        logger.warning(
            "Skipped %d pipes, sockets or devices below %s, first %s",
            len(special), root, special[0],
        )  # fmt: skip
    if misnamed:
        logger.warning(
            "Skipped %d files below %s with names that are not UTF-8, first %s; rename them, e.g. with convmv",
            len(misnamed), root, ascii(str(misnamed[0])),
        )  # fmt: skip


def _is_hidden(name: str) -> bool:
    return name.startswith(HIDDEN) or name.endswith(BACKUP) or name.casefold() in JUNK


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
