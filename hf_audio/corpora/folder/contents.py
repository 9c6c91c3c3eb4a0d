"""Sorts the files in a folder into recordings, tables and others, by suffix and, for unknown suffixes, by content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hf_audio.corpora._files import everything_below
from hf_audio.data.recordings.audio import AudioError, probe

# Suffixes of audio; files that cannot be decoded are reported one by one when features are built.
AUDIO_SUFFIXES = frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64",
    ".rf64", ".m4a", ".aac", ".wma", ".webm", ".weba", ".mka", ".mp2", ".mp4", ".m4b", ".amr", ".3gp", ".ape",
    ".wv", ".ac3", ".snd", ".sph", ".voc", ".bwf", ".mov", ".mkv", ".avi", ".flv", ".mpg", ".mpeg", ".m4v",
))  # fmt: skip
TABLE_SUFFIXES = frozenset((".csv", ".tsv", ".tab", ".psv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet"))
SPREADSHEET_SUFFIXES = frozenset((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"))
# Suffixes that are known not to be audio, so that these files are never opened
OTHER_SUFFIXES = frozenset((
    ".md", ".rst", ".pdf", ".html", ".htm", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".log", ".doc",
    ".docx", ".rtf", ".tex", ".bib", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".svg", ".webp", ".tif", ".tiff",
    ".py", ".ipynb", ".m", ".r", ".sh", ".bat", ".c", ".h", ".js", ".css", ".npy", ".npz", ".mat", ".pkl",
    ".pt", ".pth", ".h5", ".hdf5", ".arrow", ".safetensors", ".zip", ".tar", ".gz", ".bz2", ".xz", ".7z",
    ".rar", ".mid", ".midi", ".lab", ".textgrid", ".jams", ".eaf", ".srt", ".db", ".sqlite", ".lock", ".md5",
    ".sha1", ".sha256", ".part", ".crdownload", ".tmp", ".bak", ".asd", ".pk", ".reapeaks",
    ".lnk", ".url", ".torrent", ".nfo", ".sfv", ".cue",
    ".m3u", ".m3u8", ".pek", ".als", ".aup", ".aup3", ".sfk",
))  # fmt: skip
NUM_OPENED = 3  # files with the same suffix in the same folder that are opened to check for sound


@dataclass(frozen=True)
class Contents:
    """Sorted files and folders below `root`.

    Attributes:
        root: the folder.
        audio: recordings, by suffix or because files with the same suffix in the same folder can be decoded.
        tables: files that could list recordings, except text files named like a recording next to them.
        unreadable: files with an unknown suffix that cannot be decoded.
        others: files that are known not to be recordings.
        folders: all folders.
        hidden: hidden and system files.
    """

    root: Path
    audio: tuple[Path, ...]
    tables: tuple[Path, ...]
    unreadable: tuple[Path, ...]
    others: tuple[Path, ...]
    folders: tuple[Path, ...]
    hidden: tuple[Path, ...]

    @property
    def spreadsheets(self) -> list[Path]:
        return [path for path in self.others if path.suffix.lower() in SPREADSHEET_SUFFIXES]

    @cached_property
    def folders_with_audio(self) -> set[Path]:
        """Folders with a recording at any depth."""
        holding = {path.parent for path in self.audio}
        return holding.union(*(folder.parents for folder in holding))

    def name(self, path: Path) -> str:
        """A path relative to the root, with slashes."""
        return path.relative_to(self.root).as_posix()

    def names(self, paths: Iterable[Path]) -> list[str]:
        return [self.name(path) for path in paths]


def contents_of(root: Path) -> Contents:
    """Everything below a folder; a few files with each unknown suffix are opened."""
    files, folders, hidden = everything_below(root)
    kinds: dict[str, list[Path]] = {"audio": [], "table": [], "other": []}
    unknown: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in files:
        suffix = path.suffix.lower()
        kind = "audio" if suffix in AUDIO_SUFFIXES else "table" if suffix in TABLE_SUFFIXES else "other"
        if kind == "other" and suffix not in OTHER_SUFFIXES | SPREADSHEET_SUFFIXES:
            unknown[path.parent, suffix].append(path)
        else:
            kinds[kind].append(path)
    unreadable = []
    for paths in unknown.values():
        (kinds["audio"] if any(_holds_sound(path) for path in paths[:NUM_OPENED]) else unreadable).extend(paths)
    recordings = {name for path in kinds["audio"] for name in (path, path.with_suffix(""))}  # a.txt, a.wav.json
    tables = [path for path in kinds["table"] if path.with_suffix("") not in recordings]
    of_recordings = [path for path in kinds["table"] if path.with_suffix("") in recordings]
    of_kinds = (kinds["audio"], tables, unreadable, kinds["other"] + of_recordings, folders, hidden)
    return Contents(root, *(tuple(sorted(paths)) for paths in of_kinds))


def why_unreadable(path: Path) -> str:
    """Why a file is not a recording, in a few words."""
    try:
        probe(path)
    except AudioError as error:
        return error.reason.removeprefix("unreadable: ").rstrip(".")
    return "readable"


def _holds_sound(path: Path) -> bool:
    return why_unreadable(path) == "readable"
