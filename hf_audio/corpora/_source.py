"""Downloads corpora as archives from public URLs, and unpacks each into a folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hf_audio.corpora._archives import Fault, damaged_files, is_unpacked, unpack
from hf_audio.corpora._download import arrived_bytes, as_size, fetch, unwritable, with_margin
from hf_audio.corpora._files import DOWNLOADS
from hf_audio.data.index.table import CorpusCard
from hf_audio.errors import InputError, unknown_name
from hf_audio.locks import locked
from hf_audio.terminal import show

LOCK = ".downloading.lock"


@dataclass(frozen=True)
class Archive:
    """One file to download.

    Attributes:
        url: its address, https.
        folder: where it is unpacked, relative to the corpus's folder.
        num_bytes, unpacked_bytes: approximate size of the archive and its contents; 10 % more is refused.
        checksum: "md5:..." or "sha1:..." or "sha256:...".
    """

    url: str
    folder: str
    num_bytes: float
    unpacked_bytes: float
    checksum: str

    @property
    def name(self) -> str:
        return urlsplit(self.url).path.rpartition("/")[2]


@dataclass(frozen=True)
class Archives:
    """A corpus that is downloaded as archives.

    Attributes:
        subsets: the archives of each subset that can be downloaded on its own; the first is the default.
    """

    subsets: Mapping[str, tuple[Archive, ...]]
    how = "download"

    @property
    def size(self) -> str:
        """Download size of the default subset."""
        return as_size(sum(archive.num_bytes for archive in self._archives(None)))

    def obtain(self, root: Path, card: CorpusCard, subset: str | None = None) -> None:
        """Downloads and unpacks the missing archives of a subset; resumes if it was interrupted.

        Raises:
            InputError: an unknown subset, an existing folder in the way, too little space; see `fetch` and `unpack`.
        """
        root = Path(root)
        archives = self._archives(subset)
        if all(is_unpacked(root / archive.folder) for archive in archives):
            return
        with only_process(root):
            missing = [archive for archive in archives if not is_unpacked(root / archive.folder)]
            for archive in missing:
                _require_nothing_in_the_way(root, root / archive.folder)
            require_space(root, card, _peak_bytes(root, missing))
            announce(card, sum(archive.num_bytes for archive in missing))
            for archive in missing:
                file = root / DOWNLOADS / archive.name
                fetch(archive.url, file, archive.checksum, archive.num_bytes, card)
                unpack(file, root / archive.folder, with_margin(archive.unpacked_bytes))
                file.unlink()
            _clear_downloads(root)

    def verify(self, root: Path, card: CorpusCard) -> list[Fault]:
        """Files that have changed since they were unpacked, in all subsets on disk.

        Raises:
            InputError: nothing in the folder was unpacked by `obtain`.
        """
        folders = dict.fromkeys(archive.folder for archives in self.subsets.values() for archive in archives)
        unpacked = [Path(root) / folder for folder in folders if is_unpacked(Path(root) / folder)]
        if not unpacked:
            raise InputError(
                f"{card.name} in {root} was not downloaded by this program, so there are no checksums to verify its "
                "files against; download it with hf-audio corpora, which records each file's size and checksum"
            )
        return [fault for folder in unpacked for fault in damaged_files(folder, f"verifying {folder.name}")]

    def remedy(self, root: Path, faults: list[Fault]) -> str:
        """What to do about `faults`, in words."""
        folders = dict.fromkeys(fault.path.partition("/")[0] for fault in faults)
        return f"delete {' and '.join(str(Path(root) / folder) for folder in folders)}"

    def _archives(self, subset: str | None) -> tuple[Archive, ...]:
        if subset is None:
            return next(iter(self.subsets.values()))
        if subset not in self.subsets:
            raise unknown_name("subset", subset, self.subsets)
        return self.subsets[subset]


@contextlib.contextmanager
def only_process(root: Path) -> Iterator[None]:
    """Waits until no other process downloads to `root`, if the file system shares locks between them."""
    with contextlib.ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(root / LOCK, f"downloading to {root}"))
        except OSError as error:
            raise unwritable(root, error) from error
        yield


def announce(card: CorpusCard, num_bytes: float) -> None:
    """Prints size and license before anything is downloaded."""
    publishing = "" if card.may_redistribute else "; its audio, or features computed from it, may not be published"
    show(f"Downloading {card.name}, {as_size(num_bytes)}; license: {card.license}{publishing}; see {card.homepage}")


def _clear_downloads(root: Path) -> None:
    """Removes leftovers of interrupted runs, except partial downloads of other subsets."""
    for path in (root / DOWNLOADS).glob("tmp*"):  # pooch's
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (root / DOWNLOADS).rmdir()


def _require_nothing_in_the_way(root: Path, folder: Path) -> None:
    if folder.exists():
        raise InputError(
            f"{folder} already exists, perhaps incomplete, and was not unpacked by this program; use it as it is with "
            f"--data_dir {root}, or move it away and run the same command again to download it"
        )


def _peak_bytes(root: Path, archives: list[Archive]) -> float:
    """Peak disk space needed; each archive is removed after it is unpacked."""
    unpacked = peak = 0.0
    for archive in archives:
        to_come = max(0.0, archive.num_bytes - arrived_bytes(root / DOWNLOADS / archive.name))
        peak = max(peak, unpacked + to_come + archive.unpacked_bytes)
        unpacked += archive.unpacked_bytes
    return peak


def require_space(root: Path, card: CorpusCard, num_bytes: float) -> None:
    """Raises InputError if the disk of `root` has less than `num_bytes` free."""
    free = shutil.disk_usage(root).free
    if free < num_bytes:
        raise InputError(
            f"{card.name} needs {as_size(num_bytes)} in {root} for the archives and their contents, but only "
            f"{as_size(free)} is free; free some space or give a --data_dir on another disk"
        )
