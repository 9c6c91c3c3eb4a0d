"""Arrow files of save_to_disk and of the cache of `datasets` are read in part, from disk and from the Hub."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import DatasetDict
from small_datasets import as_dataset, gtzan_like, tone, write
from sound_containers import arrow_bytes
from test_datasets_as_corpora import read, refused

from hf_audio import DataConfig, FeatureConfig
from hf_audio.data.recordings.arrow_streams import stream_batches
from hf_audio.data.recordings.containers import sounds
from hf_audio.data.recordings.hub_files import open_container
from hf_audio.errors import InputError
from hf_audio.preparation import build_corpus_features

NOISE = [np.random.default_rng(number).bytes(100_000 + number) for number in range(20)]


@pytest.fixture
def saved(tmp_path):
    made = as_dataset(gtzan_like())
    splits = {"train": made.select(range(8)).flatten_indices(), "test": made.select(range(8, 12)).flatten_indices()}
    DatasetDict(splits).save_to_disk(tmp_path / "saved", num_shards={"train": 2, "test": 1})
    return tmp_path / "saved"


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("json", [True, False])
def test_an_uploaded_save_to_disk_folder_reads_as_on_disk(hub, saved, json):
    files = {name: content for name, content in files_of(saved).items() if json or name.endswith(".arrow")}
    commit = hub.create("datasets", f"alice/saved-{json}", files, private=True).resolve().oid
    token = hub.token("alice")
    clips, found = read(f"alice/saved-{json}", token=token)
    on_disk, of_disk = read(saved)
    facts = [(clip.clip_id, clip.labels, clip.group, clip.split, clip.audio_row) for clip in on_disk]
    assert [(clip.clip_id, clip.labels, clip.group, clip.split, clip.audio_row) for clip in clips] == facts
    assert found.card.label_names == of_disk.card.label_names and found.card.revision == commit
    opened = partial(open_container, token=token)
    for place, tones in ((clips[0].path, range(4)), (clips[-1].path, range(8, 12))):
        held = {row: sound.read() for row, sound in sounds(place, "audio", [3, 0], opened)}
        assert held == {0: tone(tones[0]), 3: tone(tones[3])}


def test_features_of_an_uploaded_folder_equal_those_from_disk(hub, saved, tmp_path):
    hub.create("datasets", "alice/features", files_of(saved))
    tables = []
    for number, source in enumerate(("alice/features", str(saved))):
        data = DataConfig(dataset=source, validation_fraction=0, num_workers=1)
        folder = build_corpus_features(data, tmp_path / str(number), FeatureConfig(window_s=0.2))
        files = sorted(folder.glob("data/*.parquet"))
        tables.append(pa.concat_tables(map(pq.read_table, files)).sort_by("clip_id"))
    assert len(tables[0]) == 12 and tables[0].equals(tables[1])


def test_only_small_columns_are_transferred_from_the_hub(hub):
    hub.create("datasets", "alice/large", {"train-0.arrow": (content := arrow_bytes(NOISE, rows_a_batch=5))})
    hub.log.clear()
    clips, _ = read("alice/large", label_column_name=["number"])
    assert len(clips) == 20 and clips[7].clip_id == "7.wav" and clips[7].labels == ("7",)
    of_file = [one for one in hub.log.requests if one.origin == "storage"]
    assert sum(one.sent for one in of_file) < 0.15 * len(content) and len(of_file) < 20


def test_too_large_columns_are_refused_with_their_number_of_rows(hub, monkeypatch):
    monkeypatch.setattr("hf_audio.corpora._dataset.rows.MAX_BYTES", 200)
    hub.create("datasets", "alice/much", {"train-0.arrow": arrow_bytes(NOISE, rows_a_batch=5)})
    with pytest.raises(InputError, match=r"train-0.arrow of alice/much has (5|10|15|20) rows and [\d,]+ bytes without"):
        read("alice/much", label_column_name=["number"])


class Counted(io.BytesIO):
    most = total = 0

    def read(self, size=-1):
        found = super().read(size)
        self.most, self.total = max(self.most, len(found)), self.total + len(found)
        return found


def test_a_recording_is_read_without_the_rest_of_its_batch():
    file = Counted(arrow_bytes(NOISE, rows_a_batch=20))
    [(row, sound)] = sounds("a.arrow", "audio", [13], lambda path: file)
    assert row == 13 and sound.read() == NOISE[13]
    assert file.closed and file.most < 2 * len(NOISE[13]) and file.total < 3 * len(NOISE[13])


def with_places(places):
    """A file with these offsets of its recordings instead of the right ones."""
    content = arrow_bytes([b"x" * 1_000] * 3)
    right = np.array([0, 1_000, 2_000, 3_000], np.int32).tobytes()
    assert content.count(right) == 1
    return content.replace(right, np.array(places, np.int32).tobytes())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (with_places([0, 1_000, 2_000_000, 3_000]), "is damaged .a value at 1,000 to 2,000,000 of a buffer of"),
        (with_places([0, 1_000, -5, 3_000]), "is damaged .a value at 1,000 to -5 of a buffer"),
        (with_places([0, 2_000, 1_000, 3_000]), "is damaged .a value at 2,000 to 1,000 of a buffer"),
        (arrow_bytes(NOISE)[:500_000], "is damaged .a batch of [0-9,]+ bytes, and only"),
        (arrow_bytes(NOISE)[:100], "is damaged"),
        (b"ARROW1\0\0" + bytes(3_000), "is damaged"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(300), "is damaged"),
        (b"", "is damaged"),
    ],
)
def test_damaged_and_hostile_files_are_refused(tmp_path, content, sentence):
    write(tmp_path, {"a.arrow": content})
    with pytest.raises(InputError, match=sentence) as caught:
        for _, sound in sounds(str(tmp_path / "a.arrow"), "audio", [1], open_container):
            sound.read()
    assert "\n" not in str(caught.value)


def test_compressed_batches_and_dictionaries_are_refused(tmp_path):
    table = pa.table({"audio": [b"x" * 1_000] * 9, "label": pa.array(["a"] * 9).dictionary_encode()})
    for kept, sentence in ((["audio"], "compressed batches"), (["audio", "label"], "dictionary-encoded columns")):
        file = io.BytesIO()
        with pa.ipc.new_stream(
            file, table.select(kept).schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
        ) as to:
            to.write_table(table.select(kept))
        with pytest.raises(pa.ArrowInvalid, match=f"{sentence}.*save"):
            [batch.read(batch.rows["audio"].buffers()) for batch in stream_batches(file)]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"state.json": b'{"_data_files": [{"filename": "../x.arrow"}]}'}, "lists no files in its own folder"),
        ({"state.json": b"[1]"}, "state.json of alice/hostile is not a JSON object"),
        ({"dataset_dict.json": b'{"splits": [".."]}'}, "lists no splits; save the dataset again"),
        ({"dataset_dict.json": b"{" * 9}, "dataset_dict.json of alice/hostile is not a JSON object"),
        ({"a.arrow": b""}, "a.arrow of alice/hostile is empty"),
        ({"a.arrow": b"x" * 99}, "a.arrow of alice/hostile is damaged"),
    ],
)
def test_saved_datasets_with_damaged_or_hostile_files(hub, files, sentence):
    hub.create("datasets", "alice/hostile", {"a.arrow": b"x"} | files)
    refused("alice/hostile", sentence)
