"""Windows as grayscale images: exact to half a quantization step, readable without hf_audio, low frequencies below."""

from __future__ import annotations

import io
import os

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from hf_audio.data.feature_format import ClipColumns, feature_schema
from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.files import write_atomically
from hf_audio.gray_images import decode_features, encode_features
from hf_audio.kinds._kaldi_fbank import KaldiFbank

NAMES = LabelSpace(("cello", "flute"), SINGLE_LABEL)


def log_mel(pitch_hz: float = 440.0) -> np.ndarray:
    time_s = np.arange(48_000) / 16_000
    noise = 0.001 * np.random.default_rng(0).standard_normal(len(time_s))
    waveform = np.sin(2 * np.pi * pitch_hz * time_s) * np.exp(-time_s) + noise
    return KaldiFbank()([torch.from_numpy(waveform.astype(np.float32))])[0].numpy()


@pytest.mark.parametrize("shape", [(298, 128), (1, 128), (2, 64), (1000, 40)])
@pytest.mark.parametrize("spread", [1e-6, 1.0, 20.0])
def test_the_error_is_at_most_half_a_quantization_step(shape, spread):
    frames = (-5 + spread * np.random.default_rng(0).uniform(-1, 1, shape)).astype(np.float32)
    png, offset, scale = encode_features(frames)
    back = decode_features(png, offset, scale)
    assert back.dtype == np.float32 and back.shape == shape
    assert scale == pytest.approx((frames.max() - frames.min()) / 255, rel=1e-3)
    assert np.abs(back - frames).max() <= 0.5 * scale + 2e-6


def test_the_error_of_log_mel_is_below_a_fifth_of_a_decibel():
    frames = log_mel()
    error = decode_features(*encode_features(frames)) - frames
    assert 10 / np.log(10) * np.abs(error).max() < 0.2


def test_a_constant_window_is_exact():
    png, offset, scale = encode_features(np.full((10, 8), -3.25, dtype=np.float32))
    assert (offset, scale) == (-3.25, 0.0)
    assert (decode_features(png, offset, scale) == -3.25).all()


def test_pillow_and_datasets_read_the_same_image():
    frames = log_mel()
    png, offset, scale = encode_features(frames)
    image = Image.open(io.BytesIO(png))
    image.verify()  # checks the checksums
    assert image.format == "PNG" and image.mode == "L" and image.size == (298, 128)
    decoded = datasets.Image().decode_example({"bytes": png, "path": None})
    assert np.array_equal(decode_features(decoded, offset, scale), decode_features(png, offset, scale))


def test_three_lines_decode_a_window_without_hf_audio():
    frames = log_mel()
    png, offset, scale = encode_features(frames)
    row = {"features": Image.open(io.BytesIO(png)), "offset": offset, "scale": scale}
    values = row["offset"] + row["scale"] * np.flipud(row["features"]).T
    np.testing.assert_allclose(values, frames, atol=0.51 * scale)


def test_low_frequencies_are_at_the_bottom_and_time_runs_to_the_right():
    png, _, _ = encode_features(log_mel(pitch_hz=100.0))
    pixels = np.asarray(Image.open(io.BytesIO(png)), dtype=float)
    assert pixels.mean(axis=1).argmax() > 110  # rows are counted from the top
    assert pixels[:, :30].mean() > pixels[:, -30:].mean()  # the tone decays


def test_a_window_of_music_is_compressed(shared_data):
    from hf_audio.data.recordings.audio import read_audio

    path = sorted((shared_data / "philharmonia_mini").rglob("violin*phrase*.mp3"))[0]
    (features,) = KaldiFbank()([torch.from_numpy(read_audio(path, 16_000))])
    frames = features[:298].numpy()
    assert len(encode_features(frames)[0]) < 0.8 * frames.size


def test_the_schema_contains_class_names():
    schema = feature_schema(ClipColumns(NAMES), KaldiFbank().parameters)
    assert schema["labels"].feature.names == ["cello", "flute"]
    assert isinstance(schema["features"], datasets.Image)
    assert datasets.Features.from_arrow_schema(schema.arrow_schema) == schema


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "note.json"
    write_atomically(target, "old")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, "new")
    assert target.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["note.json"]
