"""Building from recordings in containers: the same bytes as from a folder, read once, in the order of the source."""

from __future__ import annotations

import filecmp
from pathlib import Path

import pytest
from sound_containers import contained, placed, written
from tone_corpus import CARD, HOP_S, LABELS, WINDOW_S, build, tone_clips

from hf_audio.data.building import pieces
from hf_audio.data.building.build import build_features
from hf_audio.data.index.table import Clip, index_of
from hf_audio.kinds.fbank import KaldiFbank


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    tone_clips(folder)
    return folder


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory) -> Path:
    """What is built from the folder."""
    return build(corpus, tmp_path_factory.mktemp("features") / "of files")


@pytest.fixture(scope="module")
def in_parquet(corpus, tmp_path_factory) -> list[Clip]:
    moved, files = contained(tone_clips(corpus), "parquet", 30)
    return placed(moved, str(written(files, tmp_path_factory.mktemp("parquet"))))


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 400_000)  # recordings have 41 kB


def build_of(clips: list[Clip], folder: Path, extractor=None, **options) -> Path:
    options = {"num_workers": 1, "card": CARD, "window_s": WINDOW_S, "hop_s": HOP_S} | options
    return build_features(index_of(clips), LABELS, folder, extractor or KaldiFbank(), **options)


def assert_same(folder: Path, other: Path) -> None:
    """All files but the plan, which says where the recordings came from."""
    names = [sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file()) for one in (folder, other)]
    assert names[0] == names[1]
    _, different, errors = filecmp.cmpfiles(folder, other, set(names[0]) - {"plan.json"}, shallow=False)
    assert not different and not errors


@pytest.mark.parametrize("kind", ["parquet", "arrow", "tar"])
def test_containers_give_the_bytes_that_a_folder_gives(corpus, finished, tmp_path, kind):
    moved, files = contained(tone_clips(corpus), kind, 30)
    clips = placed(moved, str(written(files, tmp_path / "source")))
    assert_same(build_of(clips, tmp_path / "features"), finished)
