"""Unpacking archives: damage, and contents that must not be written."""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from hf_audio import InputError
from hf_audio.corpora._archives import FILE_LIST, damaged_files, unpack

MAX_BYTES = 1e6


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def packed(folder: Path, name: str, content: bytes) -> Path:
    """Writes the archive to a file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def refused(archive: Path, most_bytes: float = MAX_BYTES) -> str:
    """The error of unpacking; checks that nothing of the archive is left."""
    with pytest.raises(InputError) as caught:
        unpack(archive, archive.parent / "corpus", most_bytes)
    assert "\n" not in str(caught.value)
    assert not [path for path in archive.parent.iterdir() if path != archive]
    return str(caught.value)


ARCHIVE = tarred({"a/x.wav": os.urandom(5000), "a/y.wav": os.urandom(5000)})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.zip", b"no archive at all"),
        ("x.zip", b""),
        ("x.zip", zipped({"a/x.wav": os.urandom(3000)})[:-30]),
        ("x.zip", zipped({"a/x.wav": b"sound" * 50}).replace(b"soundsound", b"soundnoise", 1)),
        ("x.zip", zipped({})),
        ("x.tar.gz", b"no archive at all"),
        ("x.tar.gz", ARCHIVE[:6000]),
        ("x.tar.gz", ARCHIVE[:-4]),
        ("x.tar.gz", ARCHIVE[:-8] + bytes(4) + ARCHIVE[-4:]),
        ("x.tar.gz", gzip.compress(b"no tar" * 200)),
        ("x.tar.bz2", b"BZh9" + os.urandom(900)),
    ],
    ids=lambda value: value if isinstance(value, str) else "bytes",  # ids must be the same in all test processes
)
def test_damaged_archives_are_removed_and_reported(tmp_path, name, content):
    message = refused(packed(tmp_path, name, content))
    assert re.search(
        rf"{name} is damaged or not an archive \(.+\) and was removed; run the same command again", message
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "outside", ["../evil.wav", "/tmp/evil.wav", "a/../../evil.wav", "..\\evil.wav", "C:\\evil.wav"]
)
@pytest.mark.parametrize(("name", "pack"), [("x.zip", zipped), ("x.tar.gz", tarred)])
def test_archives_write_only_in_their_folder(tmp_path, outside, name, pack):
    archive = packed(tmp_path / "downloads", name, pack({"a/fine.wav": b"a", outside: b"evil"}))
    assert re.search(r"would write '.*evil.wav' outside its folder", refused(archive))
    assert not list(tmp_path.rglob("*evil*"))


def test_links_in_archives_are_left_out(tmp_path, caplog):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a/x.wav"))
        link = tarfile.TarInfo("a/passwords")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    unpack(packed(tmp_path, "x.tar.gz", buffer.getvalue()), tmp_path / "corpus", MAX_BYTES)
    assert set(contents(tmp_path / "corpus")) == {"x.wav", FILE_LIST} and "passwords" in caplog.text


def test_non_ascii_names_are_kept_and_verified(tmp_path):
    names = ["Bühne/Café (1) – été.wav", "Bühne/音楽.wav"]
    marked = zipped({f"top/{name}": name.encode() for name in names})
    bare = marked.replace(b"\x14\x00\x00\x08", b"\x14\x00\x00\x00")  # without the flag for UTF-8 names
    with zipfile.ZipFile(io.BytesIO(marked)) as one, zipfile.ZipFile(io.BytesIO(bare)) as other:
        assert one.namelist()[0] == f"top/{names[0]}" and other.namelist() != one.namelist()
    unpack(packed(tmp_path, "x.zip", bare), tmp_path / "zip", MAX_BYTES)
    found = contents(tmp_path / "zip")
    assert {name: found[name].decode() for name in names} == {name: name for name in names}
    latin1 = tarred({os.fsdecode("top/été.wav".encode("latin-1")): b"a"})
    unpack(packed(tmp_path, "x.tar.gz", latin1), tmp_path / "tar", MAX_BYTES)
    assert (tmp_path / "tar" / "été.wav").is_file()
    assert not damaged_files(tmp_path / "zip", "zip") and not damaged_files(tmp_path / "tar", "tar")
