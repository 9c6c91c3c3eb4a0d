"""The extractor of kind "fbank": Kaldi's log-mel filter banks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import ASTFeatureExtractor

from hf_audio.errors import InputError, unknown_name
from hf_audio.extractors.fbank import (
    FRAME_S,
    HOP_S,
    LOWEST_HZ,
    PREEMPHASIS,
    FbankFeatureExtractor,
    frame_samples_at,
    hop_samples_at,
    kaldi_log_mel,
)
from hf_audio.kinds._mel_middles import kaldi_middles_hz
from hf_audio.windows import cut_windows

NORMALIZATIONS = ("dataset", "none")
LOWEST_RATE, MIN_BINS = 1000, 4  # below these, filters are empty
STOCK_RATE = 16_000  # the only rate at which the stock extractor computes the same without torchaudio


@dataclass(frozen=True)
class KaldiFbank:
    """Log-mel filter bank energies of mono waveforms in [-1, 1], not normalized.

    25 ms Hann windows every 10 ms, mean removal per frame, pre-emphasis of 0.97, power spectrum, triangular mel filters
    from 20 Hz to half the sample rate, natural logarithm: `torchaudio.compliance.kaldi.fbank` with
    ASTFeatureExtractor's arguments, without its mean and standard deviation. Frames are independent of each other, so a
    slice of a recording's frames equals the frames of the cut recording.

    Args:
        sample_rate: in Hz.
        num_mel_bins: number of mel filters.
        normalization: of the model's input: "dataset", by the training data's mean and standard deviation, or "none".

    Raises:
        InputError: a normalization that the stock extractor does not have, or too low a rate or number of bins.
    """

    sample_rate: int = 16_000
    num_mel_bins: int = 128
    normalization: str = "dataset"

    times_real_time = 1000.0  # seconds of audio that a core processes per second
    is_stereo = False
    slow_imports = ()

    def __post_init__(self) -> None:
        if self.normalization == "clip":
            raise InputError(
                "fbank features cannot be normalized per clip, because AST's extractor does not support it: give "
                "--features spectrogram, or --normalization dataset or none"
            )
        if self.normalization not in NORMALIZATIONS:
            raise unknown_name("normalization", self.normalization, NORMALIZATIONS)
        if self.sample_rate < LOWEST_RATE or self.num_mel_bins < MIN_BINS:
            raise InputError(
                f"fbank features need a --sample_rate of {LOWEST_RATE} or more and --num_mel_bins {MIN_BINS} or "
                f"more, found {self.sample_rate} and {self.num_mel_bins}: try 16000 and 128"
            )

    @property
    def frame_samples(self) -> int:
        """Samples per frame, which is also the minimum length of a waveform."""
        return frame_samples_at(self.sample_rate)

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next."""
        return hop_samples_at(self.sample_rate)

    @property
    def middles_hz(self) -> np.ndarray:
        """Center frequency of each bin, float64 `[bins]`."""
        return kaldi_middles_hz(self.sample_rate, self.num_mel_bins)

    @property
    def parameters(self) -> dict[str, float | int | str]:
        """All settings that determine the values, for a manifest."""
        return {
            "kind": "fbank",
            "sampling_rate": self.sample_rate,
            "num_mel_bins": self.num_mel_bins,
            "frame_s": FRAME_S,
            "hop_s": HOP_S,
            "preemphasis": PREEMPHASIS,
            "lowest_hz": LOWEST_HZ,
            "normalization": self.normalization,
        }

    def num_frames(self, num_samples: int) -> int:
        """Whole frames in `num_samples`."""
        return max(0, 1 + (num_samples - self.frame_samples) // self.hop_samples)

    def window_frames(self, window_s: float) -> int:
        """Frames of a window of `window_s` seconds: 298 for 3 s."""
        return self.num_frames(round(window_s * self.sample_rate))

    def window_samples(self, window_s: float, hop_s: float) -> tuple[int, int]:
        """Samples of a window, and from one window to the next."""
        hop_frames = round(hop_s * self.sample_rate / self.hop_samples)
        last_frame = (self.window_frames(window_s) - 1) * self.hop_samples
        return last_frame + self.frame_samples, hop_frames * self.hop_samples

    def windows(
        self, waveforms: Sequence[np.ndarray], window_s: float, hop_s: float
    ) -> Iterator[Iterator[tuple[float, np.ndarray]]]:
        """The windows of each waveform `[samples]`, cut from its features: (start in seconds, `[frames, bins]`)."""
        size, hop = self.window_frames(window_s), round(hop_s * self.sample_rate / self.hop_samples)
        frame_s = fbank_frame_s(self.sample_rate)
        for features in self([torch.from_numpy(waveform) for waveform in waveforms]):
            yield ((start * frame_s, window) for start, window in cut_windows(features.numpy(), size, hop))

    def to_feature_extractor(self, max_length: int, mean: float, std: float) -> ASTFeatureExtractor:
        """The published extractor that computes the same from a waveform: the stock one at 16 kHz, our own otherwise.

        Without torchaudio, the stock extractor gives different values at other rates.
        """
        return published_extractor(self.sample_rate)(
            sampling_rate=self.sample_rate,
            num_mel_bins=self.num_mel_bins,
            max_length=max_length,
            do_normalize=self.normalization == "dataset",
            mean=mean,
            std=std,
        )

    def __call__(self, waveforms: Sequence[torch.Tensor] | torch.Tensor) -> Any:
        """Features of a batch, on the device of its waveforms.

        Args:
            waveforms: float32 `[batch, samples]`, or a list of `[samples]` of any lengths.

        Returns:
            float32 `[batch, frames, bins]`, or a list of `[frames, bins]`.

        Raises:
            ValueError: a waveform is shorter than one frame.
        """
        features = kaldi_log_mel(list(waveforms), self.sample_rate, self.num_mel_bins)
        if isinstance(waveforms, torch.Tensor):
            return torch.stack(features) if features else waveforms.new_zeros(0, 0, self.num_mel_bins)
        return features


def published_extractor(sample_rate: int) -> type[ASTFeatureExtractor]:
    """The extractor class that is published with features of this rate."""
    return ASTFeatureExtractor if sample_rate == STOCK_RATE else FbankFeatureExtractor


def fbank_frame_s(sample_rate: int) -> float:
    """Seconds from one frame to the next: 10 ms, in whole samples."""
    return hop_samples_at(sample_rate) / sample_rate
