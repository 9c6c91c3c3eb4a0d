"""Downloading through mirdata, for the corpora it has.

mirdata serves for download and checksums only: clips are indexed from the layout on disk, without it. Its list of
checksums must itself be downloaded, so nothing can be verified offline.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from hf_audio.data.index import CorpusCard
from hf_audio.errors import InputError

VERIFIED = ".verified"  # its presence means that every file was there and right


def download(name: str, root: Path, card: CorpusCard, folder: str = "") -> None:
    """Downloads a corpus and verifies its checksums; does nothing where that was done before.

    Args:
        name: what mirdata calls the corpus.
        root: where it goes; made when missing.
        card: the corpus, for messages.
        folder: the folder in which its archive keeps everything, where mirdata's paths are relative to that folder.

    Raises:
        InputError: mirdata is not installed, the download failed, or files are missing or differ.
    """
    if (root / VERIFIED).is_file():
        return
    try:
        import mirdata
    except ImportError:
        raise InputError(
            f'Downloading {card.name} needs mirdata: pip install "hf_audio[corpora]", or give --data_dir'
        ) from None
    data_home = root / folder
    dataset = mirdata.initialize(name, data_home=str(data_home))
    try:
        dataset.download(cleanup=True)
        for archive in sorted(data_home.glob("*.tgz")):  # mirdata unpacks .zip, .tar and .tar.gz only
            _unpack(archive, root)
            archive.unlink()
        missing, invalid = dataset.validate(verbose=False)
    except Exception as error:  # mirdata passes on whatever urllib, zipfile or the operating system raise
        raise InputError(
            f"{card.name} could not be downloaded to {root} ({' '.join(str(error).split())[:200]}); get it from "
            f"{card.homepage} and give its folder as --data_dir"
        ) from error
    bad = [entry for found in (missing, invalid) for entries in found.values() for entry in entries]
    if bad:
        raise InputError(
            f"{len(bad)} entries of {card.name} in {root} are missing or differ from their checksum, first {bad[0]}; "
            "delete them and run again"
        )
    (root / VERIFIED).touch()


def _unpack(archive: Path, folder: Path) -> None:
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python before 3.10.12 has none
    shutil.unpack_archive(archive, folder, **safely)
