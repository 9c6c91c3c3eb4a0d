"""Corpora whose folders are links to another disk, broken links, and cyclic links."""

from __future__ import annotations

import os

import pytest
from corpus_trees import TREES

from hf_audio.corpora import find_corpus
from hf_audio.corpora._files import files_below, folders_below


@pytest.mark.parametrize("name", TREES)
def test_every_corpus_is_read_through_links_to_another_disk(tmp_path, name):
    root = TREES[name](tmp_path / "mit Leerzeichen" / "Übung 1")
    index = find_corpus(name).index
    before = index(root)
    folders = sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True)  # inner folders first
    (tmp_path / "other disk").mkdir()
    for number, folder in enumerate(folders):
        elsewhere = folder.rename(tmp_path / "other disk" / str(number))
        folder.symlink_to(elsewhere, target_is_directory=True)
    assert folders and index(root).equals(before)
    (tmp_path / "link").symlink_to(root)
    assert index(tmp_path / "link")["clip_id"].equals(before["clip_id"])


def test_cyclic_links_end_and_no_folder_is_listed_twice(tmp_path, caplog):
    root = tmp_path / "corpus"
    for name in ("a/x.wav", "b/y.wav", "b/deep/z.wav", ".downloads/half.wav", "__MACOSX/a.wav", "b/._y.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "b").symlink_to(root / "b")
    (root / "a" / "linked.wav").symlink_to(root / "b" / "y.wav")
    names = [path.relative_to(root).as_posix() for path in files_below(root)]
    assert names == ["a/linked.wav", "a/x.wav", "b/deep/z.wav", "b/y.wav"]
    assert [path.relative_to(root).as_posix() for path in folders_below(root)] == ["a", "b", "b/deep"]
    assert files_below(root, "deep/*.wav") == [root / "b/deep/z.wav"] and files_below(root, "x.wav") == [
        root / "a/x.wav"
    ]
    assert not caplog.text


def test_broken_links_are_reported(tmp_path, caplog):
    (tmp_path / "a.wav").touch()
    (tmp_path / "audio").symlink_to("/no/such disk")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert files_below(tmp_path) == [tmp_path / "a.wav"]
    assert f"2 links or folders below {tmp_path} that cannot be read, first {tmp_path / 'audio'}" in caplog.text


def test_names_that_are_not_utf_8_are_reported(tmp_path, caplog):
    odd = os.fsdecode(b"caf\xe9")
    try:
        (tmp_path / odd).mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for name in ("a.wav", "кофе, 🎻 x.wav", f"{odd}.wav", f"{odd}/b.wav"):
        (tmp_path / name).touch()
    assert [path.name for path in files_below(tmp_path)] == ["a.wav", "кофе, 🎻 x.wav"]
    assert f"2 files below {tmp_path} with names that are not UTF-8" in caplog.text and "rename them" in caplog.text


def test_a_missing_folder_has_no_files(tmp_path, caplog):
    assert files_below(tmp_path / "missing") == [] and not caplog.text
    (tmp_path / "file").touch()
    assert files_below(tmp_path / "file") == []
