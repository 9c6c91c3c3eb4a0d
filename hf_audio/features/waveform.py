"""The sound itself as a feature: windows of the waveform, for models that compute their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import Wav2Vec2FeatureExtractor

from hf_audio.data.windows import cut_windows
from hf_audio.errors import InputError

HIGHEST_FLAC_RATE = 655_350


@dataclass(frozen=True)
class Waveform:
    """Mono waveforms in [-1, 1], at one sample rate, unchanged: a frame is a sample.

    Raises:
        InputError: a sample rate that FLAC, as which windows are stored, does not have.
    """

    sample_rate: int = 16_000

    times_real_time = 2500.0  # a core reads and writes so many seconds of sound in one second
    is_stereo = False
    slow_imports = ()

    def __post_init__(self) -> None:
        if not 1 <= self.sample_rate <= HIGHEST_FLAC_RATE:
            raise InputError(
                f"Sound is stored as FLAC, of 1 to {HIGHEST_FLAC_RATE} Hz, found --sample_rate {self.sample_rate}: "
                "try the rate of the recordings, e.g. 44100"
            )

    @property
    def frame_samples(self) -> int:
        """The shortest waveform worth storing: 25 ms, what the convolutions of Wav2Vec2 and its like need."""
        return round(0.025 * self.sample_rate)

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next."""
        return 1

    @property
    def parameters(self) -> dict[str, float | int | str]:
        """Everything that decides the values, for a manifest."""
        return {"feature_type": "waveform", "sampling_rate": self.sample_rate}

    def num_frames(self, num_samples: int) -> int:
        """Samples of `num_samples` that make a window; 0 below `frame_samples`."""
        return num_samples if num_samples >= self.frame_samples else 0

    def window_frames(self, window_s: float) -> int:
        """Samples of a window of `window_s` seconds."""
        return self.num_frames(round(window_s * self.sample_rate))

    def window_samples(self, window_s: float, hop_s: float) -> tuple[int, int]:
        """Samples of a window, and from one window to the next."""
        return round(window_s * self.sample_rate), round(hop_s * self.sample_rate)

    def windows(
        self, waveforms: Sequence[np.ndarray], window_s: float, hop_s: float
    ) -> Iterator[Iterator[tuple[float, np.ndarray]]]:
        """The windows of each waveform `[samples]`: (start in seconds, float32 `[samples]`)."""
        size, hop = self.window_samples(window_s, hop_s)
        for waveform in waveforms:
            yield ((start / self.sample_rate, window) for start, window in cut_windows(waveform, size, hop))

    def to_feature_extractor(self, max_length: int, mean: float, std: float) -> Wav2Vec2FeatureExtractor:
        """The stock extractor of Wav2Vec2, HuBERT and WavLM; it standardises each waveform by itself.

        Models that want another one (Whisper's) bring it along; length and statistics of the training data decide
        nothing here.
        """
        return Wav2Vec2FeatureExtractor(sampling_rate=self.sample_rate, do_normalize=True)
