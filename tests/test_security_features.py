"""Feature datasets of strangers: nothing but our own columns is read, and all that is wrong ends in one sentence."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hostile_features import (
    edit_index,
    edit_json,
    edit_rows,
    first_row,
    lying_flac,
    picture,
    png,
    put_on,
    shard_of,
    sound,
    with_picture,
    with_sound,
    write_shard,
)
from small_features import build_small_features
from torch.utils.data import DataLoader
from training_run import trainer_of

from hf_audio.data.features_dataset import FeatureCollator, FeatureDataset, load_features
from hf_audio.data.labels import MULTI_LABEL, SINGLE_LABEL
from hf_audio.data.picture_storage import decode_features, read_pixels
from hf_audio.data.streaming import StreamedWindows
from hf_audio.data.waveform_storage import decode_waveform
from hf_audio.errors import InputError
from hf_audio.features.classical import ClassicalFeatures
from hf_audio.features.spectrogram import Spectrogram
from hf_audio.features.waveform import Waveform

ELSEWHERE = "http://127.0.0.1:9/picture.png"


@pytest.fixture
def folder(tiny_folders, tmp_path) -> Path:
    """fbank features of one class a clip, for a test to spoil."""
    return Path(shutil.copytree(tiny_folders[SINGLE_LABEL], tmp_path / "stranger"))


@pytest.fixture
def several(tiny_folders, tmp_path) -> Path:
    """The same of several classes a clip."""
    return Path(shutil.copytree(tiny_folders[MULTI_LABEL], tmp_path / "several"))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """Features of the other kinds."""
    extractors = {
        "waveform": Waveform(),
        "spectrogram": Spectrogram(channels=("mel", "percussive"), num_mel_bins=32),
        "classical": ClassicalFeatures(),
    }
    folder = tmp_path_factory.mktemp("kinds")
    return {kind: build_small_features(folder / kind / "f", extractor=one) for kind, one in extractors.items()}


@pytest.fixture
def kinds(built, tmp_path) -> dict[str, Path]:
    """The same for a test to spoil."""
    return {kind: Path(shutil.copytree(folder, tmp_path / kind)) for kind, folder in built.items()}


def refusal(source: str | Path, **options) -> str:
    """What is said of a dataset that cannot be used; a streamed one is read to its end."""
    with pytest.raises(InputError) as caught:
        features = load_features(source, **options)
        batches_of(features)
    message = str(caught.value)
    assert "\n" not in message and "Traceback" not in message and len(message) < 900, message
    return message


def batches_of(features: FeatureDataset) -> torch.Tensor:
    collate = FeatureCollator(features.extractor, features.labels)
    return collate(list(features.splits["train"]))["input_values"]


# Whatever stands beside our columns is not looked at


def test_a_picture_at_an_address_beside_our_columns_is_never_fetched(hub, folder, tmp_path):
    address = f"{hub.endpoint}/internal/secret.png"
    table = pq.read_table(shard_of(folder))
    address_column = pa.array(
        [{"bytes": None, "path": address}] * len(table), pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    described = json.loads(table.schema.metadata[b"huggingface"])
    described["info"]["features"]["cover"] = {"_type": "Image"}
    table = table.append_column("cover", address_column)
    table = table.replace_schema_metadata({b"huggingface": json.dumps(described).encode()})
    write_shard(folder, table)
    repo = put_on(hub, "evil/cover", folder)
    for source, streaming in ((folder, False), (folder, True), (repo, False), (repo, True)):
        assert "has other columns than its manifest says: 'cover'" in refusal(source, streaming=streaming)
    assert not hub.log.matching(path="/internal/")


@pytest.mark.parametrize("streaming", [False, True])
def test_our_own_column_is_no_address_either(hub, folder, streaming):
    secret = folder / "secret.png"
    secret.write_bytes(png(38, 32))
    for path in (f"{hub.endpoint}/internal/secret.png", str(secret)):
        edit_rows(folder, first_row("features", {"bytes": None, "path": path}))
        assert "row 0 (clip" in (said := refusal(folder, streaming=streaming)) and "an empty value in features" in said
    assert not hub.log.matching(path="/internal/")


def test_nothing_that_is_read_is_decoded_by_datasets(folder, kinds):
    for source in (folder, *kinds.values()):
        for streaming in (False, True):
            row = next(iter(load_features(source, streaming=streaming).splits["train"]))
            assert all(isinstance(row.get(name, {}), dict | list) for name in ("features", "audio"))


@pytest.mark.parametrize("streaming", [False, True])
def test_card_and_scripts_of_a_repository_change_nothing(hub, folder, tmp_path, streaming):
    plain = put_on(hub, "alice/plain", folder)
    card = f"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: "{ELSEWHERE}"
dataset_info:
  features:
  - name: features
    dtype: string
  - name: cover
    dtype: image
---
"""
    script = f"import os; open({str(tmp_path / 'ran')!r}, 'w')"
    more = {"README.md": card.encode(), "card.py": script.encode(), "evil.py": script.encode()}
    more["dataset_infos.json"] = b'{"default": {"features": {"features": {"dtype": "string", "_type": "Value"}}}}'
    evil = put_on(hub, "evil/evil", folder, **more)
    one, two = (load_features(repo, streaming=streaming) for repo in (plain, evil))
    assert list(one.splits["train"]) == list(two.splits["train"])
    assert not (tmp_path / "ran").exists()


