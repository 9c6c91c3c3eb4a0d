"""Downloads corpora that mirdata supports.

mirdata only provides URLs and checksums; clips are indexed from the files on disk, without it. We download archives
ourselves, so that downloads can resume, and unpack them ourselves, because mirdata would follow links and fill the
disk. mirdata's list of checksums must be downloaded once before anything can be verified.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_audio.corpora._archive_members import TAR_SUFFIXES
from hf_audio.corpora._archives import Fault, unpack_into
from hf_audio.corpora._download import as_size, fetch, with_margin
from hf_audio.corpora._files import DOWNLOADS
from hf_audio.corpora._source import announce, only_process, require_space
from hf_audio.data.index.table import CorpusCard
from hf_audio.errors import InputError, one_line
from hf_audio.files import MAX_TABLE_BYTES, read_whole

VERIFIED = ".verified"  # its presence means that all checksums were verified
SPACE_FACTOR = 1.5  # peak disk space relative to the download: each archive is removed after it is unpacked
MAX_UNPACKED = 2.5  # relative to the download: archives of audio never expand more
MAX_INDEX_BYTES = 100e6


@dataclass(frozen=True)
class Mirdata:
    """A corpus that mirdata supports.

    Attributes:
        name: mirdata's name for it.
        num_bytes: approximate download size.
        folder: the top folder of its archive, if mirdata's paths are relative to it.
        addresses: URLs to use instead of mirdata's, by mirdata's name for each remote file.
    """

    name: str
    num_bytes: float
    folder: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)
    how = "mirdata"
    subsets = ()

    def obtain(self, root: Path, card: CorpusCard) -> None:
        """Downloads the corpus and verifies its checksums; does nothing if that was already done.

        Raises:
            InputError: mirdata is not installed, the download failed, or files are missing or differ.
        """
        root = Path(root)
        if (root / VERIFIED).is_file():
            return
        dataset = self._dataset(root, card)
        with only_process(root):
            if (root / VERIFIED).is_file():
                return
            if not (root / DOWNLOADS).exists():  # otherwise a part is already downloaded
                require_space(root, card, SPACE_FACTOR * self.num_bytes)
            announce(card, self.num_bytes)
            try:
                self._download(dataset, root, card)
                faults = _faults(dataset)
            except InputError:
                raise
            except Exception as error:  # mirdata lets any exception of urllib, zipfile or the operating system through
                raise InputError(
                    f"{card.name} could not be downloaded to {root} ({one_line(error)}); get it from "
                    f"{card.homepage} and give its folder as --data_dir"
                ) from error
            if faults:
                shutil.rmtree(root / DOWNLOADS, ignore_errors=True)  # so that everything is downloaded again
                raise InputError(
                    f"{len(faults)} files of {card.name} in {root} are missing or differ from their checksum, first "
                    f"{faults[0].path}; delete them and run the same command again"
                )
            shutil.rmtree(root / DOWNLOADS, ignore_errors=True)
            (root / VERIFIED).touch()

    def verify(self, root: Path, card: CorpusCard) -> list[Fault]:
        """Files that are missing or differ from mirdata's list, even if they were not downloaded here.

        Raises:
            InputError: mirdata is not installed, or its list is missing and cannot be downloaded.
        """
        dataset = self._dataset(Path(root), card)
        try:
            _fetch_list(dataset, card)
        except (OSError, InputError) as error:
            raise InputError(
                f"Verifying {card.name} needs mirdata's index of its files, which is not on this machine and could not "
                f"be downloaded ({one_line(error)}); run this once with an internet connection"
            ) from error
        return _faults(dataset)

    def remedy(self, root: Path, faults: list[Fault]) -> str:
        """What to do about `faults`, in words."""
        return f"delete them and {Path(root) / VERIFIED}"

    @property
    def size(self) -> str:
        """Download size."""
        return as_size(self.num_bytes)

    def _dataset(self, root: Path, card: CorpusCard) -> Any:
        try:
            import mirdata
        except ImportError:
            raise InputError(
                f'Downloading {card.name} needs mirdata: pip install "hf_audio[corpora]", or give --data_dir'
            ) from None
        return mirdata.initialize(self.name, data_home=str(root / self.folder))

    def _download(self, dataset: Any, root: Path, card: CorpusCard) -> None:
        """Downloads one remote file after the other; marks unpacked ones, because their archives are removed."""
        _fetch_list(dataset, card)
        (root / DOWNLOADS).mkdir(exist_ok=True)
        for key in dataset._index_data.partial_download or dataset.remotes:
            unpacked = root / DOWNLOADS / f"{key}.unpacked"
            if key == "index" or unpacked.is_file():
                continue
            remote = dataset.remotes[key]
            file = root / DOWNLOADS / remote.filename
            fetch(self.addresses.get(key, remote.url), file, f"md5:{remote.checksum}", self.num_bytes, card)
            self._put(file, self._place(dataset, root, remote))
            unpacked.touch()

    def _place(self, dataset: Any, root: Path, remote: Any) -> Path:
        """Folder to unpack a remote file into: the parent of mirdata's folder if the archive contains that folder."""
        return root if self.folder else Path(dataset.data_home) / (remote.destination_dir or "")

    def _put(self, file: Path, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        if file.name.lower().endswith((".zip", *TAR_SUFFIXES)):
            unpack_into(file, place, with_margin(MAX_UNPACKED * self.num_bytes))
            file.unlink()
        else:
            os.replace(file, place / file.name)


def _faults(dataset: Any) -> list[Fault]:
    """Faulty files, each listed once even if it serves several tracks."""
    missing, invalid = dataset.validate(verbose=False)
    return [
        Fault(path, found, "as in mirdata's index")
        for found, entries in (("missing", missing), ("differs from its checksum", invalid))
        for path in sorted({path for of_kind in entries.values() for paths in of_kind.values() for path in paths})
    ]


def _fetch_list(dataset: Any, card: CorpusCard) -> None:
    """Downloads mirdata's list of files if it is missing or truncated, which would make mirdata fail."""
    path, remote = Path(dataset.index_path), dataset._index_data.remote
    if remote is None:
        return
    if path.is_file() and hashlib.md5(read_whole(path, MAX_TABLE_BYTES)).hexdigest() != remote.checksum:
        path.unlink()
    if not path.is_file():
        fetch(remote.url, path, f"md5:{remote.checksum}", MAX_INDEX_BYTES, card)
