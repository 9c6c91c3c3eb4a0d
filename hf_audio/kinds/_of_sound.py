"""Features that are computed from stored waveforms on the model's device, instead of being stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import FeatureExtractionMixin

from hf_audio.errors import InputError
from hf_audio.kinds._kind import Kind
from hf_audio.kinds.waveform import KIND as SOUND
from hf_audio.kinds.waveform import levels_of, waveforms_of
from hf_audio.windows import SampleWindows

STORED_SOUND = "stored"  # key in a manifest of such features: the parameters of the stored waveforms


class OfSound:
    """A kind whose windows are stored as kind "waveform", but which behaves like the computed kind.

    Everything not defined here comes from the computed kind. Batches are sent to the device as 16-bit samples, and
    become the extractor's output there, in float32 for any precision of training.

    Args:
        kind: the computed kind, which must be computable.
        extractor: the published extractor of the dataset.
        stored: parameters of the waveforms.
        window_s: length of a full window, in seconds.
    """

    is_computed = True

    def __init__(
        self, kind: Kind, extractor: FeatureExtractionMixin, stored: Mapping[str, Any], window_s: float
    ) -> None:
        self.computed, self.stored, self.source = kind, dict(stored), kind.source_of(extractor)
        self.window_s, self.window_samples = window_s, SOUND.window_shape(window_s, stored)[0]
        self.num_frames = self.source.window_frames(window_s)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "computed":  # during copying or unpickling
            raise AttributeError(name)
        return getattr(self.computed, name)

    def columns(self, sample_rate: int) -> dict[str, Any]:
        """The columns of the stored waveforms."""
        return SOUND.columns(sample_rate)

    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        """The features of a row, float32 `[frames, ...]`, not normalized."""
        self._require_a_frame([row])
        (windows,) = self.source.windows([SOUND.decode(row)], self.window_s, self.window_s)
        ((_, window),) = windows
        return window

    def sample_windows(self, parameters: Mapping[str, Any], window_s: float, hop_s: float) -> SampleWindows:
        """As for waveforms: in samples, not in frames."""
        return SOUND.sample_windows(self.stored, window_s, hop_s)

    def batch(self, rows: Sequence[Mapping[str, Any]], extractor: FeatureExtractionMixin) -> dict[str, torch.Tensor]:
        """A model's inputs, and `num_frames` of the features instead of the rows' samples."""
        num_samples = torch.tensor([row["num_frames"] for row in rows])
        return self.inputs_of(self.stored_batch(rows, extractor), num_samples, extractor)

    def stored_batch(
        self, rows: Sequence[Mapping[str, Any]], extractor: FeatureExtractionMixin
    ) -> dict[str, torch.Tensor]:
        """`levels` int16 `[batch, samples]` of a full window."""
        self._require_a_frame(rows)
        return {"levels": levels_of(rows, extractor.sampling_rate, self.window_samples)}

    def inputs_of(
        self, stored: Mapping[str, torch.Tensor], num_samples: torch.Tensor, extractor: FeatureExtractionMixin
    ) -> dict[str, torch.Tensor]:
        """`input_values` and `num_frames` int64 `[batch]` from a `stored_batch`, on its device."""
        values, num_frames = self.features_of(self.sound_of(stored), num_samples, extractor)
        return {"input_values": values, "num_frames": num_frames}

    def sound_of(self, stored: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Waveforms float32 `[batch, samples]` from a `stored_batch`, on its device."""
        return waveforms_of(stored["levels"])

    def features_of(
        self, waveforms: torch.Tensor, num_samples: torch.Tensor, extractor: FeatureExtractionMixin
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Kind.inputs_of_waveforms`; samples after a window's end are set to 0."""
        places = torch.arange(waveforms.shape[1], device=waveforms.device)
        with torch.no_grad(), torch.autocast(waveforms.device.type, enabled=False):
            waveforms = waveforms.float().masked_fill(places >= num_samples[:, None], 0.0)
            return self.computed.inputs_of_waveforms(waveforms, num_samples, extractor)

    def _require_a_frame(self, rows: Sequence[Mapping[str, Any]]) -> None:
        shortest = SOUND.shortest_samples(self.stored)
        for row in rows:
            if row["num_frames"] < shortest:
                raise InputError(
                    f"A window of {row['clip_id']} has {row['num_frames']} samples, expected {shortest} or more: "
                    "download or build its dataset again"
                )
