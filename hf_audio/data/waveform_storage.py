"""Windows of sound as rows: FLAC of 16 bits, which the Hub's viewer plays and soundfile reads.

waveform, sample_rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32")    # [samples]
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import soundfile
import torch
from datasets import Audio, Dataset, IterableDataset
from transformers import FeatureExtractionMixin, Wav2Vec2FeatureExtractor

FULL_SCALE = 32768
# the viewer tells formats by the ending of a name
FILE_NAME = "window.flac"


class WaveformStorage:
    """Kind "waveform": see `hf_audio.data.feature_storage.FeatureStorage` for what each part is."""

    kind = "waveform"
    feature_type = "waveform"
    described = "waveforms"
    extractor_class = Wav2Vec2FeatureExtractor
    compared = ("sampling_rate",)
    statistics_axis = None

    def columns(self, sample_rate: int) -> dict[str, Any]:
        return {"audio": Audio(sampling_rate=sample_rate)}

    def encode(self, window: np.ndarray, sample_rate: int) -> tuple[dict[str, Any]]:
        return ({"bytes": encode_waveform(window, sample_rate), "path": FILE_NAME},)

    def undecoded(self, rows: Dataset | IterableDataset) -> Dataset | IterableDataset:
        return rows.cast_column("audio", Audio(decode=False))  # decoding in `datasets` takes torchcodec and ffmpeg

    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        return decode_waveform(row["audio"]["bytes"])[0]

    def window_frames(self, extractor: FeatureExtractionMixin, manifest: Mapping[str, Any]) -> int:
        return round(manifest["window_s"] * manifest["extractor"]["sampling_rate"])

    def batch(self, rows: Sequence[Mapping[str, Any]], extractor: FeatureExtractionMixin) -> dict[str, torch.Tensor]:
        """Whatever a stock extractor gives: `input_values` or `input_features`, and `attention_mask` if it has one.

        Each window goes through the extractor by itself, as in the stock pipeline, and is then padded to the longest
        of the batch, unless the extractor pads to a length of its own (Whisper's). Handed over together, Wav2Vec2's
        would normalise a short window over its padding too, so that its values hung on its neighbours in the batch.
        """
        waveforms, rates = zip(*(decode_waveform(row["audio"]["bytes"]) for row in rows), strict=True)
        extracted = extractor(list(waveforms), sampling_rate=rates[0])
        return dict(extractor.pad(extracted, padding=True, return_tensors="pt"))


def encode_waveform(waveform: np.ndarray, sample_rate: int) -> bytes:
    """float32 `[samples]` → FLAC of 16 bits, mono; what lies outside [-1, 1] is clipped.

    The error is at most half a step, 1.5e-5; samples that came from a 16-bit file come back as they were.
    """
    levels = np.clip(np.rint(waveform * np.float32(FULL_SCALE)), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, levels, sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def decode_waveform(flac: bytes) -> tuple[np.ndarray, int]:
    """FLAC bytes → float32 `[samples]` in [-1, 1], and their sample rate in Hz."""
    levels, sample_rate = soundfile.read(io.BytesIO(flac), dtype="int16")
    return levels.astype(np.float32) * np.float32(1 / FULL_SCALE), sample_rate