def test_a_column_of_another_type_is_not_turned_into_ours(folder):
    table = pq.read_table(shard_of(folder))
    texts = pa.array([ELSEWHERE] * len(table))  # which datasets would take for pictures
    place = table.schema.get_field_index("features")
    write_shard(folder, table.set_column(place, "features", texts))
    assert "'features' is string, expected struct<bytes: binary, path: string>" in refusal(folder)
    assert "'features' is string, expected struct<bytes: binary, path: string>" in refusal(folder, streaming=True)


# What is stored is looked at before it is decoded

PICTURES = {
    "a huge picture": lambda width, height: png(1_398_000, 128),
    "one line": lambda width, height: png(width, 1),
    "too wide": lambda width, height: png(width + 1, height),
    "16 bits": lambda width, height: png(width, height, depth=16),
    "colours": lambda width, height: png(width, height, colour=2),
    "interlaced": lambda width, height: png(width, height, interlaced=1),
    "a second header": lambda width, height: png(width, height, before=png(60_000, 60_000)[8:33]),
    "BMP": lambda width, height: picture("L", "BMP", width, height),
    "EPS": lambda width, height: picture("L", "EPS", width, height),
    "JPEG": lambda width, height: picture("L", "JPEG", width, height),
    "nothing": lambda width, height: b"",
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", PICTURES)
def test_only_grey_png_of_the_window_s_size_is_a_picture(folder, kind, streaming, monkeypatch):
    edit_rows(folder, with_picture(PICTURES[kind]))
    monkeypatch.setattr("PIL.Image.open", lambda *args, **options: pytest.fail("it was given to Pillow"))
    with pytest.raises(InputError, match=r"row 0 .*features that are no 8-bit grey PNG, num_frames wide and 32 high"):
        next(iter(load_features(folder, streaming=streaming).splits["train"]))


def test_a_picture_that_is_cut_off_is_one_sentence(folder):
    edit_rows(folder, with_picture(lambda width, height: png(width, height)[:50]))
    assert "A window's picture is damaged" in refusal(folder)
    for file in (png(8, 8)[:50], picture("L", "BMP", 8, 8), picture("L", "EPS", 8, 8), b""):
        with pytest.raises(InputError, match="A window's picture is damaged"):
            read_pixels(file)
    with pytest.raises(InputError, match="Pillow's mode RGB"):
        decode_features(picture("RGB", "PNG", 8, 8), 0.0, 1.0)


SOUNDS = {
    "longer": lambda samples: sound(1_000_000),
    "a longer one that claims to be shorter, by a sample": lambda samples: sound(samples + 1),
    "another rate": lambda samples: sound(samples, rate=8000),
    "two channels": lambda samples: sound(samples, channels=2),
    "24 bits": lambda samples: sound(samples, subtype="PCM_24"),
    "WAV": lambda samples: sound(samples, kind="WAV"),
    "Ogg": lambda samples: sound(samples, kind="OGG", subtype="VORBIS"),
    "length unknown": lambda samples: lying_flac(samples, 0),
    "a lie of hours": lambda samples: lying_flac(samples, (1 << 36) - 1),
    "nothing": lambda samples: b"",
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", SOUNDS)
def test_only_flac_of_the_window_s_length_is_sound(kinds, kind, streaming, monkeypatch):
    edit_rows(kinds["waveform"], with_sound(SOUNDS[kind]))
    monkeypatch.setattr("soundfile.SoundFile", lambda *args, **options: pytest.fail("it was given to libsndfile"))
    with pytest.raises(
        InputError, match=r"row 0 .*audio that is no FLAC of num_frames samples, mono, 16 bits, 16000 Hz"
    ):
        next(iter(load_features(kinds["waveform"], streaming=streaming).splits["train"]))


def test_flac_whose_header_lies_is_never_read_beyond_the_window(kinds):
    hours = lying_flac(16_000 * 60, 16_000)
    assert len(decode_waveform(hours, 16_000)[0]) == 16_000
    edit_rows(kinds["waveform"], with_sound(lambda samples: lying_flac(samples // 2, samples)))
    assert "A window's sound is damaged" in refusal(kinds["waveform"])
    for file, samples in ((sound(8000), 16_000), (sound(16_000), 8000), (sound(8000, kind="WAV"), 8000), (b"", 1)):
        with pytest.raises(InputError, match="A window's sound is damaged"):
            decode_waveform(file, samples)


@pytest.mark.parametrize(
    ("kind", "name", "value", "said"),
    [
        ("spectrogram", "offsets", [0.0], "other offsets or scales than 2 numbers each"),
        ("spectrogram", "offsets", [0.0, float("nan")], "other offsets or scales than 2 numbers each"),
        ("spectrogram", "scales", [0.0, -1.0], "other offsets or scales than 2 numbers each"),
        ("spectrogram", "features", {"bytes": png(44, 32), "path": None}, "num_frames wide and 64 high"),
        ("classical", "features", [1.0] * 173, "features that are not 174 numbers for each of num_frames"),
        ("classical", "features", [1.0] * 10_000, "features that are not 174 numbers for each of num_frames"),
        ("classical", "features", [float("inf")] * 174, "features that are not 174 numbers for each of num_frames"),
        ("classical", "features", [1.0] * 173 + [None], "an empty value in features"),
        ("classical", "num_frames", 2, "num_frames that is not from 1 to 1"),
        ("waveform", "num_frames", 16_001, "num_frames that is not from 1 to 16000"),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_rows_of_the_other_kinds(kinds, kind, name, value, said, streaming):
    edit_rows(kinds[kind], first_row(name, value))
    assert said in refusal(kinds[kind], streaming=streaming)


ROWS = {
    "a label of -1": (first_row("labels", [-1]), "another split, group or labels than index.csv lists"),
    "a label too large": (first_row("labels", [3]), "another split, group or labels than index.csv lists"),
    "no label": (first_row("labels", []), "another split, group or labels than index.csv lists"),
    "two labels": (first_row("labels", [0, 1]), "another split, group or labels than index.csv lists"),
    "a label twice": (lambda rows: rows[0].update(labels=rows[0]["labels"] * 2), "another split, group or labels"),
    "an empty label": (first_row("labels", [None]), "an empty value in labels"),
    "another clip": (first_row("clip_id", "nobody"), "another split, group or labels than index.csv lists"),
    "a clip of the test": (first_row("clip_id", "test-0"), "another split, group or labels than index.csv lists"),
    "another group": (first_row("group", "test-0"), "another split, group or labels than index.csv lists"),
    "a long name": (first_row("clip_id", "x" * 1_000_000), "has a clip_id of 1,000,000 bytes"),
    "an offset of nan": (first_row("offset", float("nan")), "an offset or a scale that is no number"),
    "a scale of inf": (first_row("scale", float("inf")), "an offset or a scale that is no number"),
    "a scale below 0": (first_row("scale", -1.0), "an offset or a scale that is no number"),
    "no scale": (first_row("scale", None), "an empty value in scale"),
    "a start of nan": (first_row("start_s", float("nan")), "a start_s that is no number of seconds"),
    "no frames": (first_row("num_frames", 0), "num_frames that is not from 1 to 38"),
    "too many frames": (first_row("num_frames", 2_000_000_000), "num_frames that is not from 1 to 38"),
    "fewer frames than its picture": (first_row("num_frames", 5), "no 8-bit grey PNG, num_frames wide"),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ROWS)
def test_a_row_that_is_not_as_it_should_be(folder, kind, streaming):
    change, said = ROWS[kind]
    edit_rows(folder, change)
    message = refusal(folder, streaming=streaming)
    assert said in message and str(shard_of(folder)) in message


def test_rows_of_a_streamed_hub_dataset_are_checked_as_they_pass(hub, folder):
    edit_rows(folder, lambda rows: rows[-1].update(scale=float("nan")))
    repo = put_on(hub, "evil/late", folder)
    message = refusal(repo, streaming=True)
    assert "data/train-00000-of-00001.parquet is damaged: row 37" in message and "evil/late@" in message


def test_what_a_worker_finds_is_the_same_one_sentence(folder):
    edit_rows(folder, first_row("scale", float("nan")))
    features = load_features(folder, streaming=True)
    windows = StreamedWindows(features.splits["train"], features.num_windows("train"), 4, num_workers=1)
    collate = FeatureCollator(features.extractor, features.labels)
    with pytest.raises(InputError) as caught:
        list(DataLoader(windows, 4, collate_fn=collate, num_workers=1))
    assert str(caught.value).startswith(str(shard_of(folder))) and "Traceback" not in str(caught.value)


def test_a_training_ends_in_that_sentence_too(folder, tmp_path):
    edit_rows(folder, first_row("scale", float("nan")))
    trainer = trainer_of(load_features(folder, streaming=True), tmp_path / "run", arguments={"max_steps": 1})
    with pytest.raises(InputError, match="an offset or a scale that is no number"):
        trainer.train()


# Shards


def test_shards_that_grow_when_they_are_read_are_not(folder):
    table = pq.read_table(shard_of(folder))
    delta = {"column_encoding": {"features.bytes": "DELTA_BYTE_ARRAY"}, "use_dictionary": False}
    for options in ({"compression": "zstd"}, {"use_dictionary": True}, delta):
        write_shard(folder, table, **options)
        assert "feature shards are not packed" in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 1000 + b"PAR1", b"no parquet" * 100])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_shard_that_is_no_parquet(folder, content, streaming):
    shard_of(folder).write_bytes(content)
    assert "is damaged" in refusal(folder, streaming=streaming)


def test_a_shard_that_is_cut_off(folder):
    content = shard_of(folder).read_bytes()
    shard_of(folder).write_bytes(content[: len(content) // 2])
    assert "is damaged" in refusal(folder)
    shard_of(folder).write_bytes(content[:1000] + b"\xff" * 500 + content[1500:])
    assert "is damaged" in refusal(folder)


def test_the_test_shard_is_not_the_training_one_under_another_name(folder):
    shutil.copy(shard_of(folder, "train"), shard_of(folder, "test"))
    edit_json(folder / "manifest.json", "splits.test.num_windows", 38)
    assert "another split, group or labels than index.csv lists" in refusal(folder)


def test_classes_in_another_order_than_the_shards_have_them(folder):
    edit_json(folder / "manifest.json", "label_names", ["hiss", "bell", "hum"])
    edit_index(
        folder,
        lambda rows: [row.update(labels={"bell": "hiss", "hiss": "bell"}.get(row["labels"], "hum")) for row in rows],
    )
    for split in ("train", "validation", "test"):
        counts = json.loads((folder / "manifest.json").read_text())["splits"][split]["label_counts"]
        counts["bell"], counts["hiss"] = counts["hiss"], counts["bell"]
        edit_json(folder / "manifest.json", f"splits.{split}.label_counts", counts)
    assert "was built with other classes than manifest.json names, or with the same in another order" in refusal(folder)


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "index.csv", "preprocessor_config.json", "excluded.csv", "data/train-00000-of-00001.parquet"],
)
def test_a_pipe_or_device_in_place_of_a_file_is_never_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "is not a regular file" in refusal(folder)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert "is not a regular file" in refusal(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    assert "is not a regular file" in refusal(folder)


def test_shards_may_lie_on_another_disk(folder, tmp_path):
    shutil.move(folder / "data", tmp_path / "elsewhere")
    (folder / "data").symlink_to(tmp_path / "elsewhere")
    assert len(load_features(folder).splits["train"]) == 38


# manifest.json, index.csv, preprocessor_config.json

MANIFESTS = {
    "format_version": ["1", None, True, 2, ...],
    "problem_type": ["regression", None, ["single_label_classification"], ...],
    "label_names": [
        *([], "bell", ["bell", "hiss"], ["bell", "hiss", "hiss"], ["bell", "hiss", 3], ["bell", "hiss", ""]),
        *({"bell": 0}, ["bell", "hiss", "x" * 2000], ...),
    ],
    "window_s": [0, -1, "0.4", None, 1e-9, 1e9, 3600, True, ...],
    "hop_s": [0, None, [], ...],
    "num_excluded": [-1, 0.5, "many", ...],
    "extractor": [None, [], "kaldi_fbank", ...],
    "extractor.feature_type": ["raw", None, [], ...],
    "extractor.sampling_rate": [0, 1e9, 10**12, "16000", 16000.5, ...],
    "extractor.num_mel_bins": [0, -1, 10**9, None, 64, ...],
    "extractor.hop_s": [0, 1e-9, "x", 1e-4 / 2, ...],
    "corpus": [None, [], ...],
    "corpus.name": [None, 3, "x" * 100_000, ...],
    "corpus.may_redistribute": ["no", 1, None, ...],
    "corpus.licence": [[], ...],
    "splits": [None, {}, [], {"dev": {}}, {"train": 3}, ...],
    "splits.train": [None, {}],
    "splits.train.num_shards": [0, -1, 10**8, 2, "1", 1.0, ...],
    "splits.train.num_windows": [0, -1, 10**15, 37, "38", ...],
    "splits.train.num_clips": [20, None, 10**30, ...],
    "splits.train.num_groups": [20, ...],
    "splits.train.label_counts": [{}, [], {"bell": 7, "hiss": 7}, ...],
    "splits.train.label_counts.bell": [6, -7, 7.5, None],
    "splits.train.known_counts": [{"bell": 21, "hiss": 21, "hum": 20}, [], None],
    "splits.test": [...],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in MANIFESTS.items() for value in values]
)
def test_a_manifest_that_is_not_as_it_should_be(folder, field, value):
    edit_json(folder / "manifest.json", field, value)
    message = refusal(folder)
    assert "manifest" in message or "incomplete" in message


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"window_s": NaN}', b'{"window_s": 1e999}']
)
@pytest.mark.parametrize("name", ["manifest.json", "preprocessor_config.json"])
def test_json_that_is_none(folder, name, content):
    (folder / name).write_bytes(content)
    assert name in refusal(folder)


EXTRACTORS = {
    "sampling_rate": [8000, 0, "16000", 10**9],
    "num_mel_bins": [64, 0, None, 10**9],
    "max_length": [1024, 0, -1, 10**12, "38"],
    "std": [0, 0.0, -1.0, "1", [4.0] * 3, None],
    "mean": ["0", [0.0] * 3, {}],
    "do_normalize": ["yes"],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in EXTRACTORS.items() for value in values]
)
def test_an_extractor_that_makes_other_windows(folder, field, value):
    edit_json(folder / "preprocessor_config.json", field, value)
    assert "preprocessor_config.json" in refusal(folder)


INDICES = {
    "empty": lambda rows: rows.clear(),
    "without a clip": lambda rows: rows.pop(0),
    "a clip twice": lambda rows: rows.append(dict(rows[0])),
    "a clip more": lambda rows: rows.append({**rows[0], "clip_id": "new", "group": "new"}),
    "another split": lambda rows: rows[0].update(split="dev"),
    "a clip moved": lambda rows: rows[0].update(split="test"),
    "another class": lambda rows: rows[0].update(labels="trumpet"),
    "the wrong class": lambda rows: rows[0].update(labels="hum"),
    "no class": lambda rows: rows[0].update(labels=""),
    "two classes": lambda rows: rows[0].update(labels="bell;hum"),
    "unknown classes": lambda rows: rows[0].update(unknown="hum"),
    "no name": lambda rows: rows[0].update(clip_id=""),
    "a long name": lambda rows: rows[0].update(clip_id="x" * 10_000),
    "a start of nan": lambda rows: rows[0].update(start_s="nan"),
    "no start": lambda rows: rows[0].update(start_s=""),
    "an end before its start": lambda rows: rows[0].update(start_s="2", end_s="1"),
    "an end that is no number": lambda rows: rows[0].update(end_s="late"),
    "another group": lambda rows: rows[0].update(group="other"),
    "two in one group": lambda rows: rows[1].update(group=rows[0]["group"]),
}


@pytest.mark.parametrize("kind", INDICES)
def test_an_index_that_is_not_as_it_should_be(folder, kind):
    edit_index(folder, INDICES[kind])
    assert "index.csv" in refusal(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"clip_id,group\na,b\n", b"\xff\xff", b'clip_id,group,split,labels,unknown,start_s,end_s\n"a', b"\0" * 100],
)
def test_an_index_that_is_no_table(folder, content):
    (folder / "index.csv").write_bytes(content)
    assert "index.csv" in refusal(folder)


def test_partial_labels_that_contradict_themselves(several):
    edit_index(several, lambda rows: rows[2].update(unknown=rows[2]["labels"].split(";")[0]))
    assert "a class is both given and unknown" in refusal(several)


def test_unknown_classes_that_the_manifest_does_not_count(several):
    edit_index(several, lambda rows: rows[0].update(unknown="hum"))
    assert "known_counts is missing, and index.csv lists unknown classes" in refusal(several)


def test_clips_that_were_left_out_are_those_that_are_listed(tmp_path):
    folder = build_small_features(tmp_path / "f", broken_clips=2)
    assert load_features(folder).num_windows("train") == 24
    (folder / "excluded.csv").write_text("clip_id,reason\nbroken0,broken\n")
    assert "splits.train.num_clips is 12, and index.csv lists 13" in refusal(folder)


# On the Hub


def test_a_manifest_of_gigabytes_is_not_downloaded(hub, folder):
    content = (folder / "manifest.json").read_bytes()
    repo = put_on(hub, "evil/large", folder, **{"manifest.json": content + b" " * (17 << 20)})
    assert "manifest.json has" in (said := refusal(repo)) and "expected at most 16,777,216" in said
    assert sum(request.sent for request in hub.log.matching("GET", "manifest.json")) < 1 << 20


def test_a_hub_that_says_less_than_it_sends_is_stopped(hub, folder, monkeypatch):
    monkeypatch.setitem(__import__("hf_audio.data.features_dataset", fromlist=["FILES"]).FILES, "index.csv", 100)
    assert "index.csv has" in refusal(put_on(hub, "evil/more", folder))


def test_shards_far_larger_than_their_windows_are_not_downloaded(hub, folder):
    shard = shard_of(folder)
    shard.write_bytes(shard.read_bytes() + b"\0" * (9 << 20))
    repo = put_on(hub, "evil/padded", folder)
    for streaming in (False, True):
        assert "windows of its train split take 608 to" in refusal(repo, streaming=streaming)
    assert not hub.log.matching("GET", "/data/train-")


def test_shards_that_the_hub_does_not_have_are_missed_before_any_is_downloaded(hub, folder):
    edit_json(folder / "manifest.json", "splits.train.num_shards", 99_999)
    assert "data/train-00000-of-99999.parquet is missing" in refusal(put_on(hub, "evil/many", folder))
    assert not hub.log.matching("GET", "/data/train-")


def test_a_dataset_on_the_hub_is_checked_like_a_folder(hub, folder):
    edit_rows(folder, first_row("labels", [-1]))
    for name, options in (("evil/local", {}), ("evil/streamed", {"streaming": True})):
        assert "another split, group or labels than index.csv lists" in refusal(put_on(hub, name, folder), **options)


# A build that somebody else began


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shard_bounds", {"train": [0, 10**9]}),
        ("shard_bounds", {"train": [0, 12], "validation": [0, 3], "test": [0, -3]}),
        ("shard_bounds", {"train": [0, 12], "validation": [0, 3], "test": [0, "3"]}),
        ("shard_bounds", [0, 1]),
        ("audio_s", "long"),
        ("audio_s", ...),
    ],
)
def test_a_plan_that_does_not_fit_its_clips(tmp_path, field, value):
    folder = build_small_features(tmp_path / "f")
    (folder / "manifest.json").unlink()
    edit_json(folder / "plan.json", field, value)
    with pytest.raises(InputError, match=r"plan.json is no plan of a build of these clips"):
        build_small_features(folder)


