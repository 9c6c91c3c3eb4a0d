"""Requirements of every corpus module, and downloading through mirdata."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from pathlib import Path

import pytest
from file_server import FileServer

from hf_audio import InputError
from hf_audio.corpora import corpus_names, find_corpus, openmic, verify_corpus
from hf_audio.data.index.table import CorpusCard, rows_of


@pytest.mark.parametrize("name", corpus_names())
def test_every_corpus_refuses_an_empty_folder(tmp_path, name):
    with pytest.raises(InputError, match="expected") as caught:
        find_corpus(name).index(tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", corpus_names())
def test_every_corpus_has_a_card(name):
    card = find_corpus(name).CARD
    assert isinstance(card, CorpusCard) and card.name and card.license and card.protocol
    if name not in ("folder", "general_midi", "solo"):
        assert card.citation and card.homepage.startswith("http")
    if card.label_names:
        assert len(set(card.label_names)) == len(card.label_names)
    assert card.may_redistribute or name in ("irmas", "gtzan", "fma", "openmic", "solo", "musicnet", "medleydb")


class Published:
    """A server with a tiny OpenMIC-2018 for mirdata: its archive, and mirdata's index with the checksums."""

    archive, listing = "openmic-2018-v1.0.0.tgz", "openmic.json"

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        mirdata = pytest.importorskip("mirdata")
        from mirdata.datasets import openmic2018

        self.server = FileServer()
        self.files = self.server.files
        self.files[self.archive] = _archive(folder / "openmic-2018")
        self.files[self.listing] = _listing(hashlib.md5(b"sound").hexdigest())
        self.index = mirdata.core.Index(self.listing, *self._remote(self.listing))
        self.index.indexes_dir = self.index.remote.destination_dir = str(folder / "indexes")
        self.remote = mirdata.download_utils.RemoteFileMetadata(self.archive, *self._remote(self.archive))
        monkeypatch.setitem(openmic2018.INDEXES, "1.0", self.index)
        monkeypatch.setattr(openmic2018, "REMOTES", {"remote_data": self.remote})

    def _remote(self, name: str) -> tuple[str, str]:
        return f"{self.server.url}/{name}?download=1", hashlib.md5(self.files[name]).hexdigest()

    def replace(self, archive: bytes | None = None, listing: bytes | None = None) -> None:
        """Publishes another archive or index, with its checksum."""
        for name, content, remote in ((self.archive, archive, self.remote), (self.listing, listing, self.index.remote)):
            if content is not None:
                self.files[name] = content
                remote.checksum = hashlib.md5(content).hexdigest()


def _archive(folder: Path) -> bytes:
    audio = folder / "audio" / "000" / "000046_3840.ogg"
    audio.parent.mkdir(parents=True)
    audio.write_bytes(b"sound")
    (folder / openmic.LABELS).write_text("sample_key,instrument,relevance,num_responses\n000046_3840,flute,0.9,3\n")
    (folder / "partitions").mkdir()
    (folder / "partitions" / "split01_train.csv").write_text("000046_3840\n")
    (folder / "partitions" / "split01_test.csv").touch()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder, "openmic-2018")
    return buffer.getvalue()


def _listing(checksum: str) -> bytes:
    tracks = {"000046_3840": {"audio": ["audio/000/000046_3840.ogg", checksum]}}
    return json.dumps({"version": "1.0", "tracks": tracks}).encode()


@pytest.fixture
def published(tmp_path, monkeypatch) -> Published:
    published = Published(tmp_path, monkeypatch)
    yield published
    published.server.stop()


def test_download_unpacks_verifies_and_is_done_once(tmp_path, published):
    openmic.obtain(tmp_path / "corpus")
    (clip,) = list(rows_of(openmic.index(tmp_path / "corpus")))
    assert Path(clip.path).read_bytes() == b"sound" and clip.labels == ("flute",)
    assert not list((tmp_path / "corpus").rglob("*.tgz"))
    published.files.clear()
    openmic.obtain(tmp_path / "corpus")  # fails if it downloads again, since the server's files are gone


def test_damaged_files_and_failed_downloads_are_refused(tmp_path, published):
    published.replace(listing=_listing(hashlib.md5(b"").hexdigest()))
    with pytest.raises(
        InputError, match=r"1 files of OpenMIC-2018 .* their checksum, first \S+000046_3840.ogg; delete"
    ):
        openmic.obtain(tmp_path / "corpus")
    del published.files[published.archive]
    with pytest.raises(InputError, match=r"answers 404 .* get OpenMIC-2018 from https://zenodo\.org") as caught:
        openmic.obtain(tmp_path / "elsewhere")
    assert "\n" not in str(caught.value)


def test_interrupted_downloads_of_mirdatas_archives_are_resumed(tmp_path, published):
    name = published.archive
    published.server.faults[name] = [("cut", 100), ("status", 404)]
    with pytest.raises(InputError, match=r"answers 404 Not Found for .*openmic"):
        openmic.obtain(tmp_path / "corpus")
    openmic.obtain(tmp_path / "corpus")
    assert published.server.asked_ranges(name) == [None, "bytes=100-", "bytes=100-"]
    assert len(openmic.index(tmp_path / "corpus")) == 1 and not (tmp_path / "corpus" / ".downloads").exists()


def test_files_are_verified_by_mirdatas_index(tmp_path, published, capsys):
    corpus = tmp_path / "corpus"
    openmic.obtain(corpus)
    verify_corpus("openmic", corpus)
    assert "OpenMIC-2018 in" in capsys.readouterr().out
    audio = corpus / "openmic-2018" / "audio" / "000" / "000046_3840.ogg"
    audio.write_bytes(b"noise")
    with pytest.raises(
        InputError, match=r"1 files of OpenMIC-2018 .* missing or damaged, first .*000046_3840.ogg; delete"
    ):
        verify_corpus("openmic", corpus)
    assert "| differs from its checksum | as in mirdata's index |" in capsys.readouterr().out
    audio.unlink()
    with pytest.raises(InputError):
        verify_corpus("openmic", corpus)
    assert "000046_3840.ogg | missing |" in capsys.readouterr().out


def test_verifying_needs_mirdatas_index(tmp_path, published):
    """It is downloaded if it is missing or truncated. Without a connection that is an error."""
    corpus, listing = tmp_path / "corpus", tmp_path / "indexes" / "openmic.json"
    openmic.obtain(corpus)
    listing.write_bytes(listing.read_bytes()[:20])
    verify_corpus("openmic", corpus)
    listing.unlink()
    published.server.stop()
    with pytest.raises(InputError) as caught:
        verify_corpus("openmic", corpus)
    assert re.search(
        r"Verifying OpenMIC-2018 needs mirdata's index of its files, .* run this once with an internet connection",
        str(caught.value),
    )
    assert "\n" not in str(caught.value)
