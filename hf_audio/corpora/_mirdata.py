"""Downloading through mirdata, for the corpora it has.

mirdata knows the addresses and checksums and serves for nothing else: clips are indexed from the layout on disk,
without it. Archives come by our own download, which resumes, and are unpacked by our own hand: mirdata would follow
links and fill the disk. Its list of every file's checksum must itself be downloaded, so nothing can be verified before
this was done once.
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

VERIFIED = ".verified"  # its presence means that every file was there and right
SPACE_FACTOR = 1.5  # for archives are removed one by one once they are unpacked
MAX_UNPACKED = 2.5  # times what there is to download: more is in no archive of sound
MAX_INDEX_BYTES = 100e6


@dataclass(frozen=True)
class Mirdata:
    """A corpus that mirdata has.

    Attributes:
        name: what mirdata calls it.
        num_bytes: about how much there is to download.
        folder: the folder in which its archive keeps everything, where mirdata's paths are relative to that folder.
        addresses: of remote files that are had from elsewhere than mirdata says, by mirdata's names for them.
    """

    name: str
    num_bytes: float
    folder: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)
    how = "mirdata"
    subsets = ()

    def obtain(self, root: Path, card: CorpusCard) -> None:
        """Downloads the corpus and verifies its checksums; does nothing where that was done before.

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
            if not (root / DOWNLOADS).exists():  # else some of it is there
                require_space(root, card, SPACE_FACTOR * self.num_bytes)
            announce(card, self.num_bytes)
            try:
                self._download(dataset, root, card)
                faults = _faults(dataset)
            except InputError:
                raise
            except Exception as error:  # mirdata passes on whatever urllib, zipfile or the operating system raise
                raise InputError(
                    f"{card.name} could not be downloaded to {root} ({one_line(error)}); get it from "
                    f"{card.homepage} and give its folder as --data_dir"
                ) from error
            if faults:
                shutil.rmtree(root / DOWNLOADS, ignore_errors=True)  # so that all of it comes again
                raise InputError(
                    f"{len(faults)} files of {card.name} in {root} are missing or differ from their checksum, first "
                    f"{faults[0].path}; delete them and run again"
                )
            shutil.rmtree(root / DOWNLOADS, ignore_errors=True)
            (root / VERIFIED).touch()

    def verify(self, root: Path, card: CorpusCard) -> list[Fault]:
        """Files that are missing or differ from mirdata's list, also where they were not downloaded by it.

        Raises:
            InputError: mirdata is not installed, or its list is not here and cannot be downloaded.
        """
        dataset = self._dataset(Path(root), card)
        try:
            _fetch_list(dataset, card)
        except (OSError, InputError) as error:
            raise InputError(
                f"Verifying {card.name} needs mirdata's index of its files, which is not on this machine and could not "
                f"be downloaded ({one_line(error)}); run this once with a connection"
            ) from error
        return _faults(dataset)

    def mend(self, root: Path, faults: list[Fault]) -> str:
        """What to do about `faults`."""
        return f"delete them and {Path(root) / VERIFIED}"

    @property
    def size(self) -> str:
        """What there is to download."""
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
        """One remote file after the other; which are unpacked is noted, for their archives are removed then."""
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
        """The folder that a remote file is unpacked to: beside mirdata's where all of its archive is in that one."""
        return root if self.folder else Path(dataset.data_home) / (remote.destination_dir or "")

    def _put(self, file: Path, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        if file.name.lower().endswith((".zip", *TAR_SUFFIXES)):
            unpack_into(file, place, with_margin(MAX_UNPACKED * self.num_bytes))
            file.unlink()
        else:
            os.replace(file, place / file.name)


def _faults(dataset: Any) -> list[Fault]:
    """Each file once, though it may serve several tracks."""
    missing, invalid = dataset.validate(verbose=False)
    return [
        Fault(path, found, "as in mirdata's index")
        for found, entries in (("missing", missing), ("differs from its checksum", invalid))
        for path in sorted({path for of_kind in entries.values() for paths in of_kind.values() for path in paths})
    ]


def _fetch_list(dataset: Any, card: CorpusCard) -> None:
    """Downloads mirdata's list of files where it is not there, or was cut off, of which mirdata would complain."""
    path, remote = Path(dataset.index_path), dataset._index_data.remote
    if remote is None:
        return
    if path.is_file() and hashlib.md5(read_whole(path, MAX_TABLE_BYTES)).hexdigest() != remote.checksum:
        path.unlink()
    if not path.is_file():
        fetch(remote.url, path, f"md5:{remote.checksum}", MAX_INDEX_BYTES, card)
