"""Features that are computed of stored sound, on the device where the model is, in place of being stored themselves."""

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

STORED_SOUND = "stored"  # of a manifest of such features: the parameters of the sound in its rows


class OfSound:
    """A kind whose windows are rows of kind "waveform": anyone who asks `features.kind` finds features nevertheless.

    What is not here is the kind's own. Batches travel to the device as 16-bit samples, and become there what the
    extractor would have made of them: in float32, whatever the precision of training.

    Args:
        kind: of what is computed; it is computable.
        extractor: the published extractor of the dataset.
        stored: parameters of the waveforms.
        window_s: of a full window, of `window_samples`, which has `num_frames`.
    """

    is_computed = True

    def __init__(
        self, kind: Kind, extractor: FeatureExtractionMixin, stored: Mapping[str, Any], window_s: float
    ) -> None:
        self.computed, self.stored, self.source = kind, dict(stored), kind.source_of(extractor)
        self.window_s, self.window_samples = window_s, SOUND.window_shape(window_s, stored)[0]
        self.num_frames = self.source.window_frames(window_s)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "computed":  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.computed, name)

    def columns(self, sample_rate: int) -> dict[str, Any]:
        """Of the rows, which are sound."""
        return SOUND.columns(sample_rate)

    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        """The features of a row, float32 `[frames, ...]`, not normalized."""
        self._require_a_frame([row])
        (windows,) = self.source.windows([SOUND.decode(row)], self.window_s, self.window_s)
        ((_, window),) = windows
        return window

    def sample_windows(self, parameters: Mapping[str, Any], window_s: float, hop_s: float) -> SampleWindows:
        """As sound is cut, in samples and not in frames."""
        return SOUND.sample_windows(self.stored, window_s, hop_s)

    def batch(self, rows: Sequence[Mapping[str, Any]], extractor: FeatureExtractionMixin) -> dict[str, torch.Tensor]:
        """A model's inputs, and `num_frames` of them in place of the rows' samples."""
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
        """`input_values`, and `num_frames` int64 `[batch]`, of a `stored_batch` on its device."""
        values, num_frames = self.features_of(self.sound_of(stored), num_samples, extractor)
        return {"input_values": values, "num_frames": num_frames}

    def sound_of(self, stored: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Waveforms float32 `[batch, samples]` of a `stored_batch`, on its device."""
        return waveforms_of(stored["levels"])

    def features_of(
        self, waveforms: torch.Tensor, num_samples: torch.Tensor, extractor: FeatureExtractionMixin
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Kind.inputs_of_waveforms`; what lies behind a window's end is not heard."""
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
