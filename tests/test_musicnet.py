"""MusicNet in its real layout: segments, their labels, and compositions that are in both official parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_audio import InputError, LabelSpace
from hf_audio.corpora import musicnet
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.splits.assigning import assign_splits

PIANO, HARPSICHORD, VIOLIN, VIOLA, CELLO, CONTRABASS, HORN, OBOE, BASSOON, CLARINET, FLUTE = musicnet.INSTRUMENTS
QUARTET = (VIOLIN, VIOLA, CELLO)
WINDS = (CLARINET, HORN, BASSOON)
# Number of compositions in the corpus per set of instruments.
COMPOSITIONS = {
    (PIANO,): 59, QUARTET: 24, (PIANO, VIOLIN, CELLO): 5, (PIANO, *QUARTET): 2, (PIANO, *QUARTET, CONTRABASS): 1,
    (PIANO, VIOLIN): 8, (PIANO, CELLO): 3, (PIANO, CLARINET): 1, (VIOLIN,): 3, (CELLO,): 2, (FLUTE,): 1,
    (VIOLIN, HARPSICHORD): 1, (CLARINET, *QUARTET): 1, WINDS: 2, (FLUTE, OBOE, *WINDS): 3, (PIANO, VIOLIN, HORN): 1,
    (CLARINET, CELLO, PIANO): 1, (OBOE, *WINDS): 1, (FLUTE, *WINDS, *QUARTET, CONTRABASS): 1,
}  # fmt: skip
# composition and instruments of three test recordings; the first two compositions are in training too
TESTED = ((0, (PIANO,)), (60, QUARTET), (500, (PIANO, VIOLIN)))
METADATA = "id,composer,composition,movement,ensemble,source,transcriber,catalog_name,seconds\n"
Note = tuple[float, float, int]


def write_recording(root: Path, number: int, notes: list[Note], part: str = "train") -> None:
    """An empty recording and its notes, each `(start_s, end_s, MIDI program)`."""
    for kind in ("data", "labels"):
        (root / f"{part}_{kind}").mkdir(parents=True, exist_ok=True)
    rows = [
        f"{round(a * 44_100)},{round(b * 44_100)},{program},60,0.0,0.25,Dotted Quarter\n" for a, b, program in notes
    ]
    header = "start_time,end_time,instrument,note,start_beat,end_beat,note_value\n"
    (root / f"{part}_labels" / f"{number}.csv").write_text(header + "".join(rows))
    (root / f"{part}_data" / f"{number}.wav").touch()


def make_tree(root: Path, compositions=COMPOSITIONS, tested=TESTED, duration_s: float = 8.0) -> Path:
    """One recording per composition, and the test recordings."""
    numbered = enumerate(programs for programs, count in compositions.items() for _ in range(count))
    rows = []
    for part, recordings in (("train", numbered), ("test", tested)):
        for composition, programs in recordings:
            number = 1727 + composition + (2000 if part == "test" else 0)
            write_recording(root / "musicnet", number, [(0.0, duration_s, program) for program in programs], part)
            rows.append(f'{number},Bach,"WTK I, No {composition}",2. Fugue,Trio,Archive,site.de,OP{composition},8\n')
    (root / "musicnet_metadata.csv").write_text(METADATA + "".join(rows), encoding="utf-8")
    return root


def label_space(clips) -> LabelSpace:
    found = {label for clip in clips for label in clip.labels}
    names = [name for name in musicnet.CARD.label_names if name in found]
    return LabelSpace.of_clips(index_of(clips), names=names, problem_type=musicnet.CARD.problem_type)


def test_a_segment_has_the_instruments_that_sound_in_a_tenth_of_it(tmp_path):
    write_recording(
        tmp_path, 1,
        [(0.0, 12.0, PIANO), (9.5, 10.4, VIOLIN), (18.0, 18.6, VIOLIN), (18.3, 19.3, VIOLIN), (22.0, 33.0, CELLO)],
    )  # fmt: skip
    for number in (2, 3, 4):  # instruments of a single composition would be left out
        write_recording(tmp_path, number, [(0.0, 16.0, PIANO), (0.0, 8.0, VIOLIN), (8.0, 16.0, CELLO)])
    clips = {clip.clip_id: clip for clip in list(rows_of(musicnet.index(tmp_path)))}
    found = {name: (clip.start_s, clip.end_s, set(clip.labels)) for name, clip in clips.items() if "/1.wav" in name}
    assert found == {
        "train_data/1.wav#0-10": (0.0, 10.0, {"piano"}),  # half a second of violin is too little
        "train_data/1.wav#10-20": (10.0, 20.0, {"piano", "violin"}),  # overlapping notes count once: 0.4 + 1.3 s
        "train_data/1.wav#20-30": (20.0, 30.0, {"cello"}),
    }, "3 s at the end are less than half a segment"
    assert clips["train_data/2.wav#10-16"].labels == ("piano", "cello")
    assert Path(clips["train_data/2.wav#0-10"].path).is_file() and clips["train_data/2.wav#0-10"].split == "train"


def test_the_official_test_split_is_kept_although_it_shares_compositions(tmp_path, caplog):
    clips = list(rows_of(musicnet.index(make_tree(tmp_path))))
    assert "2 compositions of MusicNet's official test split are also in training" in caplog.text
    assert "fewer than 4 compositions with contrabass, harpsichord: left out" in caplog.text
    groups = {clip.clip_id: clip.group for clip in clips}
    assert groups["train_data/1727.wav#0-8"] == "train/Bach: WTK I, No 0 OP0"
    assert groups["test_data/3727.wav#0-8"] == "test/Bach: WTK I, No 0 OP0"
    assert groups["train_data/1728.wav#0-8"] == "Bach: WTK I, No 1 OP1"
    assert groups["test_data/4227.wav#0-8"] == "Bach: WTK I, No 500 OP500"
    split = list(rows_of(assign_splits(index_of(clips), label_space(clips))))
    assert {Path(clip.path).stem for clip in split if clip.split == "test"} == {"3727", "3787", "4227"}
    validated = {label for clip in split if clip.split == "validation" for label in clip.labels}
    assert validated == set(musicnet.INSTRUMENTS.values()) - {"contrabass", "harpsichord"}
    assert next(clip for clip in clips if clip.labels == ("piano",)).metadata == {"ensemble": "Trio"}


def test_random_split_keeps_compositions_apart(tmp_path):
    clips = list(rows_of(musicnet.index_for_random_split(make_tree(tmp_path))))
    assert {clip.split for clip in clips} == {None}
    split_of = {
        Path(clip.path).stem: clip.split for clip in list(rows_of(assign_splits(index_of(clips), label_space(clips))))
    }
    assert set(split_of.values()) == {"train", "validation", "test"}
    assert split_of["1727"] == split_of["3727"] and split_of["1787"] == split_of["3787"]


def test_partial_layouts_warn(tmp_path, caplog):
    root = make_tree(tmp_path / "größer als nötig", {(PIANO,): 6}, ())
    (root / "musicnet/train_data/1727.wav").unlink()
    (root / "musicnet_metadata.csv").unlink()
    clips = list(rows_of(musicnet.index(root)))
    assert "is partial: 5 of 6 recordings have audio" in caplog.text
    assert "has no musicnet_metadata.csv, so each movement counts as a composition" in caplog.text
    assert [clip.group for clip in clips][:1] == ["recording 1728"]


def notes_of(root: Path) -> Path:
    return root / "musicnet/train_labels/1727.csv"


HEADER = "start_time,end_time,instrument,note\n"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda root: (root / "musicnet").rename(root / ".hidden"),
            r"does not contain MusicNet; expected train_data/1727.wav",
        ),
        (lambda root: (root / "musicnet/train_data").rename(root / "x"), "has 5 tables of notes but no audio for"),
        (lambda root: notes_of(root).write_text("start_time,note\n1,2\n"), "but needs start_time, end_time, instrum"),
        (lambda root: notes_of(root).write_text(HEADER), "1727.csv has no notes; unpack"),
        (lambda root: notes_of(root).write_text(HEADER + "44100,22050,1,60\n"), "line 2: '44100' to '22050' by '1' is"),
        (lambda root: notes_of(root).write_text(HEADER + "0,22050,piano,60\n"), "is not a note; expected samples"),
        (
            lambda root: notes_of(root).write_text(HEADER + "0,22050,2,60\n"),
            r"MIDI program 2 is not one of .*\(1 piano",
        ),
        (lambda root: (root / "musicnet_metadata.csv").write_text("id\n1\n"), "but needs id, composer, composition"),
        (
            lambda root: [path.unlink() for path in sorted(root.rglob("*.wav"))[3:]],
            "has 3 compositions of MusicNet, but a split by composition needs 4 .* unpack more of",
        ),
    ],
)
def test_bad_layouts_get_one_sentence(tmp_path, damage, sentence):
    root = make_tree(tmp_path, {(PIANO,): 5}, ())
    damage(root)
    with pytest.raises(InputError, match=sentence) as caught:
        musicnet.index(root)
    assert "\n" not in str(caught.value)
