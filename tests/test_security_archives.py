"""Malicious archives: sizes are bounded, and nothing is written outside of the folder."""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import re
import struct
import tarfile
import tracemalloc
import zipfile

import pytest
from test_archives import contents, packed, refused, tarred, zipped
from test_corpora import Published

from hf_audio import InputError
from hf_audio.corpora import _download, openmic
from hf_audio.corpora._archives import COLUMNS, FILE_LIST, damaged_files, unpack, unpack_into
from hf_audio.data.tables import csv_text

pytest.importorskip("pooch")
SMALL = 1_000.0  # expected bytes
TERABYTE = 10**12

# Archives


def tar_of(*members: tarfile.TarInfo, content: bytes = b"", **settings) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", **settings) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(content[: member.size]))
    return buffer.getvalue()


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **pax: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.pax_headers = size, kind, pax
    return info


def old_sparse(size: int) -> bytes:
    """A GNU sparse file that is a single hole."""
    header = bytearray(member("a/x.wav", 0, tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0" % 0 + b"%011o\0" % 0
    header[483:495] = b"\x80" + size.to_bytes(11, "big")
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return gzip.compress(bytes(header) + bytes(1024))


SPARSE = {
    "old": old_sparse(TERABYTE),
    "0.1": tar_of(member("a/x.wav", **{"GNU.sparse.map": "0,0", "GNU.sparse.size": str(TERABYTE)})),
    "1.0": tar_of(
        member(
            "a/x.wav",
            512,
            **{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(TERABYTE)},
        ),
        content=b"0\n" + bytes(510),
    ),
}


@pytest.mark.parametrize("kind", SPARSE)
def test_a_sparse_file_is_refused(tmp_path, kind):
    assert len(SPARSE[kind]) < 400
    assert "has a sparse file" in refused(packed(tmp_path, "x.tar.gz", SPARSE[kind]))


def test_an_archive_larger_than_expected_is_not_unpacked(tmp_path):
    zeros = bytes(30_000_000)
    for name, content in (
        ("x.tar.gz", tarred({"a/x.wav": zeros})),
        ("y.tar.gz", tarred({f"{i}": zeros for i in "ab"})),
    ):
        message = refused(packed(tmp_path / name, name, content), most_bytes=20e6)
        assert "unpacks to more than the expected 20.0 MB" in message
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/x.wav", zeros)
    assert "unpacks to 30.0 MB, expected at most 20.0 MB" in refused(
        packed(tmp_path / "z", "x.zip", buffer.getvalue()), most_bytes=20e6
    )


def test_an_archive_that_ends_in_endless_zeros_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_audio.corpora._archive_members.TAR_OVERHEAD_BYTES", 0)
    endless = gzip.compress(gzip.decompress(tarred({"a/x.wav": b"sound"})) + bytes(30_000_000))
    assert "unpacks to more than" in refused(packed(tmp_path, "x.tar.gz", endless), most_bytes=1e6)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_would_fill_the_memory_is_not_read(tmp_path, kind):
    header = member("long", 200_000_000, kind).tobuf(tarfile.GNU_FORMAT)
    archive = packed(tmp_path, "x.tar.gz", gzip.compress(header + bytes(200_000_000), 1))
    tracemalloc.start()
    try:
        assert "has a header of more than a megabyte" in refused(archive)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_a_zip_with_false_sizes_writes_no_more_than_it_declares(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/x.wav", bytes(3_000_000))
    lying = buffer.getvalue().replace(struct.pack("<I", 3_000_000), struct.pack("<I", 10))
    assert "is damaged or not an archive" in refused(packed(tmp_path, "x.zip", lying))


@pytest.mark.parametrize(
    "pack", [lambda names: ("x.tar.gz", tar_of(*map(member, names))), lambda names: pack_zip(names)]
)
@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["a/x.wav", "a/x.wav"], r"has 'a/x\.wav' twice, or both as a file and as a folder"),
        (["a/x.wav", "a/./x.wav"], "twice"),
        (["a/x", "a/x/y.wav"], "has 'a/x/y.wav' twice, or both as a file and as a folder"),
        (["a/x/y.wav", "a/x"], "has 'a/x' twice, or both as a file and as a folder"),
        ([f"a/{FILE_LIST}", "a/x.wav"], r"has a file called \.files\.csv"),
        (["a/" + "x" * 300], "has a file with a name of 302 letters"),
        (["a/" * 60 + "x"], "has a file with a name of 121 letters in 61 folders"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_dangerous_member_names_are_refused(tmp_path, names, what, pack):
    assert re.search(what, refused(packed(tmp_path, *pack(names))))


def pack_zip(names: list[str]) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"sound")
    return "x.zip", buffer.getvalue()


def test_a_link_in_place_of_the_unpacking_folder_is_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    (tmp_path / "corpus.unpacking").symlink_to(tmp_path / "mine")
    unpack(packed(tmp_path, "x.zip", zipped({"a/x.wav": b"sound"})), tmp_path / "corpus", SMALL)
    assert (tmp_path / "corpus" / "x.wav").read_bytes() == b"sound"
    assert contents(tmp_path / "mine") == {"a.txt": b"mine"}


def test_archives_are_added_to_a_folder_as_a_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "corpus"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "mine.wav").write_bytes(b"mine")
    unpack_into(packed(tmp_path, "x.zip", zipped({"a/x.wav": b"sound", "b.wav": b"b"})), folder, SMALL)
    assert contents(folder) == {"a/mine.wav": b"mine", "a/x.wav": b"sound", "b.wav": b"b"}
    evil = packed(tmp_path, "y.tar.gz", tarred({"a/x.wav": b"other", "../evil": b"evil"}))
    with pytest.raises(InputError, match=r"would write '\.\./evil' outside its folder"):
        unpack_into(evil, folder, SMALL)
    assert (folder / "a" / "x.wav").read_bytes() == b"sound" and not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("row", ["../outside.wav", "/dev/zero", "a/../../x"])
def test_a_list_of_files_with_paths_outside_of_the_folder_is_refused(tmp_path, row):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / FILE_LIST).write_text(csv_text([COLUMNS, (row, 0, "00000000")]))
    with pytest.raises(InputError, match="cannot be read as a list of files"):
        damaged_files(tmp_path / "corpus", "corpus")


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path):
    (tmp_path / "corpus").mkdir()
    os.mkfifo(tmp_path / "corpus" / "x.wav")
    (tmp_path / "corpus" / FILE_LIST).write_text(csv_text([COLUMNS, ("x.wav", 0, "00000000")]))
    (fault,) = damaged_files(tmp_path / "corpus", "corpus")
    assert "not a regular file" in fault.found


