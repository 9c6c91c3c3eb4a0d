"""Spectrograms of stored windows, whatever kind of features they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from hf_audio.data.features_dataset import FeatureDataset
from hf_audio.features.fbank import KaldiFbank


def frames_of_rows(features: FeatureDataset) -> Callable[[dict], np.ndarray]:
    """The function that makes `[frames, bins]` of a row: log-mel of waveforms, the first channel of spectrograms."""
    storage, kind = features.storage, features.kind
    if kind == "waveform":
        fbank = KaldiFbank(features.manifest["extractor"]["sampling_rate"])
        return lambda row: fbank([torch.from_numpy(storage.decode(row)[: row["num_frames"]])])[0].numpy()
    if kind == "spectrogram":
        return lambda row: storage.decode(row)[: row["num_frames"], 0]
    return lambda row: storage.decode(row)[: row["num_frames"]]
