"""Corrections of labels: how they are read, how they change clips, classes and the card, and what is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from corpus_trees import openmic_tree, write_sound

from hf_audio import Clip, DataConfig, InputError, LabelSpace, build_corpus_features, corpus_clips, read_clip_labels
from hf_audio.data.index.label_overrides import correct_labels
from hf_audio.data.index.table import index_of, rows_of

SINGLE, MULTI = "single_label_classification", "multi_label_classification"


def clip(name: str, *labels: str, split: str = "train", unknown: tuple[str, ...] = ()) -> Clip:
    return Clip(Path(name), labels, name, name, split=split, unknown=unknown)


def table(folder: Path, text: str) -> Path:
    path = folder / "overrides.csv"
    path.write_text(text, encoding="utf-8")
    return path


BAND = [
    clip("a/1.wav", "flute"),
    clip("a/2.wav", "flute", "guitar", unknown=("voice",)),
    clip("a/3.wav", "guitar", unknown=("flute",)),
    clip("a/4.wav", "voice"),
    clip("a/5.wav", "guitar", split="test"),
]
BAND_LABELS = LabelSpace(("voice", "flute", "guitar"), MULTI)
ORCHESTRA = [clip("1.wav", "tuba"), clip("2.wav", "tuba"), clip("3.wav", "oboe"), clip("4.wav", "oboe", split="test")]
ORCHESTRA_LABELS = LabelSpace(("oboe", "tuba"), SINGLE)


@pytest.mark.parametrize(
    "text",
    [
        "clip_id,label,reason\na.wav,oboe,heard\nb.wav,-,noise\n",
        "\ufeffclip_id;label\r\na.wav;oboe\r\n\r\nb.wav; - \r\n",
        "label\tclip_id\noboe\ta.wav\n-\tb.wav\n",
    ],
    ids=["commas", "spreadsheet", "tabs"],
)
def test_tables_as_people_write_them(tmp_path, text):
    found = read_clip_labels(table(tmp_path, text))
    assert found["a.wav"].labels == ("oboe",) and found["a.wav"].unknown is None
    assert found["b.wav"].is_left_out and list(found) == ["a.wav", "b.wav"]


def test_several_labels_none_and_unknown(tmp_path):
    found = read_clip_labels(table(tmp_path, "clip_id,labels,unknown\na,flute; voice,\nb,,guitar;flute\n"))
    assert found["a"].labels == ("flute", "voice") and found["a"].unknown == ()
    assert found["b"].labels == () and found["b"].unknown == ("guitar", "flute")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "overrides.csv cannot be read: No such file"),
        ("clip_id,label\n", "has no rows"),
        ("clip,label\na,b\n", "has columns clip, label but needs clip_id"),
        ("clip_id,class\na,b\n", "has columns clip_id, class but needs clip_id and label or labels"),
        ("clip_id,label\na,b\na,c\n", "line 3: clip 'a' appears twice"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, text, sentence):
    path = table(tmp_path, text) if text is not None else tmp_path / "overrides.csv"
    with pytest.raises(InputError, match=sentence):
        read_clip_labels(path)


def test_unknown_labels_stay_unknown_unless_the_table_says_otherwise(tmp_path):
    text = "clip_id,labels\na/2.wav,guitar;voice\na/3.wav,guitar;voice\n"
    clips = correct_labels(index_of(BAND), BAND_LABELS, table(tmp_path, text)).clips
    clips = list(rows_of(clips))
    assert clips[1].labels == ("guitar", "voice") and clips[1].unknown == (), "voice is known now"
    assert clips[2].unknown == ("flute",)
    text = "clip_id,labels,unknown\na/3.wav,,voice\n"
    clips = correct_labels(index_of(BAND), BAND_LABELS, table(tmp_path, text)).clips
    clips = list(rows_of(clips))
    assert clips[2].labels == () and clips[2].unknown == ("voice",)
    assert [one.split for one in clips] == [one.split for one in BAND]


def test_new_classes_come_last_and_empty_classes_are_removed(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    text = """clip_id,labels,unknown
a/2.wav,flute;acoustic,voice
a/3.wav,acoustic,flute
a/5.wav,electric;acoustic,
a/1.wav,electric,guitar
a/4.wav,electric;voice,
"""
    corrected = correct_labels(index_of(BAND), BAND_LABELS, table(tmp_path, text))
    assert corrected.labels == LabelSpace(("voice", "flute", "acoustic", "electric"), MULTI)
    assert corrected.clips["unknown"][0].as_py() == [], "a class that was removed cannot be unknown"
    assert corrected.note == "Labels of 5 clips corrected (1 of them test)."
    assert "new classes: acoustic, electric" in caplog.text and "No clips of guitar are left" in caplog.text


def test_clips_are_excluded_and_rows_that_change_nothing_do_not_count(tmp_path):
    text = "clip_id,label\n1.wav,oboe\n2.wav,tuba\n4.wav,-\n"
    corrected = correct_labels(index_of(ORCHESTRA), ORCHESTRA_LABELS, table(tmp_path, text))
    assert [(one.clip_id, one.labels[0]) for one in rows_of(corrected.clips)] == [
        ("1.wav", "oboe"),
        ("2.wav", "tuba"),
        ("3.wav", "oboe"),
    ]
    assert corrected.note == ("Labels of 1 clips corrected (0 of them test), 1 clips left out (1 of them test).")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("clip_id,label\n1.wav,obo\n", "1 training clips a class 'obo', .*: did you mean 'oboe'.*needs 2 training"),
        ("clip_id,label\n1.wav,Tuba\n2.wav,Tuba\n", "2 training clips a class 'Tuba', .*: did you mean 'tuba'"),
        ("clip_id,label\n4.wav,harp\n", "0 training clips a class 'harp', .*: there are oboe, tuba"),
        (
            "clip_id,label\nx/2.wav,oboe\n9.wav,oboe\n",
            "names 2 of 2 clips that .*first 'x/2.wav': did you mean '2.wav'",
        ),
        ("clip_id,label\n1.wav,\n", "gives clip '1.wav' 0 labels, but every clip of this corpus has exactly one"),
        ("clip_id,labels\n1.wav,oboe;tuba\n", "gives clip '1.wav' 2 labels, but every clip"),
        ("clip_id,label,unknown\n1.wav,oboe,tuba\n", "1 labels and unknown classes, but every clip"),
    ],
)
def test_bad_corrections_are_refused(tmp_path, text, sentence):
    with pytest.raises(InputError, match=sentence):
        correct_labels(index_of(ORCHESTRA), ORCHESTRA_LABELS, table(tmp_path, text))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("recordings")
    for number, name in enumerate(("bell", "flute", "tuba")):
        for take in range(6):
            write_sound(root / name / f"{take}.wav", 0.4, take, [200.0 * 3**number], 16_000)
    return root


def test_splits_stay_the_same_and_the_card_names_the_corrections(recordings, tmp_path):
    before = corpus_clips(DataConfig(data_dir=str(recordings)))
    train = [one.clip_id for one in rows_of(before.clips) if one.split == "train" and one.labels == ("bell",)]
    test = next(one.clip_id for one in rows_of(before.clips) if one.split == "test" and one.labels == ("flute",))
    rows = "".join(f"{name},gong\n" for name in train[:2])
    path = table(tmp_path, f"clip_id,label\n{rows}{test},tuba\n")
    data = DataConfig(data_dir=str(recordings), label_overrides=str(path), num_workers=1)
    after = corpus_clips(data)
    assert {one.clip_id: one.split for one in rows_of(after.clips)} == {
        one.clip_id: one.split for one in rows_of(before.clips)
    }
    assert after.labels.names == ("bell", "flute", "tuba", "gong") and not after.labels.is_multi_label

    folder = build_corpus_features(data, tmp_path / "features")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["corpus"]["protocol"].endswith("Labels of 3 clips corrected (1 of them test).")
    assert manifest["splits"]["train"]["label_counts"]["gong"] == 2
    with pytest.raises(InputError, match=r"another build, which differs in: .*clip labels"):
        build_corpus_features(DataConfig(data_dir=str(recordings), num_workers=1), folder)
    assert read_clip_labels(folder)[test].labels == ("tuba",), "a dataset's own index can be read as such a table"


def test_partial_labels_of_a_corpus_with_its_own_class_order(tmp_path):
    root = openmic_tree(tmp_path / "openmic")
    before = corpus_clips(DataConfig(corpus="openmic", data_dir=str(root)))
    flutes = [one for one in rows_of(before.clips) if "flute" in one.labels]
    lines = [f"{one.clip_id},{';'.join({*one.labels, 'alto flute'} - {'flute'})},\n" for one in flutes]
    path = table(tmp_path, "clip_id,labels,unknown\n" + "".join(lines))
    after = corpus_clips(DataConfig(corpus="openmic", data_dir=str(root), label_overrides=str(path)))
    kept = tuple(name for name in before.labels.names if name != "flute")
    assert after.labels.names == (*kept, "alto flute")
    assert all("flute" not in (*one.labels, *one.unknown) for one in rows_of(after.clips))
