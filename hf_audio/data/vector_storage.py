"""Windows of a few named numbers a step as rows: a plain list of float32, un-normalised.

steps = np.reshape(row["features"], (row["num_frames"], -1))    # [steps, features]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import List, Value

from hf_audio.data.stored_values import are_measured, lists_hold
from hf_audio.extractors.classical import ClassicalFeatureExtractor


class VectorStorage:
    """Kind "classical": see `hf_audio.data.feature_storage.FeatureStorage` for what each part is."""

    kind = "classical"
    feature_type = "classical"
    described = "classical features"
    extractor_class = ClassicalFeatureExtractor
    compared = ("sampling_rate", "step_s", "entropy_frame_s")
    statistics_axis = 0

    def columns(self, sample_rate: int) -> dict[str, Any]:
        return {"features": List(Value("float32"))}

    def encode(self, window: np.ndarray, sample_rate: int) -> tuple[np.ndarray]:
        return (window.ravel(),)

    def faults(self, rows: pa.RecordBatch, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        count = parameters["num_features"]
        lengths = rows["num_frames"].to_numpy() * count
        holds = lists_hold(rows["features"], lengths, are_measured(rows["features"].flatten()))
        return {f"features that are not {count} numbers for each of num_frames": ~holds}

    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        return np.asarray(row["features"], dtype=np.float32).reshape(row["num_frames"], -1)

    def full_frames(self, window_s: float, parameters: Mapping[str, Any]) -> int:
        num_samples = round(window_s * parameters["sampling_rate"])
        if parameters["step_s"] is None:
            return 1
        return ClassicalFeatureExtractor(parameters["sampling_rate"], step_s=parameters["step_s"]).count_steps(
            num_samples
        )

    def window_frames(self, extractor: ClassicalFeatureExtractor, manifest: Mapping[str, Any]) -> int:
        return extractor.num_steps

    def batch(self, rows: Sequence[Mapping[str, Any]], extractor: ClassicalFeatureExtractor) -> dict[str, torch.Tensor]:
        """Standardised, and padded or cut to the extractor's `num_steps`, by the extractor itself."""
        return {"input_values": torch.from_numpy(extractor.standardise([self.decode(row) for row in rows]))}
