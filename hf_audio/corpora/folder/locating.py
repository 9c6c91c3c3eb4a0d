"""Finds the files that the paths of a table refer to, for any base folder, system and Unicode form."""

from __future__ import annotations

import contextlib
import itertools
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote

from hf_audio.corpora.folder.contents import AUDIO_SUFFIXES
from hf_audio.corpora.folder.reading import UndecidedError

NUM_TRIED = 50  # rows from which the way to read all rows is chosen
MAX_DROPPED_FOLDERS = 12


class Located(NamedTuple):
    """The files that a column of paths refers to.

    Attributes:
        files: one per row, None if it does not exist.
        names: the name of each, the same on every machine.
        told: how paths were read, if not relative to the table's folder, else "".
    """

    files: list[str | None]
    names: list[str]
    told: str

    @property
    def num_found(self) -> int:
        return sum(file is not None for file in self.files)


class Places(NamedTuple):
    """Where the files of a table may be.

    Attributes:
        bases: folders that paths may be relative to, nearest first.
        by_name: recordings with unique file names, by name; empty if files may not be found by name only.
    """

    bases: Sequence[Path]
    by_name: Mapping[str, str] = MappingProxyType({})


class Way(NamedTuple):
    """One way to read paths: base folder, whether to change separators and escapes, and number of folders to drop."""

    base: Path
    separators: bool = False
    escapes: bool = False
    dropped: int = 0

    def name(self, written: str) -> str | None:
        """The path to look for; None if this way does not apply."""
        name = written.removeprefix("file://")
        name = name.replace("\\", "/") if self.separators else name
        name = unquote(name).strip("'\"") if self.escapes else name
        if not self.dropped:
            return name
        parts = name.split("/")  # the first is empty for an absolute path
        return "/".join(parts[self.dropped :]) if len(parts) > self.dropped else None


