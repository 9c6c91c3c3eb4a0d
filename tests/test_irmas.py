"""IRMAS in the original layout, complete and partial."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hf_audio import DataConfig, InputError, LabelSpace, corpus_clips
from hf_audio.corpora import irmas
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.splits.assigning import assign_splits


def make_tree(root: Path, instruments: list[str]) -> Path:
    """Empty files with IRMAS's names: the index reads only names and .txt files."""
    for code in instruments:
        folder = root / "IRMAS-TrainingData" / code
        folder.mkdir(parents=True)
        for recording in range(1, 7):
            for part in range(1, 1 + recording % 3):
                (folder / f"{recording:03d}__[{code}][nod][cou_fol]{recording:04d}__{part}.wav").touch()
        (folder / f"[{code}][pop_roc]0900__1.wav").touch()
    for part, folder in ((1, "IRMAS-TestingData-Part1/Part1"), (2, "IRMAS-TestingData-Part2/IRTestingData-Part2")):
        (root / folder).mkdir(parents=True)
        for excerpt in (1, 2, 16):
            name = f"(0{part}) dont kill the whale-{excerpt}"
            (root / folder / f"{name}.wav").touch()
            (root / folder / f"{name}.txt").write_text("gel\t\nvoi\t\n")
    return root


def test_complete_layout(tmp_path):
    clips = list(rows_of(irmas.index(make_tree(tmp_path, list(irmas.INSTRUMENTS)))))
    training = [clip for clip in clips if clip.split == "train"]
    test = [clip for clip in clips if clip.split == "test"]
    assert len(training) == 11 * 7 and len(test) == 6
    assert {clip.labels for clip in training} == {(code,) for code in irmas.INSTRUMENTS}
    assert all(clip.labels == ("gel", "voi") for clip in test)
    of_one_recording = {clip.group for clip in training if "cel][nod][cou_fol]0002" in clip.clip_id}
    assert len(of_one_recording) == 1, "__1 and __2 are cut from one recording"
    assert len({clip.group for clip in test}) == 2, "excerpts -1, -2 and -16 are from one song"
    by_name = {Path(clip.path).name: clip.metadata for clip in training}
    assert by_name["001__[cel][nod][cou_fol]0001__1.wav"] == {"genre": "cou_fol", "drums": "no"}
    assert by_name["[cel][pop_roc]0900__1.wav"] == {"genre": "pop_roc"}, "drums are not annotated"


def test_the_split_keeps_recordings_together_and_the_official_test_split(tmp_path):
    clips = list(rows_of(irmas.index(make_tree(tmp_path, list(irmas.INSTRUMENTS)))))
    labels = LabelSpace.of_clips(index_of(clips), irmas.CARD.label_names, irmas.CARD.problem_type)
    split = list(rows_of(assign_splits(index_of(clips), labels)))
    groups = {name: {clip.group for clip in split if clip.split == name} for name in ("train", "validation", "test")}
    assert not groups["train"] & groups["validation"] and len(groups["test"]) == 2
    assert {clip.labels[0] for clip in split if clip.split == "validation"} == set(irmas.INSTRUMENTS)


def test_a_partial_layout_drops_labels_without_training_clips(tmp_path, caplog):
    clips = list(rows_of(irmas.index(make_tree(tmp_path, ["cel", "gel"]))))
    assert {clip.labels for clip in clips if clip.split == "test"} == {("gel",)}
    assert "no training clips of" in caplog.text


def test_missing_test_parts_and_labels_are_reported(tmp_path, caplog):
    make_tree(tmp_path, list(irmas.INSTRUMENTS))
    next(tmp_path.rglob("*.txt")).unlink()
    assert sum(clip.split == "test" for clip in list(rows_of(irmas.index(tmp_path)))) == 5
    assert "Skipped 1 recordings in" in caplog.text and "without a .txt file of labels next to them" in caplog.text
    assert "is partial: 77 of 6705 training clips, 5 of 2874 test excerpts" in caplog.text
    data = DataConfig(corpus="irmas", data_dir=str(tmp_path / "IRMAS-TrainingData"))
    assert "NO official test split: tested on 15% of the training groups" in corpus_clips(data).card.protocol
    assert "a test split is drawn from the training clips" in caplog.text


def test_bad_layouts_are_refused(tmp_path):
    with pytest.raises(InputError, match="has no IRMAS training clips"):
        irmas.index(tmp_path)
    make_tree(tmp_path, ["cel", "gel"])
    next(tmp_path.rglob("*.txt")).write_text("kazoo\n")
    with pytest.raises(InputError, match="names 'kazoo'"):
        irmas.index(tmp_path)


def test_download_without_mirdata_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mirdata", None)
    with pytest.raises(InputError, match=r'pip install "hf_audio\[corpora\]"'):
        irmas.obtain(tmp_path)
