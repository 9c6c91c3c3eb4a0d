"""GTZAN in the original layout, complete and partial, and the split that keeps artists apart."""

from __future__ import annotations

import configparser
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hf_audio import InputError, LabelSpace
from hf_audio.corpora import gtzan
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.splits.assigning import assign_splits

PARTS = {"train": "train", "validation": "valid", "test": "test"}


def make_tree(root: Path, genres=gtzan.GENRES, suffix: str = "wav", tracks: int = 100) -> Path:
    """Empty files with GTZAN's names: the index reads only names, and the audio of one track that is often broken."""
    for genre in genres:
        folder = root / "genres_original" / genre
        folder.mkdir(parents=True)
        for number in range(tracks):
            (folder / f"{genre}.{number:05d}.{suffix}").touch()
        (folder / f"._{genre}.00000.{suffix}").touch()  # added to archives by macOS
    return root


def test_the_complete_layout_has_the_split_of_the_lists(tmp_path, caplog):
    root = make_tree(tmp_path)
    soundfile.write(root / "genres_original/jazz/jazz.00054.wav", np.ones(800) / 2, 22050, format="WAV")
    with caplog.at_level(logging.INFO):
        clips = list(rows_of(gtzan.index(root)))
    assert Counter(clip.split for clip in clips) == {"train": 443, "validation": 197, "test": 290}
    assert {clip.labels[0] for clip in clips} == set(gtzan.GENRES)
    assert len({clip.group for clip in clips}) == len({clip.clip_id for clip in clips}) == 930
    assert "Skipped 70 GTZAN tracks that are in none of the split lists (faulty" in caplog.text
    assert "partial" not in caplog.text
    labels = LabelSpace.of_clips(index_of(clips), gtzan.CARD.label_names, gtzan.CARD.problem_type)
    assert list(rows_of(assign_splits(index_of(clips), labels))) == clips, "nothing may be drawn at random"


def test_the_split_lists_are_those_of_their_authors(shared_data):
    split_of = gtzan.split_of_tracks()
    for split, name in PARTS.items():
        published = (shared_data / "gtzan_split" / f"{name}.txt").read_text().split()
        assert sorted(published) == sorted(track for track, of in split_of.items() if of == split)


def test_a_broken_file_is_left_out(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        clips = list(rows_of(gtzan.index(make_tree(tmp_path, ["jazz"]))))
    assert "jazz.00054" not in {clip.group for clip in clips}
    assert "jazz.00054.wav, which is broken" in caplog.text and "86 of the 930 listed tracks" in caplog.text


def test_original_au_files_and_copies_side_by_side(tmp_path):
    make_tree(tmp_path / "genres", ["blues"], suffix="au")
    clips = list(rows_of(gtzan.index(tmp_path)))
    assert len(clips) == 100 and Path(clips[0].path).suffix == ".au" and clips[0].clip_id == "blues/blues.00000.au"
    make_tree(tmp_path / "Data", ["blues"])
    assert {Path(clip.path).suffix for clip in list(rows_of(gtzan.index(tmp_path)))} == {".wav"}, "one file per track"


def test_a_folder_without_tracks_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no GTZAN tracks; expected genre folders"):
        gtzan.index(tmp_path)
    make_tree(tmp_path, ["country"])
    for path in tmp_path.rglob("*.wav"):
        if path.stem in gtzan.split_of_tracks():
            path.unlink()
    with pytest.raises(InputError, match="has none of the listed GTZAN tracks"):
        gtzan.index(tmp_path)


def test_the_random_split_has_all_readable_tracks(tmp_path, caplog):
    root = make_tree(tmp_path)
    clips = list(rows_of(gtzan.index_for_random_split(root)))
    assert len(clips) == 999 and {clip.split for clip in clips} == {None}, "all tracks but the broken one"
    assert "inflates accuracy by about 10 points" in caplog.text and "partial" not in caplog.text
    labels = LabelSpace.of_clips(index_of(clips), gtzan.CARD.label_names, gtzan.CARD.problem_type)
    splits = Counter(clip.split for clip in list(rows_of(assign_splits(index_of(clips), labels))))
    assert splits["train"] > 700 and min(splits["validation"], splits["test"]) > 100
    (root / "genres_original" / "blues" / "blues.00000.wav").unlink()
    gtzan.index_for_random_split(root)
    assert "is partial: 998 of 1000 tracks" in caplog.text
    with pytest.raises(InputError, match="has no GTZAN tracks; expected genre folders"):
        gtzan.index_for_random_split(tmp_path / "nothing")


def test_the_split_is_installed_with_the_package():
    root = Path(gtzan.__file__).parents[2]
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg")
    patterns = setup["options.package_data"]["hf_audio"].split(", ")
    assert any(gtzan.SPLIT_TABLE in (root / "hf_audio").glob(pattern) for pattern in patterns)
