"""Extractors that cut waveforms into windows and process each on its own, as published extractors do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from transformers import FeatureExtractionMixin

from hf_audio.windows import cut_windows


class CutSound(ABC):
    """Base class of such a `WindowExtractor`; subclasses define `sample_rate` and `frame_samples`."""

    sample_rate: int

    @property
    @abstractmethod
    def frame_samples(self) -> int:
        """Minimum number of samples of a waveform."""

    @abstractmethod
    def count(self, num_samples: int) -> int:
        """Frames (samples, steps) of `num_samples`, which is at least `frame_samples`."""

    @abstractmethod
    def extract(self, sound: np.ndarray) -> np.ndarray:
        """Features float32 `[frames, ...]` of a window `[samples]` or `[2, samples]`."""

    @abstractmethod
    def to_feature_extractor(self, max_length: Any, mean: Any, std: Any) -> FeatureExtractionMixin:
        """See `WindowExtractor`."""

    def num_frames(self, num_samples: int) -> int:
        """Frames (samples, steps) of `num_samples`; 0 below `frame_samples`."""
        return self.count(num_samples) if num_samples >= self.frame_samples else 0

    def window_frames(self, window_s: float) -> int:
        """Frames (samples, steps) of a window of `window_s` seconds."""
        return self.num_frames(round(window_s * self.sample_rate))

    def window_samples(self, window_s: float, hop_s: float) -> tuple[int, int]:
        """Samples of a window, and from one window to the next."""
        return round(window_s * self.sample_rate), round(hop_s * self.sample_rate)

    def windows(
        self, waveforms: Sequence[np.ndarray], window_s: float, hop_s: float
    ) -> Iterator[Iterator[tuple[float, np.ndarray]]]:
        """The windows of each waveform `[samples]` or `[2, samples]`: (start in seconds, output of `extract`).

        Windows are computed lazily: overlapping windows of an hour would take gigabytes.
        """
        size, hop = self.window_samples(window_s, hop_s)
        for waveform in waveforms:
            yield (
                (start / self.sample_rate, self.extract(window.T))
                for start, window in cut_windows(waveform.T, size, hop)
            )

    @cached_property
    def published(self) -> FeatureExtractionMixin:
        """The published extractor without statistics, whose output is stored."""
        return self.to_feature_extractor(None, None, None)