# mirdata's archives


def hostile(name: str, **attributes) -> bytes:
    info = member(name, 5)
    for key, value in attributes.items():
        setattr(info, key, value)
    return tar_of(info, member("openmic-2018/openmic-2018-aggregated-labels.csv"), content=b"evil!")


@pytest.fixture
def published(tmp_path, monkeypatch) -> Published:
    published = Published(tmp_path / "published", monkeypatch)
    yield published
    published.server.stop()


@pytest.mark.parametrize(
    ("archive", "what"),
    [
        (hostile("../../evil"), "would write '../../evil' outside its folder"),
        (SPARSE["old"], "has a sparse file"),
        (tarred({"openmic-2018/x": b"a", "openmic-2018/x/y": b"a"}), "twice, or both as a file and as a folder"),
    ],
)
def test_mirdatas_archives_are_unpacked_with_the_same_checks(tmp_path, published, archive, what):
    published.replace(archive=archive)
    with pytest.raises(InputError, match=what):
        openmic.obtain(tmp_path / "corpus")
    assert not list(tmp_path.rglob("evil"))


def test_links_in_mirdatas_archives_are_not_made(tmp_path, published):
    (tmp_path / "mine").mkdir()
    link = member("openmic-2018/audio", 0, tarfile.SYMTYPE)
    link.linkname = str(tmp_path / "mine")
    published.replace(archive=tar_of(link, member("openmic-2018/audio/000/000046_3840.ogg", 5), content=b"sound"))
    openmic.obtain(tmp_path / "corpus")
    assert not list((tmp_path / "mine").iterdir()) and not (tmp_path / "corpus" / "openmic-2018" / "audio").is_symlink()


def test_mirdatas_archives_have_a_maximum_size_too(tmp_path, published, monkeypatch):
    monkeypatch.setattr(_download, "MARGIN_BYTES", 0)
    monkeypatch.setattr(openmic, "SOURCE", dataclasses.replace(openmic.SOURCE, num_bytes=20))
    with pytest.raises(InputError, match=", expected at most 22 bytes, so it is the wrong file"):
        openmic.obtain(tmp_path / "corpus")
