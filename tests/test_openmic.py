"""OpenMIC-2018 in its real layout: labels that are present, absent or unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_audio import InputError, LabelSpace
from hf_audio.corpora import openmic
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.splits.assigning import assign_splits

# sample key, split, artist, relevance of the annotated instruments
CLIPS = [
    ("000046_3840", "train", "4", {"clarinet": 0.17105, "flute": 0.0, "trumpet": 0.9}),
    ("000135_483840", "train", "52", {"flute": 0.5, "voice": 1.0}),
    ("000139_119040", "train", "52", {"flute": 0.7}),
    ("000141_153600", "train", "54", {"trumpet": 1.0, "voice": 0.49999}),
    ("000144_30720", "train", "55", {"voice": 0.8, "trumpet": 0.6, "flute": 0.9}),
    ("000178_3840", "test", "60", {"clarinet": 0.9, "voice": 0.8}),
    ("000308_61440", "test", "4", {"clarinet": 0.9}),
]


def make_tree(root: Path, clips=CLIPS) -> Path:
    """The contents of openmic-2018-v1.0.0.tgz without VGGish features and individual responses."""
    base = root / "openmic-2018"
    (base / "partitions").mkdir(parents=True)
    rows = ["sample_key,instrument,relevance,num_responses\n"]
    metadata = ["track_id,album_title,artist_id,artist_name,sample_key,start_time\n"]
    for key, _, artist, heard in clips:
        audio = base / "audio" / key[:3] / f"{key}.ogg"
        audio.parent.mkdir(parents=True, exist_ok=True)
        audio.touch()
        rows += [f"{key},{instrument},{relevance},3\n" for instrument, relevance in heard.items()]
        metadata.append(f'{int(key[:6])},"Loud, live",{artist},"The ""Band""",{key},3.84\n')
    (base / openmic.LABELS).write_text("".join(rows))
    (base / openmic.METADATA).write_text("".join(metadata))
    for split in ("train", "test"):
        keys = [key for key, of, _, _ in clips if of == split]
        (base / "partitions" / f"split01_{split}.csv").write_text("\n".join(keys) + "\n")
    return root


def test_labels_are_present_absent_or_unknown(tmp_path, caplog):
    clips = {clip.clip_id: clip for clip in list(rows_of(openmic.index(make_tree(tmp_path))))}
    first = clips["audio/000/000046_3840.ogg"]
    assert first.labels == ("trumpet",) and first.unknown == ("voice",), "flute is known to be absent"
    assert clips["audio/000/000135_483840.ogg"].labels == ("flute", "voice"), "0.5 counts as present"
    quiet = clips["audio/000/000141_153600.ogg"]
    assert quiet.labels == ("trumpet",) and quiet.unknown == ("flute",), "voice is known to be absent"
    assert {clip.split for clip in clips.values()} == {"train", "test"}


def test_instruments_without_training_clips_are_dropped(tmp_path, caplog):
    clips = list(rows_of(openmic.index(make_tree(tmp_path))))
    assert "no training clips with accordion" in caplog.text
    names = {name for clip in clips for name in (*clip.labels, *clip.unknown)}
    assert names == {"flute", "trumpet", "voice"}, "the clarinet is in test clips only"
    assert "audio/000/000308_61440.ogg" not in {clip.clip_id for clip in clips}, "no label of it is left"


def test_groups_are_artists_where_the_split_keeps_them_apart(tmp_path):
    root = make_tree(tmp_path)
    groups = {Path(clip.path).stem: clip.group for clip in list(rows_of(openmic.index(root)))}
    assert groups["000135_483840"] == groups["000139_119040"] == "artist-52"
    assert groups["000046_3840"] == "track-000046", "artist 4 is on both sides"
    clips = list(rows_of(openmic.index(root)))
    labels = LabelSpace.of_clips(index_of(clips), ["flute", "trumpet", "voice"], openmic.CARD.problem_type)
    split = list(rows_of(assign_splits(index_of(clips), labels, validation_fraction=0.5)))
    assert [Path(clip.path).stem for clip in split if clip.split == "test"] == ["000178_3840"]
    assert all(clip.unknown == before.unknown for clip, before in zip(split, clips, strict=True))
    (root / "openmic-2018" / openmic.METADATA).unlink()
    assert {clip.group for clip in list(rows_of(openmic.index(root)))} == {f"track-{key[:6]}" for key, *_ in CLIPS[:6]}


def test_partial_layout_warns(tmp_path, caplog):
    root = make_tree(tmp_path)
    (root / "openmic-2018/audio/000/000139_119040.ogg").unlink()
    assert len(openmic.index(root)) == 5
    assert "is partial: it has 6 of 7 clips" in caplog.text


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda base: (base / openmic.LABELS).unlink(), "does not contain OpenMIC-2018; expected openmic-2018 with"),
        (lambda base: (base / "partitions/split01_test.csv").unlink(), "split01_test.csv is missing"),
        (lambda base: (base / "audio").rename(base / "sounds"), "has no audio for its 7 clips"),
        (
            lambda base: (base / openmic.LABELS).write_text("sample_key,instrument,relevance\na_0,flut,1\n"),
            "instrument in .* line 2 'flut': did you mean 'flute'",
        ),
        (
            lambda base: (base / openmic.LABELS).write_text("sample_key,instrument,relevance\na_0,flute,yes\n"),
            "line 2: relevance 'yes' is not a number",
        ),
    ],
)
def test_bad_layouts_get_one_sentence(tmp_path, damage, sentence):
    damage(make_tree(tmp_path) / "openmic-2018")
    with pytest.raises(InputError, match=sentence):
        openmic.index(tmp_path)
