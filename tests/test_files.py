"""Small files are read only if they are regular and of bounded size. Files are written completely or not at all."""

from __future__ import annotations

import os
import stat

import pytest

from hf_audio.errors import InputError, printable
from hf_audio.files import read_json, read_whole, write_atomically


def test_a_regular_file_is_read_and_a_larger_one_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_whole(tmp_path / "a", 5) == b"12345"
    with pytest.raises(InputError, match=r"5 bytes, .* at most 4"):
        read_whole(tmp_path / "a", 4)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "missing"])
def test_anything_but_a_regular_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"not a regular file|cannot be read"):
        read_whole(path, 100)


def test_a_sparse_file_of_a_terabyte_is_not_read(tmp_path):
    with open(tmp_path / "a", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="at most 1,000"):
        read_whole(tmp_path / "a", 1000)


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "{", "\xff", "null", '{"a": NaN}', '{"a": 1e999}', '{"a": -Infinity}', '{"a":' + "[" * 100_000],
)
def test_json_other_than_an_object_of_finite_numbers_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="JSON"):
        read_json(tmp_path / "a.json")


def test_a_file_has_default_permissions_and_replaces_a_link(tmp_path):
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "a").symlink_to(tmp_path / "victim")
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "a", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "victim").read_text() == "kept"
    assert (tmp_path / "a").read_text() == "new" and not (tmp_path / "a").is_symlink()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_nothing_is_written_through_a_planted_temporary_link(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda size: "known")
    (tmp_path / "victim").write_text("kept")
    (tmp_path / ".a.known.tmp").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "a", "new")
    assert (tmp_path / "victim").read_text() == "kept" and not (tmp_path / "a").exists()


@pytest.mark.parametrize("letter", ["\x1b", "\r", "\n", "\x07", "\x9b", "\x7f", "\u202e", "\u2028", "\udcff"])
def test_control_characters_in_errors_are_escaped(letter):
    message = str(InputError(f"class a{letter}b"))
    assert letter not in message and message.isprintable() and message.startswith("class a\\")


def test_printable_names_are_not_changed():
    for text in ("Flöte", "ヴァイオリン", "می\u200cخواهم", "a b", "🎻", "C:\\music"):
        assert printable(text) == text
