"""The folder corpus: class folders, CSV in all its forms, and errors for what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from hf_audio import InputError
from hf_audio.corpora import corpus_names, find_corpus, folder
from hf_audio.data.index.table import Clip, rows_of


def index(root) -> list[Clip]:
    return list(rows_of(folder.index(root)))


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.zeros(800, dtype=np.float32), 8000)


def write_csv(root: Path, text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    (root / name).write_text(text, encoding=encoding)
    return root / name


def test_class_folders_give_labels_and_groups(tmp_path):
    touch(tmp_path, "violin/a.wav", "violin/session 1/b.wav", "violin/session 1/c.flac", "piano/d.WAV")
    (tmp_path / "violin" / "notes.txt").write_text("not audio")
    clips = {clip.clip_id: clip for clip in index(tmp_path)}
    assert list(clips) == ["piano/d.WAV", "violin/a.wav", "violin/session 1/b.wav", "violin/session 1/c.flac"]
    assert clips["violin/a.wav"].labels == ("violin",) and clips["violin/a.wav"].split is None
    assert (
        clips["violin/session 1/b.wav"].group == clips["violin/session 1/c.flac"].group != clips["violin/a.wav"].group
    )


def test_class_folders_below_official_splits(tmp_path):
    touch(tmp_path, "train/dog/a.wav", "valid/dog/b.wav", "test/cat/c.wav")
    assert [(clip.split, clip.labels) for clip in index(tmp_path)] == [
        ("test", ("cat",)),
        ("train", ("dog",)),
        ("validation", ("dog",)),
    ]


def test_csv_with_everything(tmp_path):
    touch(tmp_path, "x/a.wav", "x/b.wav")
    table = write_csv(
        tmp_path,
        "path,labels,group,split,start_s,end_s,mood\n"
        "x/a.wav,violin; piano,s1,dev,0.5,2,calm\n"
        "x/a.wav,,s1,val,2,,wild\n"
        "x/b.wav,piano,s2,Test,,,\n",
    )
    first, second, third = index(tmp_path)
    assert first.labels == ("violin", "piano") and first.group == "s1" and first.split == "validation"
    assert (first.start_s, first.end_s, first.metadata) == (0.5, 2.0, {"mood": "calm"})
    assert second.labels == () and second.end_s is None and second.clip_id != first.clip_id
    assert third.split == "test" and third.path == str(tmp_path / "x/b.wav") and third.clip_id == "x/b.wav"
    assert index(table) == [first, second, third], "the path of the CSV must work too"


def test_csv_with_byte_order_mark_and_semicolons(tmp_path):
    touch(tmp_path, "a b.wav", "ü.wav")
    write_csv(tmp_path, "path;label\na b.wav;x\nü.wav;y\n", encoding="utf-8-sig")
    assert [(clip.clip_id, clip.labels, clip.group) for clip in index(tmp_path)] == [
        ("a b.wav", ("x",), "a b.wav"),
        ("ü.wav", ("y",), "ü.wav"),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("thing,label\na,x\n", r"has columns thing, label but needs path"),
        ("path,lable\na.wav,x\n", r"needs label \(or labels\); should 'lable' be 'label'\?"),
        ("path,label\n", "has a header but no rows"),
        ("path,label\na.wav,x\ngone.wav,y\n", "1 of 2 files do not exist, first 'gone.wav' in line 3"),
        ("path,label\na.wav,x\na.wav,y\n", "lists 'a.wav' twice, in lines 2 and 3"),
        ("path,label,start_s\na.wav,x,soon\n", "line 2: start_s 'soon' is not a number"),
        ("path,label,start_s,end_s\na.wav,x,3,2\n", "line 2: end_s 2 is not after start_s 3"),
    ],
)
def test_bad_csv_is_refused(tmp_path, text, sentence):
    touch(tmp_path, "a.wav")
    write_csv(tmp_path, text)
    with pytest.raises(InputError, match=sentence) as caught:
        index(tmp_path)
    assert "\n" not in str(caught.value)


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        index(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no audio files"):
        index(tmp_path)
    touch(tmp_path, "loose.wav")
    with pytest.raises(InputError, match=r"are not in a class folder and have no label, such as loose.wav"):
        index(tmp_path)
    write_csv(tmp_path, "path,label\n")
    write_csv(tmp_path, "path,label\n", name="other.csv")
    with pytest.raises(InputError, match="has 2 CSV files"):
        index(tmp_path)


def test_corpora_are_found_by_name():
    assert {"folder", "irmas", "general_midi"} <= set(corpus_names())
    with pytest.raises(InputError, match="Unknown corpus 'irmass': did you mean 'irmas'"):
        find_corpus("irmass")
