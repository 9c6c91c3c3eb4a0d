"""Spectrograms of stored windows, for any kind of features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hf_audio.data.loading.features_dataset import FeatureDataset


def frames_of_rows(features: FeatureDataset) -> Callable[[dict], np.ndarray]:
    """A function from a row to `[frames, bins]`: log-mel for waveforms, the first channel for spectrograms."""
    kind, parameters = features.kind, features.parameters
    return lambda row: kind.frames(kind.decode(row)[: row["num_frames"]], parameters)