@pytest.mark.parametrize("content", [b"[]", b"{", b"NaN"])
def test_a_plan_that_is_no_json(tmp_path, content):
    folder = build_small_features(tmp_path / "f")
    (folder / "plan.json").write_bytes(content)
    with pytest.raises(InputError, match=r"plan\.json"):
        build_small_features(folder)


@pytest.mark.parametrize(
    "note",
    [
        {},
        {"num_windows": -1, "excluded": [], "count": 1, "sum": 0.0, "sum_of_squares": 0.0},
        {"num_windows": 24, "excluded": [["a"]], "count": 1, "sum": 0.0, "sum_of_squares": 0.0},
        {"num_windows": 24, "excluded": [], "count": 1, "sum": "0", "sum_of_squares": 0.0},
        {"num_windows": 24, "excluded": [], "count": 1, "sum": [0.0, 1.0], "sum_of_squares": 0.0},
    ],
)
def test_a_note_of_a_shard_that_is_not_as_it_should_be(tmp_path, note):
    folder = build_small_features(tmp_path / "f")
    (folder / "manifest.json").unlink()
    (folder / ".build").mkdir()
    for name in ("train-00000-of-00001", "validation-00000-of-00001", "test-00000-of-00001"):
        (folder / ".build" / f"{name}.json").write_text(json.dumps(note))
    with pytest.raises(InputError, match=r"damaged: remove it|contradict each other"):
        build_small_features(folder)
