"""Third-party rows and shards, local or streamed: checked before anything decodes them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hostile_features import (
    edit_index,
    edit_json,
    edit_rows,
    first_row,
    image,
    lying_flac,
    png,
    put_on,
    refusal,
    shard_of,
    sound,
    with_image,
    with_sound,
    write_shard,
)
from small_features import build_small_features
from torch.utils.data import DataLoader
from training_run import trainer_of

from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.data.loading.streaming import StreamedBatches, StreamedWindows
from hf_audio.errors import InputError
from hf_audio.gray_images import decode_features, read_pixels
from hf_audio.kinds._spectrogram_settings import Spectrogram
from hf_audio.kinds.classical import ClassicalFeatures
from hf_audio.kinds.waveform import Waveform, decode_waveform

ELSEWHERE = "http://127.0.0.1:9/image.png"


@pytest.fixture
def folder(tiny_folders, tmp_path) -> Path:
    """A copy of single-label fbank features that a test may damage."""
    return Path(shutil.copytree(tiny_folders[SINGLE_LABEL], tmp_path / "received"))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """Features of the other kinds, only to be read."""
    extractors = {
        "waveform": Waveform(),
        "spectrogram": Spectrogram(channels=("mel", "percussive"), num_mel_bins=32),
        "classical": ClassicalFeatures(),
    }
    folder = tmp_path_factory.mktemp("kinds")
    return {kind: build_small_features(folder / kind / "f", extractor=one) for kind, one in extractors.items()}


@pytest.fixture
def kinds(built, tmp_path) -> dict[str, Path]:
    """Copies of them that a test may damage."""
    return {kind: Path(shutil.copytree(folder, tmp_path / kind)) for kind, folder in built.items()}


# Windows


def test_datasets_decodes_no_media_column(folder, kinds):
    for source in (folder, *kinds.values()):
        for streaming in (False, True):
            row = next(iter(load_features(source, streaming=streaming).splits["train"]))
            assert all(isinstance(row.get(name, {}), dict | list) for name in ("features", "audio"))


IMAGES = {
    "a huge image": lambda width, height: png(1_398_000, 128),
    "one line": lambda width, height: png(width, 1),
    "too wide": lambda width, height: png(width + 1, height),
    "16 bits": lambda width, height: png(width, height, depth=16),
    "colors": lambda width, height: png(width, height, color=2),
    "interlaced": lambda width, height: png(width, height, interlaced=1),
    "a second header": lambda width, height: png(width, height, before=png(60_000, 60_000)[8:33]),
    "BMP": lambda width, height: image("L", "BMP", width, height),
    "EPS": lambda width, height: image("L", "EPS", width, height),
    "JPEG": lambda width, height: image("L", "JPEG", width, height),
    "nothing": lambda width, height: b"",
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_must_be_a_gray_png_of_the_windows_size(folder, kind, streaming, monkeypatch):
    edit_rows(folder, with_image(IMAGES[kind]))
    monkeypatch.setattr("PIL.Image.open", lambda *args, **options: pytest.fail("Pillow was called"))
    with pytest.raises(
        InputError, match=r"row 0 .*features that are not an 8-bit gray PNG, num_frames wide and 32 high"
    ):
        next(iter(load_features(folder, streaming=streaming).splits["train"]))


def test_a_truncated_image_is_one_sentence(folder):
    edit_rows(folder, with_image(lambda width, height: png(width, height)[:50]))
    assert "The image of a window is damaged" in refusal(folder)
    for file in (png(8, 8)[:50], image("L", "BMP", 8, 8), image("L", "EPS", 8, 8), b""):
        with pytest.raises(InputError, match="The image of a window is damaged"):
            read_pixels(file)
    with pytest.raises(InputError, match="Pillow's mode RGB"):
        decode_features(image("RGB", "PNG", 8, 8), 0.0, 1.0)


SOUNDS = {
    "longer": lambda samples: sound(1_000_000),
    "a sample more than in the header": lambda samples: sound(samples + 1),
    "another rate": lambda samples: sound(samples, rate=8000),
    "two channels": lambda samples: sound(samples, channels=2),
    "24 bits": lambda samples: sound(samples, subtype="PCM_24"),
    "WAV": lambda samples: sound(samples, kind="WAV"),
    "Ogg": lambda samples: sound(samples, kind="OGG", subtype="VORBIS"),
    "length unknown": lambda samples: lying_flac(samples, 0),
    "a header of hours": lambda samples: lying_flac(samples, (1 << 36) - 1),
    "nothing": lambda samples: b"",
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", SOUNDS)
def test_audio_must_be_flac_of_the_windows_length(kinds, kind, streaming, monkeypatch):
    edit_rows(kinds["waveform"], with_sound(SOUNDS[kind]))
    monkeypatch.setattr("soundfile.SoundFile", lambda *args, **options: pytest.fail("libsndfile was called"))
    with pytest.raises(
        InputError, match=r"row 0 .*audio that is not FLAC of num_frames samples, mono, 16 bits, 16000 Hz"
    ):
        next(iter(load_features(kinds["waveform"], streaming=streaming).splits["train"]))


def test_flac_with_a_false_length_is_never_read_beyond_the_window(kinds):
    hours = lying_flac(16_000 * 60, 16_000)
    assert len(decode_waveform(hours, 16_000)[0]) == 16_000
    edit_rows(kinds["waveform"], with_sound(lambda samples: lying_flac(samples // 2, samples)))
    assert "The audio of a window is damaged" in refusal(kinds["waveform"])
    for file, samples in ((sound(8000), 16_000), (sound(16_000), 8000), (sound(8000, kind="WAV"), 8000), (b"", 1)):
        with pytest.raises(InputError, match="The audio of a window is damaged"):
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
    "a label of -1": (first_row("labels", [-1]), "other facts about its clip than index.parquet"),
    "a label too large": (
        first_row("labels", [3]),
        "other facts about its clip than index.parquet",
    ),
    "no label": (first_row("labels", []), "other facts about its clip than index.parquet"),
    "two labels": (first_row("labels", [0, 1]), "other facts about its clip than index.parquet"),
    "a label twice": (
        lambda rows: rows[0].update(labels=rows[0]["labels"] * 2),
        "other facts about its clip",
    ),
    "an empty label": (first_row("labels", [None]), "an empty value in labels"),
    "another plain label": (
        lambda rows: rows[0].update(label=(rows[0]["label"] + 1) % 3),
        "a label that differs from its labels",
    ),
    "another clip": (
        first_row("clip_id", "nobody"),
        "other facts about its clip than index.parquet",
    ),
    "a clip of the test": (
        first_row("clip_id", "test-0"),
        "other facts about its clip than index.parquet",
    ),
    "another group": (
        first_row("group", "test-0"),
        "other facts about its clip than index.parquet",
    ),
    "a long name": (first_row("clip_id", "x" * 1_000_000), "has a clip_id of 1,000,000 bytes"),
    "an offset of nan": (first_row("offset", float("nan")), "an offset or a scale that is not a number"),
    "a scale of inf": (first_row("scale", float("inf")), "an offset or a scale that is not a number"),
    "a scale below 0": (first_row("scale", -1.0), "an offset or a scale that is not a number"),
    "no scale": (first_row("scale", None), "an empty value in scale"),
    "a start of nan": (first_row("start_s", float("nan")), "a start_s that is not a number of seconds"),
    "no frames": (first_row("num_frames", 0), "num_frames that is not from 1 to 38"),
    "too many frames": (first_row("num_frames", 2_000_000_000), "num_frames that is not from 1 to 38"),
    "fewer frames than its image": (first_row("num_frames", 5), "not an 8-bit gray PNG, num_frames wide"),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ROWS)
def test_a_manipulated_row(folder, kind, streaming):
    change, said = ROWS[kind]
    edit_rows(folder, change)
    message = refusal(folder, streaming=streaming)
    assert said in message and str(shard_of(folder)) in message


def test_rows_of_a_streamed_hub_dataset_are_checked(hub, folder):
    edit_rows(folder, lambda rows: rows[-1].update(scale=float("nan")))
    repo = put_on(hub, "evil/late", folder)
    message = refusal(repo, streaming=True)
    assert "data/train-00000-of-00001.parquet is damaged: row 37" in message and "evil/late@" in message


def test_a_fault_found_by_a_worker_is_the_same_sentence(folder):
    edit_rows(folder, first_row("scale", float("nan")))
    features = load_features(folder, streaming=True)
    windows = StreamedWindows(features.streamed, 4, num_workers=1)
    collate = FeatureCollator(features.extractor, features.labels)
    with pytest.raises(InputError) as caught:
        list(DataLoader(windows, batch_sampler=StreamedBatches(windows), collate_fn=collate, num_workers=1))
    assert str(caught.value).startswith(str(shard_of(folder))) and "Traceback" not in str(caught.value)


def test_a_training_ends_in_that_sentence_too(folder, tmp_path):
    edit_rows(folder, first_row("scale", float("nan")))
    trainer = trainer_of(load_features(folder, streaming=True), tmp_path / "run", arguments={"max_steps": 1})
    with pytest.raises(InputError, match="an offset or a scale that is not a number"):
        trainer.train()


# Shards


def test_shards_that_would_expand_in_memory_are_refused(folder):
    table = pq.read_table(shard_of(folder))
    delta = {"column_encoding": {"features.bytes": "DELTA_BYTE_ARRAY"}, "use_dictionary": False}
    for options in ({"compression": "zstd"}, {"use_dictionary": True}, delta):
        write_shard(folder, table, **options)
        assert "expected none and plain" in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 1000 + b"PAR1", b"no parquet" * 100])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_shard_that_is_not_parquet(folder, content, streaming):
    shard_of(folder).write_bytes(content)
    assert "is damaged" in refusal(folder, streaming=streaming)


def test_a_truncated_shard(folder):
    content = shard_of(folder).read_bytes()
    shard_of(folder).write_bytes(content[: len(content) // 2])
    assert "is damaged" in refusal(folder)
    shard_of(folder).write_bytes(content[:1000] + b"\xff" * 500 + content[1500:])
    assert "is damaged" in refusal(folder)


def test_a_training_shard_renamed_to_test_is_refused(folder):
    shutil.copy(shard_of(folder, "train"), shard_of(folder, "test"))
    edit_json(folder / "manifest.json", "splits.test.num_windows", 38)
    edit_json(folder / "manifest.json", "shard_windows.test", [38])
    assert "other facts about its clip than index.parquet" in refusal(folder)


def test_a_class_order_that_contradicts_the_shards(folder):
    edit_json(folder / "manifest.json", "label_names", ["hiss", "bell", "hum"])
    edit_index(
        folder,
        lambda rows: [
            row.update(labels=[{"bell": "hiss", "hiss": "bell"}.get(row["labels"][0], "hum")]) for row in rows
        ],
    )
    for split in ("train", "validation", "test"):
        counts = json.loads((folder / "manifest.json").read_text())["splits"][split]["label_counts"]
        counts["bell"], counts["hiss"] = counts["hiss"], counts["bell"]
        edit_json(folder / "manifest.json", f"splits.{split}.label_counts", counts)
    assert "other classes than those in manifest.json" in refusal(folder)


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "index.parquet", "preprocessor_config.json", "excluded.csv", "data/train-00000-of-00001.parquet"],
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


def test_shards_may_be_on_another_disk(folder, tmp_path):
    shutil.move(folder / "data", tmp_path / "elsewhere")
    (folder / "data").symlink_to(tmp_path / "elsewhere")
    assert len(load_features(folder).splits["train"]) == 38
