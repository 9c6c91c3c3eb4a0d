"""NSynth in its real layout, whole and partial, and the peculiarities of its official split."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from pathlib import Path

import pytest

from hf_audio import InputError, LabelSpace
from hf_audio.corpora import nsynth
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.splits.assigning import assign_splits

FIRST_INSTRUMENT = {"nsynth-train": 0, "nsynth-valid": 100, "nsynth-test": 100}  # validation and test share instruments


def entry(family: str, instrument: str, pitch: int) -> dict:
    """The entry of a note in examples.json."""
    return {
        "note": 1000 + pitch, "note_str": f"{instrument}-{pitch:03d}-075", "instrument": 7,
        "instrument_str": instrument, "pitch": pitch, "velocity": 75, "sample_rate": 16000, "qualities": [0] * 10,
        "qualities_str": [], "instrument_family": 0, "instrument_family_str": family, "instrument_source": 0,
        "instrument_source_str": "acoustic",
    }  # fmt: skip


def make_tree(root: Path, parts=tuple(nsynth.PARTS), families=nsynth.FAMILIES) -> Path:
    """Notes of two instruments per family in each part; synth_lead is in training only."""
    for number, part in enumerate(parts):
        (root / part / "audio").mkdir(parents=True)
        examples = {}
        for family in families:
            if family == "synth_lead" and part != "nsynth-train":
                continue
            for instrument in range(2 if part != "nsynth-train" else 6):
                name = f"{family}_acoustic_{FIRST_INSTRUMENT[part] + instrument:03d}"
                for pitch in (60 + number, 70 + number):
                    note = entry(family, name, pitch)
                    examples[note["note_str"]] = note
                    (root / part / "audio" / f"{note['note_str']}.wav").touch()
        (root / part / "examples.json").write_text(json.dumps(examples))
    return root


def test_official_split(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        clips = list(rows_of(nsynth.index(make_tree(tmp_path))))
    assert Counter(clip.split for clip in clips) == {"train": 132, "validation": 40, "test": 40}
    assert "has no notes of synth_lead" in caplog.text
    assert "validation and test share 20 instruments; training has none of them" in caplog.text
    assert {clip.labels[0] for clip in clips} == set(nsynth.FAMILIES)
    by_id = {clip.clip_id: clip for clip in clips}
    note = by_id["nsynth-train/audio/bass_acoustic_000-060-075.wav"]
    assert Path(note.path).is_file() and note.labels == ("bass",) and note.group == "bass_acoustic_000"
    assert note.metadata == {"source": "acoustic", "pitch": 60, "velocity": 75}
    labels = LabelSpace.of_clips(index_of(clips), nsynth.CARD.label_names, nsynth.CARD.problem_type)
    assert list(rows_of(assign_splits(index_of(clips), labels))) == clips, (
        "the official split is kept, and no group is in two parts"
    )


def test_random_split_keeps_every_instrument_in_one_part(tmp_path):
    clips = list(rows_of(nsynth.index_for_random_split(make_tree(tmp_path))))
    labels = LabelSpace.of_clips(index_of(clips), nsynth.CARD.label_names, nsynth.CARD.problem_type)
    splits = {}
    for clip in list(rows_of(assign_splits(index_of(clips), labels))):
        splits.setdefault(clip.metadata["source"] + Path(clip.path).name.partition("-")[0], set()).add(clip.split)
    assert {len(found) for found in splits.values()} == {1}
    assert {split for name, found in splits.items() if "synth_lead" in name for split in found} >= {"train", "test"}


def test_partial_layouts_warn(tmp_path, caplog):
    root = make_tree(tmp_path / "eine Platte äöü", parts=("nsynth-test", "nsynth-train"))
    (root / "nsynth-test/audio/bass_acoustic_100-060-075.wav").unlink()
    assert len(nsynth.index(root)) == 39 + 132
    assert (
        "no nsynth-valid" in caplog.text and "This copy of nsynth-test is partial: it has 39 of 40 notes" in caplog.text
    )
    assert {clip.split for clip in list(rows_of(nsynth.index(root / "nsynth-test")))} == {"test"}


def damage_entry(table: Path, **changes) -> None:
    examples = json.loads(table.read_text())
    first = next(iter(examples.values()))
    first.update(changes)
    for key in [key for key, value in changes.items() if value is None]:
        del first[key]
    table.write_text(json.dumps(examples))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda table: table.unlink(), "does not contain NSynth; expected nsynth-train, nsynth-valid and nsynth-test"),
        (
            lambda table: table.write_bytes(table.read_bytes()[:-40]),
            "examples.json is not valid JSON.*unpack nsynth-tr",
        ),
        (lambda table: table.write_bytes(b"\xff\xfe{}"), "examples.json is not valid JSON"),
        (lambda table: table.write_text("[1, 2]"), "must contain a JSON object"),
        (lambda table: table.write_text('{"a": 1}'), "is not a table of NSynth's notes"),
        (lambda table: shutil.rmtree(table.parent / "audio"), "lists 12 notes but .*audio has none"),
        (lambda table: damage_entry(table, pitch=None), "has no pitch for bass_acoustic_000-060-075; expected"),
        (
            lambda table: damage_entry(table, instrument_family_str="brss"),
            "instrument family of bass_acoustic_000-060-075 in .* 'brss': did you mean 'brass'",
        ),
    ],
)
def test_bad_layouts_get_one_sentence(tmp_path, damage, sentence):
    root = make_tree(tmp_path, parts=("nsynth-train",), families=("bass",))
    damage(root / "nsynth-train/examples.json")
    with pytest.raises(InputError, match=sentence) as caught:
        nsynth.index(root)
    assert "\n" not in str(caught.value)
