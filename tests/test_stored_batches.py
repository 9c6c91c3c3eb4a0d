"""Batches travel to the device as they are stored, and there become the extractor's inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.data.loading import feature_collator
from hf_audio.data.loading.feature_collator import STORED, FeatureCollator
from hf_audio.kinds import KINDS
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.kinds._spectrogram_settings import Spectrogram
from hf_audio.kinds.waveform import Waveform

LABELS = LabelSpace(("a", "b"), SINGLE_LABEL)
LENGTHS = (60, 25, 90, 1)  # for windows of 60 frames: full, padded, cut, a single frame
IMAGES = [
    *((KaldiFbank(num_mel_bins=32, normalization=name), -4.2, 3.1) for name in ("dataset", "none")),
    *(
        (Spectrogram(22_050, 32, channels=channels, normalization=name), [-40.0, -50.0, 3.0], [15.0, 20.0, 1e-9])
        for channels in (("mel",), ("left", "right", "mfcc"))
        for name in ("dataset", "clip", "none")
    ),
]


def rows_of(kind, windows, sample_rate: int) -> list[dict]:
    columns = kind.columns(sample_rate)
    return [
        dict(zip(columns, kind.encode(window, sample_rate), strict=True))
        | {"num_frames": len(window), "labels": [index % 2], "clip_id": str(index)}
        for index, window in enumerate(windows)
    ]


def collators(extractor) -> tuple[FeatureCollator, FeatureCollator]:
    return tuple(FeatureCollator(extractor, LABELS, stored=stored) for stored in (False, True))


@pytest.mark.parametrize(
    ("source", "mean", "std"), IMAGES, ids=lambda one: f"{type(one).__name__}{getattr(one, 'normalization', '')}"
)
def test_images_travel_in_a_quarter_of_the_bytes(source, mean, std):
    kind, random = KINDS[source.parameters["kind"]], np.random.default_rng(0)
    channels = source.parameters.get("channels")
    if channels:
        mean, std = mean[: len(channels)], std[: len(channels)]
    extractor = source.to_feature_extractor(60, mean, std)
    windows = [random.normal(-5, 3, (count, *([len(channels)] if channels else []), 32)) for count in LENGTHS]
    if channels:
        windows[1][:, -1] = -7  # constant
    rows = rows_of(kind, [window.astype(np.float32) for window in windows], source.sample_rate)
    whole, stored = collators(extractor)
    batch, small = whole(rows), stored(rows)
    assert "input_values" not in small and small["pixels"].dtype == torch.uint8
    assert sum(small[name].nbytes for name in small[STORED]) < 0.26 * batch["input_values"].nbytes
    made = stored.on_device(small)
    assert made.keys() == batch.keys() and all(torch.equal(made[name], batch[name]) for name in batch)
    assert whole.on_device(batch).keys() == batch.keys()
    decoded = [kind.decode(row) for row in rows]
    if channels:
        wanted = extractor.normalize(decoded)
    else:
        wanted = np.zeros((4, 60, 32), dtype=np.float32)
        for values, window in zip(wanted, decoded, strict=True):
            values[: len(window)] = window[:60]
        if extractor.do_normalize:
            wanted = (wanted - np.float32(mean)) / np.float32(2 * std)
    np.testing.assert_allclose(batch["input_values"], wanted, rtol=1e-6, atol=1e-6)


def test_whispers_log_mel_is_made_on_the_device(monkeypatch):
    """From 16-bit samples, as long as the longest window; its extractor, which works on the CPU, is not called."""
    random = np.random.default_rng(0)
    windows = [random.normal(0, 0.1, count).astype(np.float32) for count in (9000, 400, 17_000)]
    rows = rows_of(KINDS["waveform"], windows, Waveform().sample_rate)
    extractor = WhisperFeatureExtractor(chunk_length=1)  # 16,000 samples: the last window is cut
    whole, stored = collators(extractor)
    batch = whole(rows)
    monkeypatch.setattr(WhisperFeatureExtractor, "__call__", None)
    small = stored(rows)
    assert small["levels"].dtype == torch.int16 and small["levels"].shape == (3, 16_000)
    assert stored(rows[:2])["levels"].shape == (2, 9000)
    with torch.autocast("cpu", torch.bfloat16):
        made = stored.on_device(small)
    assert made.keys() == batch.keys() and made["input_features"].shape == (3, 80, 100)
    torch.testing.assert_close(made["input_features"], batch["input_features"], rtol=0, atol=1e-5)
    extractor.return_attention_mask = True
    assert KINDS["waveform"].stored_batch(rows, extractor) is None, "an attention mask is not supported"


def test_without_an_accelerator_workers_make_the_inputs(monkeypatch):
    """Training on a CPU should not wait for work that its workers can do."""
    rows = rows_of(KINDS["fbank"], [np.zeros((20, 32), np.float32)], 16_000)
    _, stored = collators(KaldiFbank(num_mel_bins=32).to_feature_extractor(20, 0.0, 0.5))
    for has_accelerator, in_worker, is_stored in ((False, True, False), (False, False, True), (True, True, True)):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda found=has_accelerator: found)
        monkeypatch.setattr(feature_collator, "get_worker_info", lambda found=in_worker: found or None)
        assert (STORED in stored(rows)) == is_stored
