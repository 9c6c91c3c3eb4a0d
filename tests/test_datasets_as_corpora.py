"""Any audio dataset, on the Hub or on disk, becomes an index."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, DatasetDict, List, Value
from small_datasets import GENRES, as_dataset, dataset, gtzan_like, parquet, sound, tar, tone, write

from hf_audio.corpora._dataset import DatasetReading, find_dataset, read_dataset
from hf_audio.data.index.table import rows_of
from hf_audio.data.recordings.containers import sounds
from hf_audio.errors import InputError
from hf_audio.files import open_regular


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
    assert (card.name, card.license, card.may_redistribute) == ("Genres", "cc-by-4.0", True)
    assert (card.source, card.revision, card.label_names) == ("alice/gtzan", commit, tuple(GENRES))
    paragraph = found.understanding.paragraph()
    for told in (
        commit[:10],
        "column audio",
        "column genre (3 classes)",
        "NO column says",
        "blues 4",
        "column of local file paths",
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
    assert not found.card.may_redistribute and found.card.license == "unknown"
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


def test_two_audio_columns_need_a_flag(tmp_path):
    from datasets import Audio

    made = dataset({"other": Audio(), "label": Value("string")}, other=[sound(9)], label=["a"])
    write(tmp_path, {"train.parquet": parquet(made)})
    refused(tmp_path, "2 audio columns .audio, other.; choose one, e.g. --audio_column_name audio")
    clips, _ = read(tmp_path, audio_column_name="other")
    assert clips[0].audio_field == "other" and clips[0].clip_id == "9.wav"


# Layouts


def sounds_of(clips, folder=None):
    """The bytes of each clip's recording. Recordings in containers are read by our reader."""
    found = {}
    for clip in clips:
        if clip.audio_row is None:
            found[clip.clip_id] = Path(clip.path).read_bytes()
        else:
            [(_, sound)] = sounds(clip.path, clip.audio_field, [clip.audio_row], open_regular)
            found[clip.clip_id] = sound.read()
    return found


def test_a_dataset_of_save_to_disk(tmp_path):
    made = as_dataset(gtzan_like())
    DatasetDict({"train": made.select(range(8)).flatten_indices(), "test": made.select(range(8, 12))}).save_to_disk(
        tmp_path / "both", num_shards={"train": 2, "test": 1}
    )
    clips, found = read(tmp_path / "both")
    assert [clip.split for clip in clips] == ["train"] * 8 + ["test"] * 4
    assert clips[5].recording[1:] == (1, "audio") and clips[5].path.endswith("train/data-00001-of-00002.arrow")
    assert sounds_of(clips)["blues.00000.wav"] == tone(0) and sounds_of(clips)["rock.00011.wav"] == tone(11)
    assert found.understanding.class_counts == {"blues": 4, "jazz": 4, "rock": 4}
    made.save_to_disk(tmp_path / "one")
    assert len(read(tmp_path / "one")[0]) == 12
    made.select([3, 1]).save_to_disk(tmp_path / "chosen")
    (tmp_path / "one" / "state.json").write_text('{"_data_files": [{"filename": "../both/x.arrow"}]}')
    refused(tmp_path / "one", "state.json of one lists no files in its own folder")


NAMES = {"train": "abc", "test": "de"}
FACTS = {"a": ("yes", "007"), "b": ("no", "008"), "c": ("no", "008"), "d": ("yes", "9"), "e": ("no", "9")}
FOLDER = {f"{split}/{name}.wav": tone(ord(name)) for split, names in NAMES.items() for name in names}


