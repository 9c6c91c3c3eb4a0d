"""Spectrograms of stored windows, whatever kind of features they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hf_audio.data.loading.features_dataset import FeatureDataset


def frames_of_rows(features: FeatureDataset) -> Callable[[dict], np.ndarray]:
    """The function that makes `[frames, bins]` of a row: log-mel of waveforms, the first channel of spectrograms."""
    kind, parameters = features.kind, features.parameters
    return lambda row: kind.frames(kind.decode(row)[: row["num_frames"]], parameters)
