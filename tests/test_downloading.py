"""Downloading corpora over real HTTP: resuming, checksums, failing servers and disks, subsets, verifying."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import threading
from pathlib import Path

import pytest
import test_esc50
from file_server import FileServer
from forks import Fork, Forks
from test_archives import contents, zipped

from hf_audio import InputError
from hf_audio.corpora import _download, esc50
from hf_audio.corpora._source import Archive, Archives

pytest.importorskip("pooch")
CARD = esc50.CARD
NAME = "master.zip"


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(_download, "FIRST_WAIT_S", 0.01)
    server = FileServer()
    yield server
    server.stop()


def source(server: FileServer, checksum: str | None = None, **sizes: float) -> Archives:
    sizes = {"num_bytes": 1e6, "unpacked_bytes": 1e6} | sizes
    checksum = checksum or md5(server.files.get(NAME, b""))
    return Archives({"all": (Archive(f"{server.url}/{NAME}?download=1", "ESC-50-master", checksum=checksum, **sizes),)})


@pytest.fixture
def esc50_server(server, tmp_path, monkeypatch) -> FileServer:
    """Serves a tiny ESC-50 of 1 MB in the original layout to esc50.obtain."""
    tree = test_esc50.make_tree(tmp_path / "tree", categories=2)
    files = contents(tree)
    files["ESC-50-master/audio/1-100001-A-0.wav"] = os.urandom(1_000_000)
    server.files[NAME] = zipped(files)
    monkeypatch.setattr(esc50, "SOURCE", source(server))
    shutil.rmtree(tree)
    return server


def start_obtain(forks: Forks, server: FileServer, root: Path, before: str = "") -> Fork:
    """A separate process that downloads from `server`."""
    program = f"""
import sys; {before}
from pathlib import Path
from hf_audio.corpora import esc50
from hf_audio.corpora._source import Archive, Archives
from hf_audio.errors import clear_errors
archive = Archive("{server.url}/{NAME}", "ESC-50-master", 1e6, 1e6, "{md5(server.files.get(NAME, b""))}")
with clear_errors():
    Archives({{"all": (archive,)}}).obtain(Path({str(root)!r}), esc50.CARD)
