"""Malicious servers and planted files: sizes are bounded, and nothing is written outside of the folder."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from file_server import FileServer
from filelock import FileLock
from test_archives import zipped

from hf_audio import InputError
from hf_audio.corpora import _download, esc50, find_corpus
from hf_audio.corpora._download import fetch
from hf_audio.locks import locked

pytest.importorskip("pooch")
CARD = esc50.CARD
SMALL = 1_000.0  # expected bytes
TERABYTE = 10**12


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(_download, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(_download, "MARGIN_BYTES", 100_000)
    server = FileServer()
    server.files["a.zip"] = zipped({"a.wav": b"sound"})
    yield server
    server.stop()


def download(server: FileServer, folder: Path, url: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    checksum = f"md5:{hashlib.md5(server.files['a.zip']).hexdigest()}"
    fetch(url or f"{server.url}/a.zip", folder / "a.zip", checksum, SMALL, CARD)
    return folder / "a.zip"


def sentence(server: FileServer, folder: Path, url: str | None = None) -> str:
    """The message of a refused download, after which no file is left."""
    with pytest.raises(InputError) as caught:
        download(server, folder, url)
    assert not list(folder.iterdir()) and "\n" not in str(caught.value)
    return str(caught.value)


# Servers


@pytest.mark.parametrize("fault", [("endless",), ("long", TERABYTE), ("long", 10**400)])
def test_a_server_that_sends_too_much_is_cut_off(server, tmp_path, fault):
    server.faults["a.zip"] = [fault] * 9
    if fault[1:] == (10**400,):  # an absurd length counts as none
        server.files["a.zip"] = bytes(300_000)
    assert "for a.zip, expected at most 101 kB" in sentence(server, tmp_path / "x")


def test_a_partial_file_that_is_too_large_is_deleted(server, tmp_path):
    part = tmp_path / "x" / "a.zip.part"
    part.parent.mkdir()
    part.write_bytes(bytes(200_000))
    assert "sends 200 kB or more" in sentence(server, tmp_path / "x")
    download(server, tmp_path / "x")


@pytest.mark.parametrize("address", ["http://example.org/a.zip", "ftp://127.0.0.1/a.zip", "file:///etc/passwd"])
def test_only_https_is_requested(server, tmp_path, address):
    assert f"would be downloaded from {address}, which is not https" in sentence(server, tmp_path / "x", address)


def test_a_redirection_away_from_https_is_not_followed(server, tmp_path):
    server.faults["a.zip"] = [("redirect", "http://example.org/a.zip")]
    assert "would be downloaded from http://example.org/a.zip, which is not https" in sentence(server, tmp_path / "x")
    server.faults["a.zip"] = [("redirect", f"{server.url}/a.zip?really"), ("redirect", "/a.zip")]
    assert download(server, tmp_path / "x").read_bytes() == server.files["a.zip"]


@pytest.mark.parametrize("target", ["/a.zip", "http://[::1", "https://"])
def test_a_redirection_to_nowhere_ends(server, tmp_path, target):
    server.faults["a.zip"] = [("redirect", target)] * 100
    assert "a.zip could not be downloaded from 127.0.0.1" in sentence(server, tmp_path / "x")


@pytest.mark.parametrize("name", ["a.zip", "a.zip.part"])
@pytest.mark.parametrize("plant", [lambda path, other: path.symlink_to(other), lambda path, _: os.mkfifo(path)])
def test_planted_links_and_pipes_are_not_written_through(server, tmp_path, name, plant):
    mine = tmp_path / "mine"
    mine.write_bytes(b"m")
    (tmp_path / "x").mkdir()
    plant(tmp_path / "x" / name, mine)
    if name == "a.zip" or (tmp_path / "x" / name).is_symlink():
        with pytest.raises(InputError, match=r"is a link, and files are not|is a link, folder or pipe"):
            download(server, tmp_path / "x")
    else:  # an empty pipe is replaced
        download(server, tmp_path / "x")
    assert mine.read_bytes() == b"m"


def test_a_link_in_place_of_the_version_file_is_replaced_and_not_followed(server, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "x" / "a.zip.part.version").symlink_to(tmp_path / "mine")
    download(server, tmp_path / "x")
    assert (tmp_path / "mine").read_text() == "mine"


# Locks


def test_waiting_for_a_lock_names_its_holder(tmp_path, caplog):
    held, entered = threading.Event(), threading.Event()

    def second() -> None:
        held.wait()
        with locked(tmp_path / "lock", "downloading"):
            entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    with locked(tmp_path / "lock", "downloading"):
        held.set()
        mine = rf"Another process is downloading \(process {os.getpid()} of .* on .*\); wait for it, or choose"
        with pytest.raises(InputError, match=mine), locked(tmp_path / "lock", "downloading", wait=False):
            pass
        while "waiting for it to finish" not in caplog.text:
            thread.join(0.01)
        assert not entered.is_set()
    thread.join()
    assert f"process {os.getpid()} of " in caplog.text and entered.is_set()
    assert not (tmp_path / "lock.holder").exists()


def test_a_lock_that_is_a_link_is_an_error_and_not_followed(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "mine")
    with (
        pytest.raises(InputError, match=r"cannot be used .*, because it is a link: remove it"),
        locked(tmp_path / "lock", "x"),
    ):
        pass
    assert not (tmp_path / "mine").exists()


def test_another_users_lock_is_an_error_and_not_waited_for(tmp_path):
    (tmp_path / "lock").touch(mode=0)
    if os.geteuid() == 0:  # root may open any file, but in a folder like /tmp its owner could replace it
        os.chown(tmp_path / "lock", 65534, 65534)
        tmp_path.chmod(0o1777)
    with (
        pytest.raises(InputError, match=r"cannot be used \(.*\), because it is .+'s: remove it"),
        locked(tmp_path / "lock", "x"),
    ):
        pass


def test_a_lock_without_a_description_is_reported_with_its_owner(tmp_path):
    whose = pytest.raises(InputError, match=r"its lock .*lock is .+'s\); wait for it")
    with FileLock(tmp_path / "lock"), whose, locked(tmp_path / "lock", "x", wait=False):
        pass


# Addresses


def test_every_corpus_has_a_checksum_and_https():
    sources = [find_corpus(name).SOURCE for name in ("esc50", "nsynth", "speech_commands", "gtzan")]
    assert all(url.startswith("https://") for url in sources[3].addresses.values())
    for archive in (one for source in sources[:3] for subset in source.subsets.values() for one in subset):
        assert archive.checksum.startswith(("sha256:", "md5:")) and archive.url.startswith("https://")
    assert "master" not in sources[0].subsets["all"][0].url
