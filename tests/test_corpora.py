"""What every corpus module must have, and downloading through mirdata."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from pathlib import Path

import pytest
from file_server import FileServer

from hf_audio import InputError
from hf_audio.corpora import corpus_names, find_corpus, openmic, verify_corpus
from hf_audio.data.index import CorpusCard


@pytest.mark.parametrize("name", corpus_names())
def test_every_corpus_refuses_an_empty_folder_in_one_sentence(tmp_path, name):
    with pytest.raises(InputError, match="expected") as caught:
        find_corpus(name).index(tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", corpus_names())
def test_every_corpus_has_a_card(name):
    card = find_corpus(name).CARD
    assert isinstance(card, CorpusCard) and card.name and card.licence and card.protocol
    if name not in ("folder", "general_midi", "solo"):
        assert card.citation and card.homepage.startswith("http")
    if card.label_names:
        assert len(set(card.label_names)) == len(card.label_names)
    assert card.may_redistribute or name in ("irmas", "gtzan", "fma", "openmic", "solo", "musicnet", "medleydb")


def published(path: Path):
    """A file as mirdata describes its downloads: a URL and a checksum."""
    return path.as_uri(), hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def openmic_archive(tmp_path, monkeypatch) -> Path:
    """A tiny openmic-2018-v1.0.0.tgz, and mirdata's own list of its checksums, both where mirdata downloads from."""
    mirdata = pytest.importorskip("mirdata")
    from mirdata.datasets import openmic2018

    source = tmp_path / "source" / "openmic-2018"
    audio = source / "audio" / "000" / "000046_3840.ogg"
    audio.parent.mkdir(parents=True)
    audio.write_bytes(b"sound")
    (source / openmic.LABELS).write_text("sample_key,instrument,relevance,num_responses\n000046_3840,flute,0.9,3\n")
    (source / "partitions").mkdir()
    (source / "partitions" / "split01_train.csv").write_text("000046_3840\n")
    (source / "partitions" / "split01_test.csv").touch()
    archive = tmp_path / "openmic-2018-v1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, "openmic-2018")
    checksums = {"000046_3840": {"audio": ["audio/000/000046_3840.ogg", hashlib.md5(b"sound").hexdigest()]}}
    listing = tmp_path / "listing.json"
    listing.write_text(json.dumps({"version": "1.0", "tracks": checksums}))

    index = mirdata.core.Index("openmic.json", *published(listing))
    index.indexes_dir = index.remote.destination_dir = str(tmp_path / "indexes")
    remote = mirdata.download_utils.RemoteFileMetadata(archive.name, *published(archive))
    monkeypatch.setitem(openmic2018.INDEXES, "1.0", index)
    monkeypatch.setattr(openmic2018, "REMOTES", {"remote_data": remote})
    return archive


def test_download_unpacks_verifies_and_is_done_once(tmp_path, openmic_archive):
    openmic.obtain(tmp_path / "corpus")
    (clip,) = openmic.index(tmp_path / "corpus")
    assert Path(clip.path).read_bytes() == b"sound" and clip.labels == ("flute",)
    assert not list((tmp_path / "corpus").rglob("*.tgz"))
    openmic_archive.unlink()
    openmic.obtain(tmp_path / "corpus")  # nothing is downloaded again, for there is nothing left to download


def test_damaged_files_and_failed_downloads_get_one_sentence(tmp_path, openmic_archive):
    listing = tmp_path / "listing.json"
    listing.write_text(listing.read_text().replace(hashlib.md5(b"sound").hexdigest(), hashlib.md5(b"").hexdigest()))
    from mirdata.datasets import openmic2018

    openmic2018.INDEXES["1.0"].remote.checksum = hashlib.md5(listing.read_bytes()).hexdigest()
    with pytest.raises(
        InputError, match=r"1 files of OpenMIC-2018 .* their checksum, first \S+000046_3840.ogg; delete"
    ):
        openmic.obtain(tmp_path / "corpus")
    openmic_archive.unlink()
    with pytest.raises(InputError, match=r"could not be downloaded .* get it from https://zenodo\.org") as caught:
        openmic.obtain(tmp_path / "elsewhere")
    assert "\n" not in str(caught.value)


@pytest.fixture
def served_openmic(openmic_archive, tmp_path) -> FileServer:
    """The archive and the listing over HTTP, where mirdata's own addresses point."""
    from mirdata.datasets import openmic2018

    server = FileServer()
    for path, remote in (
        (openmic_archive, openmic2018.REMOTES["remote_data"]),
        (tmp_path / "listing.json", openmic2018.INDEXES["1.0"].remote),
    ):
        server.files[path.name] = path.read_bytes()
        remote.url = f"{server.url}/{path.name}?download=1"
    yield server
    server.stop()


def test_mirdatas_archives_are_taken_up_where_they_broke(tmp_path, served_openmic, openmic_archive):
    name = openmic_archive.name
    served_openmic.faults[name] = [("cut", 100), ("status", 404)]
    with pytest.raises(InputError, match=r"answers 404 Not Found for .*openmic"):
        openmic.obtain(tmp_path / "corpus")
    openmic.obtain(tmp_path / "corpus")
    assert served_openmic.asked_ranges(name) == [None, "bytes=100-", "bytes=100-"]
    assert len(openmic.index(tmp_path / "corpus")) == 1 and not (tmp_path / "corpus" / ".downloads").exists()


def test_verifying_by_mirdatas_list(tmp_path, served_openmic, openmic_archive, capsys):
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


def test_verifying_needs_mirdatas_list(tmp_path, served_openmic):
    """Which it downloads where it is missing or was cut off, and else says so."""
    corpus, listing = tmp_path / "corpus", tmp_path / "indexes" / "openmic.json"
    openmic.obtain(corpus)
    listing.write_bytes(listing.read_bytes()[:20])
    verify_corpus("openmic", corpus)
    listing.unlink()
    served_openmic.stop()
    with pytest.raises(InputError) as caught:
        verify_corpus("openmic", corpus)
    assert re.search(
        r"Verifying OpenMIC-2018 needs mirdata's index of its files, .* run this once with a connection",
        str(caught.value),
    )
    assert "\n" not in str(caught.value)
