"""A test that changes what all tests of a session read is found."""

from __future__ import annotations

import pytest
from shared_folders import SharedFolders


@pytest.fixture
def kept(tmp_path) -> SharedFolders:
    (tmp_path / "features" / "data").mkdir(parents=True)
    for name in ("manifest.json", "data/train.parquet"):
        (tmp_path / "features" / name).write_text("made")
    shared = SharedFolders()
    assert shared.keep(tmp_path / "features") == tmp_path / "features"
    assert shared.changes() == []
    return shared


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda folder: (folder / "manifest.json").write_text("spoilt"), "manifest.json"),
        (lambda folder: (folder / "data/train.parquet").unlink(), "data/train.parquet"),
        (lambda folder: (folder / "data/.lock").touch(), "data/.lock"),
        (lambda folder: (folder / "empty").mkdir(), "empty"),
    ],
)
def test_a_change_is_named_once(kept, tmp_path, change, path):
    change(tmp_path / "features")
    assert kept.changes() == [str(tmp_path / "features" / path)]
    assert kept.changes() == []