def metadata_table(split, kind):
    lines = [
        {"file_name": f"{name}.wav", "label": FACTS[name][0], "speaker_id": FACTS[name][1]} for name in NAMES[split]
    ]
    if kind == "csv":
        return "\n".join([",".join(lines[0]), *(",".join(line.values()) for line in lines)]).encode()
    if kind == "jsonl":
        return "\n".join(map(json.dumps, lines)).encode()
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(lines), file)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_audio_files_with_metadata_beside_each_split(hub, kind):
    files = FOLDER | {f"{split}/metadata.{kind}": metadata_table(split, kind) for split in NAMES}
    commit = hub.create("datasets", "alice/folder", files).resolve().oid
    clips, found = read("alice/folder")
    assert [clip.clip_id for clip in clips] == [*FOLDER]
    assert clips[3].recording == (f"hf://datasets/alice/folder@{commit}/test/d.wav", None, None)
    assert [clip.group for clip in clips] == ["007", "008", "008", "9", "9"]
    assert [clip.split for clip in clips] == ["train"] * 3 + ["test"] * 2
    assert found.understanding.class_counts == {"no": 3, "yes": 2}
    got = {entry.path for entry in hub.log.requests if entry.method == "GET" and ".wav" in entry.path}
    assert not got, "sound must not be read"


def test_audio_files_in_class_folders(tmp_path):
    places = [f"{split}/{label}/{number}.wav" for split in NAMES for label in "xy" for number in range(2)]
    clips, found = read(write(tmp_path, {place: tone(number) for number, place in enumerate(places)}))
    assert sorted(clip.clip_id for clip in clips) == sorted(places)
    assert found.card.label_names == ("x", "y") and {clip.split for clip in clips} == {"train", "test"}


def test_webdataset(hub, tmp_path):
    members = {}
    for number in range(5):
        members[f"s/{number}.flac"] = tone(number, "FLAC")
        members[f"s/{number}.json"] = f'{{"label": "{"ab"[number % 2]}", "song": "{number // 2}"}}'.encode()
    members |= {"s/6.json": b'{"label": "a"}', "s/5.wav": tone(5), "s/5.json": b'{"label": "b", "song": "9"}'}
    other = tar({"t.flac": tone(7, "FLAC"), "t.json": b'{"label": "a", "song": "x"}'})
    files = {"train-0000.tar": tar(members), "test-0000.tar": other}
    clips, _ = read(write(tmp_path, files))
    assert [clip.clip_id for clip in clips] == ["0.flac", "1.flac", "2.flac", "3.flac", "4.flac", "5.wav", "t.flac"]
    assert [clip.audio_row for clip in clips] == [0, 1, 2, 3, 4, 0, 0] and clips[5].audio_field == "wav"
    assert [clip.group for clip in clips] == ["0", "0", "1", "1", "2", "9", "x"] and clips[6].split == "test"
    assert sounds_of(clips)["4.flac"] == tone(4, "FLAC") and sounds_of(clips)["5.wav"] == tone(5)
    hub.create("datasets", "alice/web", files)
    assert [clip.labels for clip in read("alice/web")[0]] == [clip.labels for clip in clips]


def test_webdataset_with_classes_in_separate_files(tmp_path):
    members = {}
    for number in range(4):
        members |= {f"{number}.wav": tone(number), f"{number}.cls": str(number % 2).encode()}
    clips, _ = read(write(tmp_path, {"train-0.tar": tar(members)}))
    assert [clip.labels for clip in clips] == [("0",), ("1",)] * 2
    twice = tar({"0.wav": tone(0), "0.flac": tone(0, "FLAC"), "0.cls": b"1"})
    refused(write(tmp_path / "b", {"train-0.tar": twice}), "several sounds per row .0: wav, flac.; choose one")
    chosen, _ = read(tmp_path / "b", audio_column_name=".flac")
    assert [clip.audio_field for clip in chosen] == ["flac"]
    refused(
        tmp_path / "b", "--audio_column_name mp3: the sounds of b have the suffixes flac, wav", audio_column_name="mp3"
    )
    silent = write(tmp_path / "s", {"train-0.tar": tar({"0.txt": b"a", "0.cls": b"1"})})
    refused(silent, "have no audio; expected members such as a.wav")
    refused(write(tmp_path / "c", {"train-0.tar": b"x" * 600}), "train-0.tar of c is damaged")
    bad = tar({"0.wav": tone(0), "0.json": b"[1]"})
    refused(write(tmp_path / "d", {"train-0.tar": bad}), "0.json is not a JSON object")
