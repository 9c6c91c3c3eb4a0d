"""FMA in the original layout: three header lines, texts with commas and line breaks, mp3 files."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hf_audio import InputError, LabelSpace
from hf_audio.corpora import fma
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.recordings.audio import read_audio
from hf_audio.data.splits.assigning import assign_splits

# track, artist, split, subset, top genre
TRACKS = [
    (2, 1, "training", "small", "Hip-Hop"),
    (5, 1, "training", "small", "Hip-Hop"),
    (10, 6, "training", "small", "Old-Time / Historic"),
    (140, 54, "validation", "small", "Hip-Hop"),
    (148, 56, "validation", "medium", "Old-Time / Historic"),
    (155, 58, "test", "medium", "Hip-Hop"),
    (182, 58, "test", "small", "Old-Time / Historic"),
    (20, 4, "training", "large", ""),  # a track with several genres
    (98565, 77, "training", "small", "Hip-Hop"),
    (99134, 78, "training", "small", "Hip-Hop"),
]


def make_tree(root: Path, subset: str = "small") -> Path:
    """tracks.csv with the columns that are read and those around them, and a file per track of the subset."""
    table = root / "fma_metadata" / "tracks.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    long_text = '<p>Born in Ohio, "they" say;\nlives\tthere</p>' + "x" * 140_000  # above csv's default limit
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "album", "artist", "artist", "set", "set", "track", "track"])
        writer.writerow(["", "id", "bio", "id", "split", "subset", "genre_top", "title"])
        writer.writerow(["track_id", *[""] * 7])
        for number, artist, split, of, genre in TRACKS:
            writer.writerow([number, 7, long_text if number == 2 else "", artist, split, of, genre, 'Ça, "va"?'])
    parts = fma.SUBSETS[: fma.SUBSETS.index(subset) + 1]
    for number, _, _, of, _ in TRACKS:
        if of in parts:
            path = root / f"fma_{subset}" / f"{number:06d}"[:3] / f"{number:06d}.mp3"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (root / f"fma_{subset}" / "checksums").touch()
    return root


def test_small_has_its_official_split(tmp_path, caplog):
    clips = {clip.clip_id: clip for clip in list(rows_of(fma.index(make_tree(tmp_path))))}
    assert list(clips) == ["000/000002.mp3", "000/000005.mp3", "000/000010.mp3", "000/000140.mp3", "000/000182.mp3"]
    assert [clip.split for clip in clips.values()] == ["train", "train", "train", "validation", "test"]
    assert clips["000/000002.mp3"].group == clips["000/000005.mp3"].group == "artist-1"
    assert clips["000/000010.mp3"].labels == ("Old-Time / Historic",)
    assert not caplog.text, "tracks known to be empty are left out silently"
    labels = LabelSpace.of_clips(index_of(clips.values()), fma.CARD.label_names, fma.CARD.problem_type)
    assert list(rows_of(assign_splits(index_of(list(clips.values())), labels))) == list(clips.values())


def test_the_subset_is_found_by_its_folder(tmp_path, caplog):
    root = make_tree(tmp_path, "large")
    with caplog.at_level(logging.INFO):
        clips = list(rows_of(fma.index(root)))
    assert len(clips) == 7, "tracks without a top genre are left out"
    assert "Skipped 3 files of FMA large" in caplog.text
    make_tree(tmp_path, "medium")
    with pytest.raises(
        InputError, match=r"several subsets .fma_large, fma_medium.; choose one, e.g. --data_dir .*large"
    ):
        fma.index(root)
    assert len(fma.index(root / "fma_medium")) == 7


def test_a_folder_of_the_same_name_around_the_tracks(tmp_path):
    root = make_tree(tmp_path / "unpacked")
    (root / "fma_small").rename(root / "inner")
    (root / "fma_small").mkdir()
    (root / "inner").rename(root / "fma_small" / "fma_small")
    clips = list(rows_of(fma.index(root)))
    assert len(clips) == 5 and list(rows_of(fma.index(root / "fma_small"))) == clips == list(
        rows_of(fma.index(root / "fma_small" / "fma_small"))
    )


def test_mp3_files_are_read(tmp_path):
    root = make_tree(tmp_path)
    sound = 0.3 * np.sin(np.arange(44_100) * 0.1)
    soundfile.write(root / "fma_small/000/000002.mp3", np.stack([sound, sound], axis=1), 44_100, format="MP3")
    assert read_audio(fma.index(root)["audio"][0].as_py(), 16_000).shape == pytest.approx((16_000,), rel=0.1)


def test_partial_layout_warns(tmp_path, caplog):
    root = make_tree(tmp_path)
    (root / "fma_small/000/000005.mp3").unlink()
    (root / "fma_small/000/000099.mp3").touch()
    assert len(fma.index(root)) == 4
    assert "FMA small is partial: 1 tracks have no file" in caplog.text


def test_bad_layouts_are_refused(tmp_path):
    root = make_tree(tmp_path)
    table = root / "fma_metadata" / "tracks.csv"
    table.rename(root / "tracks.csv")
    with pytest.raises(InputError, match="has no fma_metadata; expected fma_small"):
        fma.index(root)
    text = (root / "tracks.csv").read_text(encoding="utf-8")
    table.write_text(text.replace("genre_top", "top_genre"), encoding="utf-8")
    with pytest.raises(InputError, match=r"has no column track.genre_top; expected tracks.csv of https"):
        fma.index(root)
    table.write_text(text[: text.index("<p>") + 500], encoding="utf-8")
    with pytest.raises(InputError, match="is damaged") as caught:
        fma.index(root)
    assert "\n" not in str(caught.value)
    table.write_text(text.replace("\n2,", "\n3,"), encoding="utf-8")
    for path in (root / "fma_small").rglob("*.mp3"):
        if path.stem != "000002":
            path.unlink()
    with pytest.raises(InputError, match="fma_small has none of the tracks"):
        fma.index(root)
