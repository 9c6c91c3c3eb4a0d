"""Downloading through mirdata, for the corpora it has.

mirdata knows the addresses and checksums and serves for nothing else: clips are indexed from the layout on disk,
without it. Archives come by our own download, which resumes. Its list of every file's checksum must itself be
downloaded, so nothing can be verified before this was done once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_audio.corpora._archives import Fault
from hf_audio.corpora._download import as_size, fetch
from hf_audio.corpora._files import DOWNLOADS
from hf_audio.corpora._source import announce, only_process, require_space
from hf_audio.data.index import CorpusCard
from hf_audio.errors import InputError, one_line

VERIFIED = ".verified"  # its presence means that every file was there and right
SPACE_FACTOR = 1.5  # for archives are removed one by one once they are unpacked


@dataclass(frozen=True)
class Mirdata:
    """A corpus that mirdata has.

    Attributes:
        name: what mirdata calls it.
        num_bytes: about how much there is to download.
        folder: the folder in which its archive keeps everything, where mirdata's paths are relative to that folder.
    """

    name: str
    num_bytes: float
    folder: str = ""
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
            _remove_cut_list(dataset)
            if not Path(dataset.index_path).is_file():
                dataset.download(partial_download=["index"])
        except Exception as error:  # as above
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
        """One remote file after the other; which are unpacked is noted, for mirdata would download them again."""
        _remove_cut_list(dataset)
        data_home = Path(dataset.data_home)
        (root / DOWNLOADS).mkdir(exist_ok=True)
        for key in dataset._index_data.partial_download or [key for key in dataset.remotes if key != "index"]:
            unpacked = root / DOWNLOADS / f"{key}.unpacked"
            if unpacked.is_file():
                continue
            remote = dataset.remotes[key]
            if remote.url.startswith("http"):  # mirdata finds it there, and only unpacks it
                place = data_home / (remote.destination_dir or "") / remote.filename
                place.parent.mkdir(parents=True, exist_ok=True)
                file = root / DOWNLOADS / remote.filename
                if place.is_file():
                    os.replace(place, file)
                fetch(remote.url, file, f"md5:{remote.checksum}", card)
                os.replace(file, place)
            dataset.download(partial_download=[key], cleanup=True)
            for archive in sorted(data_home.glob("*.tgz")):  # mirdata unpacks .zip, .tar and .tar.gz only
                _unpack(archive, root)
                archive.unlink()
            unpacked.touch()


def _faults(dataset: Any) -> list[Fault]:
    """Each file once, though it may serve several tracks."""
    missing, invalid = dataset.validate(verbose=False)
    return [
        Fault(path, found, "as in mirdata's index")
        for found, entries in (("missing", missing), ("differs from its checksum", invalid))
        for path in sorted({path for of_kind in entries.values() for paths in of_kind.values() for path in paths})
    ]


def _remove_cut_list(dataset: Any) -> None:
    """Removes mirdata's list where its download was cut off: mirdata itself would keep it and complain for ever."""
    path, remote = Path(dataset.index_path), dataset._index_data.remote
    if remote and path.is_file() and hashlib.md5(path.read_bytes()).hexdigest() != remote.checksum:
        path.unlink()


def _unpack(archive: Path, folder: Path) -> None:
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python before 3.10.12 has none
    shutil.unpack_archive(archive, folder, **safely)
