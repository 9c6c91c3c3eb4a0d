"""MedleyDB in its real layout: mixes, labels from their stems, and artists."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hf_audio import InputError, LabelSpace
from hf_audio.corpora import medleydb
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.splits.assigning import assign_splits

FRAME_S = 2048 / 44_100


def write_song(
    root: Path,
    name: str,
    artist: str,
    stems: dict[str, str | list[str]],
    active_s: dict[str, tuple[float, float]] | None,
) -> None:
    """An empty mix with its metadata and stems, and the interval of its 26 s in which each stem is active."""
    folder = root / "Audio" / name
    (folder / f"{name}_STEMS").mkdir(parents=True)
    (folder / f"{name}_MIX.wav").touch()
    for number in stems:
        (folder / f"{name}_STEMS" / f"{name}_STEM_{number[1:]}.wav").touch()
    facts = {
        "artist": artist, "genre": "Singer/Songwriter", "has_bleed": "no", "mix_filename": f"{name}_MIX.wav",
        "stems": {
            number: {"component": "", "filename": f"{name}_STEM_{number[1:]}.wav", "instrument": played, "raw": {}}
            for number, played in stems.items()
        },
    }  # fmt: skip
    (folder / f"{name}_METADATA.yaml").write_text(yaml.safe_dump(facts, allow_unicode=True), encoding="utf-8")
    if active_s is not None:
        table = root / "Annotations" / "Instrument_Activations" / "ACTIVATION_CONF" / f"{name}_ACTIVATION_CONF.lab"
        table.parent.mkdir(parents=True, exist_ok=True)
        lines = [",".join(("time", *stems))]
        for frame in range(round(26.0 / FRAME_S)):
            time_s = frame * FRAME_S
            inside = (start <= time_s < end for start, end in (active_s.get(number, (0, 0)) for number in stems))
            lines.append(",".join([f"{time_s:.4f}", *("0.9982" if on else "0.0474" for on in inside)]))
        table.write_text("\n".join(lines) + "\n")


def make_tree(root: Path, artists: int = 12, activations: bool = True) -> Path:
    """One song per artist with singer and bass; every second one has a guitar, the first one a tuba."""
    for number in range(artists):
        stems: dict[str, str | list[str]] = {"S01": "female singer", "S02": "electric bass"}
        if number % 2 == 0:
            stems["S03"] = "clean electric guitar"
        if number == 0:
            stems["S04"] = "tuba"
        active = {"S01": (0.0, 14.0), "S02": (0.0, 26.0), "S03": (12.0, 12.9), "S04": (0.0, 26.0)}
        write_song(root, f"Singer{number}_Song", f"Singer {number}", stems, active if activations else None)
    return root


def test_segments_are_labeled_with_what_is_active(tmp_path, caplog):
    root = make_tree(tmp_path / "Musik für alle")
    clips = {clip.clip_id: clip for clip in list(rows_of(medleydb.index(root)))}
    assert len(clips) == 12 * 3 and "Fewer than 5 artists in this copy of MedleyDB play tuba" in caplog.text
    assert clips["Singer0_Song_MIX.wav#0-10"].labels == ("electric bass", "female singer")
    assert clips["Singer0_Song_MIX.wav#10-20"].labels == ("electric bass", "female singer"), "too little guitar"
    last = clips["Singer0_Song_MIX.wav#20-26.01"]
    assert last.labels == ("electric bass",) and (last.start_s, last.end_s, last.split) == (20.0, 26.01, None)
    assert Path(last.path).is_file() and last.group == "artist-singer0"
    assert last.metadata == {"genre": "Singer/Songwriter", "bleed": "no"}


def test_whole_mixes_without_activations(tmp_path, caplog):
    clips = list(rows_of(medleydb.index(make_tree(tmp_path, activations=False))))
    assert "12 songs of MedleyDB have no activations, first Singer0_Song" in caplog.text
    assert [clip.clip_id for clip in clips][:2] == ["Singer0_Song_MIX.wav", "Singer10_Song_MIX.wav"]
    assert clips[0].labels == ("clean electric guitar", "electric bass", "female singer")
    assert clips[0].end_s is None
    labels = LabelSpace.of_clips(index_of(clips), None, medleydb.CARD.problem_type)
    for split in ("train", "validation", "test"):
        clips_of = [clip for clip in rows_of(assign_splits(index_of(clips), labels)) if clip.split == split]
        assert {label for clip in clips_of for label in clip.labels} == set(labels.names), split


def test_spellings_of_an_artists_name_are_one_group(tmp_path):
    make_tree(tmp_path)
    stems = {"S01": ["Female Singer", "Unlabeled"], "S02": "Main System"}
    write_song(tmp_path, "ClaraBerryAndWooldog_Boys", "Clara Berry and Wooldog", stems, None)
    write_song(tmp_path, "ClaraBerryAndWooldog_Stella", "Clara Berry & Wooldog", stems, None)
    write_song(tmp_path, "Debussy_LenfantProdigue", "NYU", stems, None)
    write_song(tmp_path, "Handel_TornamiAVagheggiar", "N.Y.U.", stems, None)
    group = {Path(clip.path).parent.name: clip.group for clip in list(rows_of(medleydb.index(tmp_path)))}
    assert group["ClaraBerryAndWooldog_Boys"] == group["ClaraBerryAndWooldog_Stella"]
    assert group["Debussy_LenfantProdigue"] == group["Handel_TornamiAVagheggiar"] != group["Singer1_Song"]
    assert {clip.labels for clip in rows_of(medleydb.index(tmp_path)) if "Clara" in clip.clip_id} == {
        ("female singer",)
    }


def test_misnamed_activations_are_found(tmp_path):
    make_tree(tmp_path)
    folder = tmp_path / "Annotations/Instrument_Activations/ACTIVATION_CONF"
    (folder / "Singer0_Song_ACTIVATION_CONF.lab").rename(folder / "Singer0_Song(Lakelot)_ACTIVATION_CONF.lab")
    (folder / "Singer1_Song_ACTIVATION_CONF.lab").rename(folder / "Singer1_-Song_ACTIVATION_CONF.lab")
    assert len(medleydb.index(tmp_path)) == 36


def test_partial_layouts_warn(tmp_path, caplog):
    make_tree(tmp_path)
    (tmp_path / "Audio/Singer3_Song/Singer3_Song_METADATA.yaml").unlink()
    assert len(medleydb.index(tmp_path)) == 33
    assert "Skipped 1 mixes of MedleyDB without metadata, first Singer3_Song" in caplog.text


def metadata_of(root: Path) -> Path:
    return root / "Audio/Singer0_Song/Singer0_Song_METADATA.yaml"


def activation_of(root: Path) -> Path:
    return root / "Annotations/Instrument_Activations/ACTIVATION_CONF/Singer0_Song_ACTIVATION_CONF.lab"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda root: (root / "Audio").rename(root / ".Audio"),
            "does not contain MedleyDB; expected Audio/LizNelson_Rainfall/",
        ),
        (lambda root: [path.unlink() for path in root.rglob("*.yaml")], "has 6 mixes of MedleyDB but no metadata"),
        (lambda root: metadata_of(root).write_text("stems: {S01: [piano"), "not metadata of MedleyDB .*get it again"),
        (lambda root: metadata_of(root).write_text("artist: A\n"), r"not metadata of MedleyDB \('stems'\); expected"),
        (lambda root: metadata_of(root).write_text("stems: [a, b]\n"), "not metadata of MedleyDB"),
        (lambda root: metadata_of(root).write_bytes(b"\xff\xfe\xff"), "not metadata of MedleyDB"),
        (
            lambda root: activation_of(root).write_text(""),
            "is not a table of activations .*or remove it to label the w",
        ),
        (lambda root: activation_of(root).write_text("time,S01\n0.0,0.1\n0.05,x\n"), "is not a table of activations"),
        (lambda root: activation_of(root).write_text("time,S01\n0.0,0.1,0.2\n"), r"expected columns time, S01"),
        (lambda root: activation_of(root).write_text("time,S01\n1.0,0.1\n0.5,0.1\n"), "with increasing times"),
        (
            lambda root: [path.unlink() for path in sorted(root.rglob("*_MIX.wav"))[4:]],
            "has songs by 4 artists of MedleyDB, but a split by artist needs 5 .* get more songs",
        ),
    ],
)
def test_bad_layouts_get_one_sentence(tmp_path, damage, sentence):
    root = make_tree(tmp_path, artists=6)
    damage(root)
    with pytest.raises(InputError, match=sentence) as caught:
        medleydb.index(root)
    assert "\n" not in str(caught.value)