def locate(written: Sequence[str], table: Path, places: Places) -> Located:
    """The files of all paths of a table, by the way of reading that finds most of them.

    Args:
        written: the paths in the table.
        table: the table; paths are relative to its folder, unless another of `bases` has more of the files.
        places: where else to look.

    Raises:
        UndecidedError: files with these names are in several folders, none of which is the table's own.
    """
    disk, sample = _Disk(), written[:: max(1, len(written) // NUM_TRIED)]
    way = _best_way(sample, table, places.bases, disk)
    files = [disk.find(way, one) for one in written]
    names = [way.name(one) or one for one in written]
    if None in files and places.by_name:
        last_parts = [_last_part(one) for one in written]
        by_name = [places.by_name.get(_composed(name)) for name in last_parts]
        if _score(written, by_name) > len(files) - files.count(None):
            return Located(by_name, last_parts, f"by file name only, in all folders of {places.bases[0].name}")
    told = _told(way, table.parent, sum(map(_is_another_name, files, names)))
    if any(file and os.path.isabs(name) for file, name in zip(files, names, strict=True)):
        names = _below_common_folder(files, names)
    return Located(files, names, told)


def _best_way(sample: Sequence[str], table: Path, bases: Sequence[Path], disk: _Disk) -> Way:
    """The way that finds most of the paths; unchanged paths have priority."""
    best, most = Way(table.parent), _score(sample, [disk.find(Way(table.parent), one) for one in sample])
    if most == len(sample):
        return best
    for ways in _ways(sample, [table.parent, *bases]):
        found = {way: [disk.find(way, one) for one in sample] for way in ways}
        scores = {way: _score(sample, files) for way, files in found.items()}
        highest = max(scores.values())
        if highest > most:
            equal = [way for way, score in scores.items() if score == highest]
            best, most = equal[0], highest
            other = next((way for way in equal if _disagree(found[way], found[best])), None)
            if other and best.base != table.parent:
                raise UndecidedError(
                    f"{table} names files such as {sample[0]!r} that are in several folders, "
                    f"{best.base} and {other.base}; write the folder before each name, as in "
                    f"{best.base.name}/{sample[0]}"
                )
        if most == len(sample):
            break
    return best


def _score(written: Sequence[str], found: Sequence[str | None]) -> int:
    """The number of files found; 0 if different paths lead to the same file, because too much was dropped."""
    hits = [(name, file) for name, file in zip(written, found, strict=True) if file]
    return len(hits) if len({name for name, _ in hits}) == len({file for _, file in hits}) else 0


def _disagree(files: Sequence[str | None], others: Sequence[str | None]) -> bool:
    """Whether two ways of reading find different files for the same path."""
    both = [(one, other) for one, other in zip(files, others, strict=True) if one and other]
    return any(os.path.realpath(one) != os.path.realpath(other) for one, other in both)


def _ways(sample: Sequence[str], bases: Sequence[Path]) -> Iterator[list[Way]]:
    """Ways to read paths, in lists by the number of dropped folders."""
    separators = (False, True) if any("\\" in one for one in sample) else (False,)
    escapes = (False, True) if any("%" in one or one.startswith(("'", '"')) for one in sample) else (False,)
    deepest = max((one.replace("\\", "/").count("/") for one in sample), default=0)
    for dropped in range(min(deepest, MAX_DROPPED_FOLDERS) + 1):
        choices = itertools.product(dict.fromkeys(bases), escapes, separators)
        yield [Way(base, slashes, decoded, dropped) for base, decoded, slashes in choices]


class _Disk:
    """Finds files; lists a folder only once to look for other spellings."""

    def __init__(self) -> None:
        self.names: dict[str, dict[str, list[str]]] = {}

    def find(self, way: Way, written: str) -> str | None:
        name = way.name(written)
        if not name or "\0" in name:
            return None
        path = os.path.join(way.base, name)
        return path if os.path.isfile(path) else self._find_alike(way.base, name)

    def _find_alike(self, base: Path, name: str) -> str | None:
        """The only file with that name in another Unicode form (é as one or two characters), case, or with a suffix."""
        absolute = os.path.isabs(name)
        folder, parts = (os.sep if absolute else str(base)), [part for part in name.split("/") if part not in ("", ".")]
        for number, part in enumerate(parts):
            exact = os.path.join(folder, part)
            if not os.path.exists(exact):
                alike = self._alike(folder, part, is_file=number == len(parts) - 1)
                if alike is None:
                    return None
                exact = os.path.join(folder, alike)
            folder = exact
        return folder if os.path.isfile(folder) else None

    def _alike(self, folder: str, part: str, *, is_file: bool) -> str | None:
        if folder not in self.names:
            self.names[folder] = _names_by_plain(folder)
        found = self.names[folder].get(_plain(part), [])
        if not found and is_file and Path(part).suffix.lower() not in AUDIO_SUFFIXES:
            found = self.names[folder].get(_plain(part) + "/", [])
        same = [name for name in found if _composed(name) == _composed(part)] or found
        return same[0] if len(same) == 1 else None


def _names_by_plain(folder: str) -> dict[str, list[str]]:
    """Names in a folder by their normalized form; recordings also by the form without suffix, followed by a slash."""
    found: dict[str, list[str]] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            found.setdefault(_plain(name), []).append(name)
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in AUDIO_SUFFIXES:
                found.setdefault(_plain(stem) + "/", []).append(name)
    return found


def unique_names(paths: Sequence[Path]) -> dict[str, str]:
    """Recordings by file name, for file names that are unique."""
    times = Counter(_composed(path.name) for path in paths)
    return {_composed(path.name): str(path) for path in paths if times[_composed(path.name)] == 1}


def _last_part(written: str) -> str:
    return written.replace("\\", "/").rpartition("/")[2]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _plain(name: str) -> str:
    return _composed(_composed(name).casefold())


def _is_another_name(file: str | None, name: str) -> bool:
    """Whether a file's name differs from the written one in more than the Unicode form."""
    return file is not None and not _composed(file).endswith(_composed(name).lstrip("./"))


def _below_common_folder(files: Sequence[str | None], names: Sequence[str]) -> list[str]:
    """Names relative to the common folder of all files: the path of that folder is specific to this machine."""
    there = [os.path.abspath(file) for file in files if file]
    common = os.path.commonpath([os.path.dirname(file) for file in there])
    return [
        Path(os.path.relpath(os.path.abspath(file), common)).as_posix() if file else name
        for file, name in zip(files, names, strict=True)
    ]


def _told(way: Way, folder: Path, num_renamed: int) -> str:
    told = []
    if way.base != folder:
        told.append(f"relative to {way.base.name or way.base}")
    if way.separators:
        told.append("with \\ read as /")
    if way.escapes:
        told.append("without % escapes and quotation marks")
    if way.dropped:
        told.append(f"without their first {way.dropped} folders, which do not exist")
    if num_renamed:
        told.append(f"{num_renamed:,} with another case or suffix")
    return ", ".join(told)
