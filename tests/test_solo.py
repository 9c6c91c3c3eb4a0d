"""Solo recordings: instrument folders and a list of the stretches to keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_audio import InputError, LabelSpace
from hf_audio.corpora import solo
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.splits.assigning import assign_splits

RECORDINGS = ("cello/bach.wav", "cello/élgar 2.flac", "piano/2019/satie.mp3", "piano/ravel.ogg", "violin/a.wav")


def make_tree(root: Path, cuts: str | None = None, encoding: str = "utf-8") -> Path:
    for name in RECORDINGS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "cello" / "notes.txt").touch()
    (root / "cello" / "._bach.wav").touch()
    if cuts is not None:
        (root / "cuts.csv").write_text(cuts, encoding=encoding)
    return root


def test_whole_recordings(tmp_path):
    clips = list(rows_of(solo.index(make_tree(tmp_path))))
    assert [clip.clip_id for clip in clips] == sorted(RECORDINGS) == [clip.group for clip in clips]
    assert {(clip.start_s, clip.end_s, clip.split) for clip in clips} == {(0.0, None, None)}
    assert [clip.labels[0] for clip in clips] == ["cello", "cello", "piano", "piano", "violin"]


def test_cuts_keep_several_stretches_of_a_recording(tmp_path):
    table = (
        "path,start_s,end_s,why\ncello/bach.wav,130.5,,after the applause\ncello/bach.wav,12,100,\n\n"
        "piano/2019/satie.mp3,,60,\n"
    )
    clips = {clip.clip_id: clip for clip in list(rows_of(solo.index(make_tree(tmp_path, table))))}
    assert len(clips) == 6
    first, second = clips["cello/bach.wav#12-100"], clips["cello/bach.wav#130.5-"]
    assert (first.start_s, first.end_s) == (12.0, 100.0) and (second.start_s, second.end_s) == (130.5, None)
    assert first.group == second.group == "cello/bach.wav"
    assert first.path == second.path == str(tmp_path / "cello/bach.wav")
    assert clips["piano/2019/satie.mp3#0-60"].labels == ("piano",)
    assert clips["violin/a.wav"].end_s is None, "a recording without a row is kept whole"


def test_a_spreadsheet_with_byte_order_mark_semicolons_and_decimal_commas(tmp_path):
    table = "path;start_s;end_s\r\ncello\\élgar 2.flac;1,5;30\r\n;;\r\n"
    clips = {clip.clip_id: clip for clip in list(rows_of(solo.index(make_tree(tmp_path, table, encoding="utf-8-sig"))))}
    assert (clips["cello/élgar 2.flac#1.5-30"].start_s, clips["cello/élgar 2.flac#1.5-30"].end_s) == (1.5, 30.0)


def test_stretches_of_a_recording_stay_in_one_split(tmp_path):
    rows = "".join(
        f"{label}/{number}.wav,{start},{start + 60}\n"
        for label in ("cello", "piano")
        for number in range(6)
        for start in (10, 100, 200)
    )
    for label in ("cello", "piano"):
        (tmp_path / label).mkdir()
        for number in range(6):
            (tmp_path / label / f"{number}.wav").touch()
    (tmp_path / "cuts.csv").write_text("path,start_s,end_s\n" + rows)
    clips = list(rows_of(solo.index(tmp_path)))
    split = list(
        rows_of(
            assign_splits(
                index_of(clips), LabelSpace.of_clips(index_of(clips)), test_fraction=0.2, validation_fraction=0.2
            )
        )
    )
    assert len(clips) == 36
    for group in {clip.group for clip in split}:
        assert len({clip.split for clip in split if clip.group == group}) == 1
    assert {clip.split for clip in split} == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("cello/back.wav,0,10\n", "line 2: no recording 'cello/back.wav' in .*; did you mean 'cello/bach.wav'"),
        ("violin/a.wav,0,9\ncello/bach.wav,20,10\n", "line 3: end_s 10 is not after start_s 20"),
        ("cello/bach.wav,1:30,200\n", "line 2: start_s '1:30' is not a number of seconds"),
        ("cello/bach.wav,-5,200\n", "line 2: start_s '-5' is not a number of seconds"),
        ("cello/bach.wav,nan,200\n", "line 2: start_s 'nan' is not a number of seconds"),
        ("cello/bach.wav,0,60\ncello/bach.wav,50,\n", "lines 2 and 3 overlap in cello/bach.wav"),
    ],
)
def test_bad_rows_get_one_sentence(tmp_path, rows, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        solo.index(make_tree(tmp_path, "path,start_s,end_s\n" + rows))
    assert "\n" not in str(caught.value)


def test_bad_layouts_get_one_sentence(tmp_path):
    with pytest.raises(InputError, match="has no recordings; expected a folder for each instrument"):
        solo.index(tmp_path)
    make_tree(tmp_path, "path,start,end\ncello/bach.wav,0,1\n")
    with pytest.raises(InputError, match="has columns path, start, end but needs path, start_s, end_s"):
        solo.index(tmp_path)
    (tmp_path / "loose.wav").touch()
    with pytest.raises(InputError, match=r"has loose.wav, which is not in a folder"):
        solo.index(tmp_path)