"""
    return forks.start(program)


def refused(server: FileServer, root: Path, **sizes: float) -> str:
    """The error of a download; checks that no corpus is left, not even a part of it."""
    with pytest.raises(InputError) as caught:
        source(server, **sizes).obtain(root, CARD)
    assert "\n" not in str(caught.value)
    assert not (root / "ESC-50-master").exists()
    assert not list(root.rglob("*.unpacking"))
    return str(caught.value)


def test_a_lost_connection_is_resumed(tmp_path, esc50_server):
    esc50_server.faults[NAME] = [("cut", 300_000), ("status", 503), ("cut", 400_000)]
    esc50.obtain(tmp_path / "corpus")
    assert esc50_server.asked_ranges(NAME) == [None, "bytes=300000-", "bytes=300000-", "bytes=700000-"]
    assert len(esc50.index(tmp_path / "corpus")) == 20


def test_a_killed_download_is_resumed(tmp_path, esc50_server, forks):
    root = tmp_path / "corpus"
    esc50_server.faults[NAME] = [("slow", 0.02)]
    part = root / ".downloads" / f"{NAME}.part"
    process = start_obtain(forks, esc50_server, root)
    process.kill_once(lambda: part.is_file() and part.stat().st_size > 200_000)
    arrived = part.stat().st_size
    assert 200_000 < arrived < 1_000_000
    assert part.read_bytes() == esc50_server.files[NAME][:arrived]
    esc50.obtain(root)
    assert esc50_server.asked_ranges(NAME) == [None, f"bytes={arrived}-"]
    assert len(esc50.index(root)) == 20 and not (root / ".downloads").exists()


def test_a_part_of_another_version_is_not_resumed(tmp_path, server):
    server.files[NAME] = zipped({"a.wav": os.urandom(100_000)})
    server.faults[NAME] = [("cut", 50_000), *[("status", 500)] * 4]
    message = refused(server, tmp_path)
    assert re.search(
        r"lost 4 times after 50.0 kB of master.zip \(it answers 500 .*\); the partial download is kept", message
    )
    server.files[NAME] = zipped({"b.wav": os.urandom(100_000)})
    source(server).obtain(tmp_path, CARD)
    assert (tmp_path / "ESC-50-master" / "b.wav").is_file()


def test_a_download_without_ranges_and_lengths_restarts(tmp_path, esc50_server):
    """GitHub serves its archives like this."""
    root = tmp_path / "corpus"
    esc50_server.ranges = False
    part = root / ".downloads" / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half of it")
    esc50.obtain(root)
    assert esc50_server.asked_ranges(NAME) == ["bytes=10-"] and len(esc50.index(root)) == 20


def test_a_complete_part_is_not_downloaded_again(tmp_path, esc50_server):
    part = tmp_path / ".downloads" / f"{NAME}.part"
    part.parent.mkdir()
    part.write_bytes(esc50_server.files[NAME])
    esc50.obtain(tmp_path)
    assert len(esc50_server.log) == 1 and len(esc50.index(tmp_path)) == 20


def test_a_download_is_synced_to_disk_before_it_gets_its_name(tmp_path, esc50_server, monkeypatch):
    written, link = [], os.link
    monkeypatch.setattr(os, "fsync", lambda file: written.append(os.fstat(file).st_ino))

    def named(source: str, target: str) -> None:
        assert Path(source).stat().st_ino in written
        link(source, target)
        written.append("its name")

    monkeypatch.setattr(os, "link", named)
    esc50.obtain(tmp_path)
    assert "its name" in written


def test_a_wrong_checksum_is_reported_and_the_next_run_downloads_again(tmp_path, esc50_server):
    right = esc50_server.files[NAME]
    esc50_server.files[NAME] = right[:500] + b"?" + right[501:]
    with pytest.raises(InputError, match=r"master.zip from 127.0.0.1 differs from its checksum md5:\w+ and was"):
        esc50.obtain(tmp_path)
    assert not (tmp_path / "ESC-50-master").exists() and not list((tmp_path / ".downloads").iterdir())
    esc50_server.files[NAME] = right
    esc50.obtain(tmp_path)
    assert len(esc50.index(tmp_path)) == 20


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (
            ("status", 404),
            r"127.0.0.1 answers 404 Not Found for http://\S+, so it may have moved; get ESC-50 from https",
        ),
        (("status", 403), r"answers 403 Forbidden .* and give its folder as --data_dir"),
        (
            ("status", 500),
            r"could not be downloaded from 127.0.0.1 \(it answers 500 .*\); check the connection and run",
        ),
        (("page",), r"127.0.0.1 sends a web page instead of master.zip; open http"),
        (("cut", 0), r"could not be downloaded from 127.0.0.1 \(.+\); check"),
    ],
)
def test_errors_of_servers_are_reported(tmp_path, server, fault, sentence):
    server.files[NAME] = zipped({"a.wav": b"a"})
    server.faults[NAME] = [fault] * 4
    assert re.search(sentence, refused(server, tmp_path))
    server.faults.clear()
    source(server).obtain(tmp_path, CARD)


def test_a_missing_connection_is_reported(tmp_path, server):
    server.stop()
    assert re.search(r"could not be downloaded from 127.0.0.1 \(.*refused.*\); check", refused(server, tmp_path))


def test_a_silent_server_times_out(tmp_path, server, monkeypatch):
    monkeypatch.setattr(_download, "READ_S", 0.1)
    server.files[NAME] = zipped({"a.wav": os.urandom(100_000)})
    server.faults[NAME] = [("stall", 50_000), *[("stall", 0)] * 4]
    message = refused(server, tmp_path)
    assert re.search(r"lost 4 times after 49.2 kB of master.zip \(.*timed out.*\)", message)


def test_a_damaged_archive_is_downloaded_again(tmp_path, server):
    whole = zipped({"a.wav": b"a"})
    server.files[NAME] = whole[:-10]
    assert "master.zip is damaged or not an archive" in refused(server, tmp_path)
    server.files[NAME] = whole
    source(server).obtain(tmp_path, CARD)
    assert (tmp_path / "ESC-50-master" / "a.wav").is_file()


def test_interrupted_unpacking_leaves_no_corpus_and_is_repeated(tmp_path, esc50_server):
    half = tmp_path / ".downloads" / "ESC-50-master.unpacking" / "ESC-50-master"  # left by a killed run
    (half / "meta").mkdir(parents=True)
    (half / "meta" / "esc50.csv").write_text("filename,fold")
    with pytest.raises(InputError, match="does not contain ESC-50; expected"):
        esc50.index(tmp_path)
    esc50.obtain(tmp_path)
    assert len(esc50.index(tmp_path)) == 20 and not half.exists()


def test_an_existing_folder_is_not_changed(tmp_path, esc50_server):
    (tmp_path / "ESC-50-master").mkdir()
    (tmp_path / "ESC-50-master" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"ESC-50-master already exists, perhaps incomplete, .* move it away"):
        esc50.obtain(tmp_path)
    assert (tmp_path / "ESC-50-master" / "mine.txt").read_text() == "mine" and not esc50_server.log


def test_too_little_disk_space_is_reported_before_the_download(tmp_path, server):
    message = refused(server, tmp_path, num_bytes=1e17, unpacked_bytes=2e17)
    assert re.search(r"ESC-50 needs 300000 TB in .* but .* is free; free some space or give", message)
    assert not server.log


def test_a_full_disk_keeps_the_downloaded_part(tmp_path, esc50_server, forks):
    root = tmp_path / "corpus"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))"
    process = start_obtain(forks, esc50_server, root, before=limit)
    assert process.wait() == 2
    assert f"error: The disk of {root / '.downloads'} is full; free some space and run" in process.errors
    arrived = (root / ".downloads" / f"{NAME}.part").stat().st_size
    assert 200_000 < arrived <= 300_000
    esc50.obtain(root)
    assert esc50_server.asked_ranges(NAME) == [None, f"bytes={arrived}-"] and len(esc50.index(root)) == 20


def test_a_file_in_place_of_the_folder_is_refused(tmp_path, server):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\); fix that or choose another"):
        source(server).obtain(tmp_path / "file" / "corpus", CARD)


def test_two_processes_download_once(tmp_path, esc50_server):
    esc50_server.faults[NAME] = [("slow", 0.002)]
    threads = [threading.Thread(target=esc50.obtain, args=(tmp_path,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(esc50_server.log) == 1 and len(esc50.index(tmp_path)) == 20


def test_without_pooch_the_error_names_the_extra(tmp_path, server, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert 'needs pooch: pip install "hf_audio[corpora]"' in refused(server, tmp_path)
