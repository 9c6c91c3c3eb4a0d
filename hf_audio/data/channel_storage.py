"""Windows of several spectrograms as rows: one 8-bit grey PNG with all of them stacked, readable by anyone.

    pictures = np.split(np.asarray(row["features"]), len(row["offsets"]))    # one a channel, the first on top
    pairs = zip(row["offsets"], row["scales"])
    values = [offset + scale * np.flipud(picture).T for picture, (offset, scale) in zip(pictures, pairs)]

Each of the values is `[frames, bins]`, in dB. The pictures have the frames along their width and the low frequencies
at their bottom, as spectrograms are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Image, List, Value

from hf_audio.data.picture_storage import grey_png, picture_faults, read_pixels, to_pixels
from hf_audio.data.stored_values import are_measured, lists_hold
from hf_audio.extractors.spectrogram import SpectrogramFeatureExtractor


class ChannelStorage:
    """Kind "spectrogram": see `hf_audio.data.feature_storage.FeatureStorage` for what each part is.

    Windows are `[frames, channels, bins]`. Each channel has 256 levels between its own least and greatest value: half
    a step is about 0.2 dB of mel, and 2 dB of MFCCs, whose first coefficient spans ten times as much as the others.
    """

    kind = "spectrogram"
    feature_type = "spectrogram"
    described = "spectrograms"
    extractor_class = SpectrogramFeatureExtractor
    compared = ("sampling_rate", "num_mel_bins", "n_fft", "hop_samples", "channels", "normalisation")
    statistics_axis = (0, 2)

    def columns(self, sample_rate: int) -> dict[str, Any]:
        return {"features": Image(), "offsets": List(Value("float32")), "scales": List(Value("float32"))}

    def encode(self, window: np.ndarray, sample_rate: int) -> tuple[dict[str, Any], list[float], list[float]]:
        pixels, offsets, scales = zip(*(to_pixels(channel) for channel in window.swapaxes(0, 1)), strict=True)
        return {"bytes": grey_png(np.concatenate(pixels)), "path": None}, list(offsets), list(scales)

    def faults(self, rows: pa.RecordBatch, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        count = len(parameters["channels"])
        offsets, scales = rows["offsets"].flatten(), rows["scales"].flatten()
        are_scales = are_measured(scales) & (scales.to_numpy(zero_copy_only=False) >= 0)
        hold = lists_hold(rows["offsets"], count, are_measured(offsets)) & lists_hold(rows["scales"], count, are_scales)
        return {
            **picture_faults(rows, count * parameters["num_mel_bins"]),
            f"other offsets or scales than {count} numbers each": ~hold,
        }

    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        pixels = read_pixels(row["features"])
        scales, offsets = (np.asarray(row[name], dtype=np.float32)[:, None] for name in ("scales", "offsets"))
        channels = pixels.reshape(len(offsets), -1, pixels.shape[1])[:, ::-1]
        values = np.multiply(channels.transpose(2, 0, 1), scales, dtype=np.float32)
        values += offsets
        return values

    def full_frames(self, window_s: float, parameters: Mapping[str, Any]) -> int:
        return 1 + round(window_s * parameters["sampling_rate"]) // parameters["hop_samples"]

    def window_frames(self, extractor: SpectrogramFeatureExtractor, manifest: Mapping[str, Any]) -> int:
        return extractor.max_length

    def batch(
        self, rows: Sequence[Mapping[str, Any]], extractor: SpectrogramFeatureExtractor
    ) -> dict[str, torch.Tensor]:
        """Normalised, and padded or cut to the extractor's `max_length`, by the extractor itself."""
        return {"input_values": torch.from_numpy(extractor.normalise([self.decode(row) for row in rows]))}
