"""Any audio dataset, of the Hub or of a disk, becomes an index."""

from __future__ import annotations

import pytest
from datasets import ClassLabel, List, Value
from small_datasets import GENRES, dataset, gtzan_like, parquet, sound, write

from hf_audio.corpora._dataset import DatasetReading, find_dataset, read_dataset
from hf_audio.data.index.table import rows_of
from hf_audio.errors import InputError


def read(source, revision=None, token=None, **reading):
    found = read_dataset(find_dataset(str(source), token, revision), DatasetReading(**reading))
    return list(rows_of(found.clips)), found


def refused(source, sentence, **reading):
    with pytest.raises(InputError, match=sentence) as caught:
        read(source, **reading)
    assert "\n" not in str(caught.value)


def test_one_split_with_a_class_label_on_the_hub(hub):
    made = gtzan_like()
    repo = hub.create(
        "datasets",
        "alice/gtzan",
        {
            "data/train-00000-of-00002.parquet": parquet(made, 0, 7),
            "data/train-00001-of-00002.parquet": parquet(made, 7),
            "README.md": b"---\nlicense: cc-by-4.0\npretty_name: Genres\n---\n# Genres\n",
        },
    )
    clips, found = read("alice/gtzan")
    commit = repo.resolve().oid
    address = f"hf://datasets/alice/gtzan@{commit}/data/train-0000"
    assert [clip.clip_id for clip in clips[:2]] == ["blues.00000.wav", "jazz.00001.wav"]
    assert clips[0].recording == (f"{address}0-of-00002.parquet", 0, "audio")
    assert clips[11].recording == (f"{address}1-of-00002.parquet", 4, "audio")
    assert [clip.labels for clip in clips[:3]] == [("blues",), ("jazz",), ("rock",)]
    assert all(clip.split is None and clip.metadata == {} for clip in clips)
    card = found.card
    assert (card.name, card.licence, card.may_redistribute) == ("Genres", "cc-by-4.0", True)
    assert (card.source, card.revision, card.label_names) == ("alice/gtzan", commit, tuple(GENRES))
    paragraph = found.understanding.paragraph()
    for told in (
        commit[:10],
        "column audio",
        "column genre (3 classes)",
        "NO column says",
        "blues 4",
        "column of paths",
    ):
        assert told in paragraph
    assert not found.understanding.groups_known


def test_local_parquet_with_splits_groups_and_typed_metadata(tmp_path):
    made = dataset(
        {"label": Value("string"), "speaker_id": Value("int32"), "age": Value("float32"), "ok": Value("bool")},
        label=["yes", "no"] * 4,
        speaker_id=[1, 1, 2, 2, 3, 3, 4, 4],
        age=[30.0, None] * 4,
        ok=[True, False] * 4,
    )
    write(
        tmp_path,
        {
            "data/train-00000-of-00001.parquet": parquet(made, 0, 6),
            "data/test-00000-of-00001.parquet": parquet(made, 6),
        },
    )
    clips, found = read(tmp_path)
    assert [clip.split for clip in clips] == ["train"] * 6 + ["test"] * 2
    assert [clip.group for clip in clips] == list("11223344")
    assert clips[0].metadata == {"age": 30.0, "ok": "true"} and clips[1].metadata == {"ok": "false"}
    assert found.understanding.groups == "column speaker_id (4 groups)" and found.understanding.groups_known
    assert not found.card.may_redistribute and found.card.licence == "unknown"
    assert str(tmp_path) not in found.understanding.paragraph()


def test_several_labels_and_a_mask(tmp_path):
    made = dataset(
        {"labels": List(ClassLabel(names=GENRES)), "mask": List(Value("bool"))},
        labels=[[0], [0, 2], []],
        mask=[[True, True, False], [True, False, True], [True, True, True]],
    )
    write(tmp_path, {"train.parquet": parquet(made)})
    clips, _ = read(tmp_path)
    assert [clip.labels for clip in clips] == [("blues",), ("blues", "rock"), ()]
    assert [clip.unknown for clip in clips] == [("rock",), ("jazz",), ()]


def test_two_sounds_ask_for_a_flag(tmp_path):
    from datasets import Audio

    made = dataset({"other": Audio(), "label": Value("string")}, other=[sound(9)], label=["a"])
    write(tmp_path, {"train.parquet": parquet(made)})
    refused(tmp_path, "2 columns with sound .audio, other.; choose one, e.g. --audio_column_name audio")
    clips, _ = read(tmp_path, audio_column_name="other")
    assert clips[0].audio_field == "other" and clips[0].clip_id == "9.wav"
