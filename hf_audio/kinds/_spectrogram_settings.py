"""The extractor of kind "spectrogram", with the checks of its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_audio.errors import InputError, unknown_name
from hf_audio.extractors.spectrogram import CHANNELS, NORMALIZATIONS, SpectrogramFeatureExtractor, mel_filters
from hf_audio.kinds._cut_sound import CutSound

# Seconds of audio per second for which a core computes and stores a channel, with frames of 2,048 samples every 512, at
# 22,050 or 44,100 Hz. Harmonic and percussive parts are computed together.
SPEEDS = {"mel": 1000.0, "left": 1000.0, "right": 1000.0, "mfcc": 1000.0, "parts": 65.0, "wavelet": 50.0}
PARTS = ("harmonic", "percussive")


@dataclass(frozen=True)
class Spectrogram(CutSound):
    """The output of SpectrogramFeatureExtractor for each window on its own, not normalized.

    Frames are centered, so the first and last frames of a window include zeros beyond its ends; so do harmonic and
    percussive parts and wavelets. Overlapping windows are therefore computed separately, and equal the published
    extractor's output for the window. A window of `n` samples has 1 + n // hop_samples frames.

    Args:
        sample_rate: in Hz.
        num_mel_bins: number of mel bands, and also of MFCCs and wavelets.
        n_fft: samples per spectrum; even.
        hop_samples: samples from one frame to the next.
        channels: names in CHANNELS, in the order in which they are stacked.
        normalization: "dataset", "clip" or "none"; see SpectrogramFeatureExtractor.

    Raises:
        InputError: an invalid setting; see `_check`.
    """

    sample_rate: int = 22_050
    num_mel_bins: int = 128
    n_fft: int = 2048
    hop_samples: int = 512
    channels: tuple[str, ...] = ("mel",)
    normalization: str = "dataset"

    slow_imports = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        _check(self)

    @property
    def times_real_time(self) -> float:
        """Seconds of audio that a core processes per second."""
        made = {"parts" if name in PARTS else name for name in self.channels}
        return 1 / sum(1 / SPEEDS[name] for name in sorted(made))

    @property
    def is_stereo(self) -> bool:
        """Whether it needs left and right; mono features of a stereo file are computed from their mean."""
        return self.published.is_stereo

    @property
    def frame_samples(self) -> int:
        """Samples per spectrum, which is also the minimum length of a waveform."""
        return self.n_fft

    @property
    def parameters(self) -> dict[str, float | int | str | list[str]]:
        """All settings that determine the values, for a manifest."""
        return {
            "kind": "spectrogram",
            "sampling_rate": self.sample_rate,
            "num_mel_bins": self.num_mel_bins,
            "n_fft": self.n_fft,
            "hop_samples": self.hop_samples,
            "channels": list(self.channels),
            "normalization": self.normalization,
        }

    def count(self, num_samples: int) -> int:
        """431 frames of 5 s at 44,100 Hz, 1,292 of 30 s at 22,050 Hz."""
        return self.published.num_frames(num_samples)

    def extract(self, sound: np.ndarray) -> np.ndarray:
        """float32 `[frames, channels, bins]` in dB."""
        return self.published.extract(sound)

    def to_feature_extractor(
        self, max_length: int, mean: Sequence[float] | float, std: Sequence[float] | float
    ) -> SpectrogramFeatureExtractor:
        """The extractor that computes the same from a waveform, for `max_length` frames, with training statistics."""
        return SpectrogramFeatureExtractor(
            sampling_rate=self.sample_rate,
            num_mel_bins=self.num_mel_bins,
            n_fft=self.n_fft,
            hop_samples=self.hop_samples,
            channels=self.channels,
            max_length=max_length,
            normalization=self.normalization,
            mean=mean,
            std=std,
        )


def _check(wanted: Spectrogram) -> None:
    """Raises InputError for invalid settings or combinations of settings."""
    for name in wanted.channels:
        if name not in CHANNELS:
            raise unknown_name("channel", name, CHANNELS)
    if not wanted.channels or len(set(wanted.channels)) < len(wanted.channels):
        raise InputError(
            f"--channels must name each channel once, found {' '.join(wanted.channels) or 'none'}: give any of "
            f"{', '.join(CHANNELS)}"
        )
    if wanted.normalization not in NORMALIZATIONS:
        raise unknown_name("normalization", wanted.normalization, NORMALIZATIONS)
    if wanted.sample_rate < 1 or wanted.num_mel_bins < 1:
        raise InputError(
            f"--sample_rate and --num_mel_bins must be positive, found {wanted.sample_rate} and {wanted.num_mel_bins}"
        )
    if wanted.n_fft < 2 or wanted.n_fft % 2:
        raise InputError(f"--n_fft must be an even number of samples, found {wanted.n_fft}: try 2048")
    if not 1 <= wanted.hop_samples <= wanted.n_fft:
        raise InputError(
            f"--hop_samples must be from 1 to --n_fft ({wanted.n_fft}), so that no sound between frames is lost, found "
            f"{wanted.hop_samples}: try {wanted.n_fft // 4 or 1}"
        )
    if set(wanted.channels) != {"wavelet"}:
        _check_filters(wanted.sample_rate, wanted.n_fft, wanted.num_mel_bins)


def _check_filters(sample_rate: int, n_fft: int, num_mel_bins: int) -> None:
    """Raises InputError if mel filters are so narrow that some are empty."""

    def num_empty(n_fft: int, num_mel_bins: int) -> int:
        return int((~mel_filters(sample_rate, n_fft, num_mel_bins).any(axis=0)).sum())

    empty = num_empty(n_fft, num_mel_bins)
    if empty:
        fewer = next((bins for bins in range(num_mel_bins - 1, 1, -1) if not num_empty(n_fft, bins)), 1)
        longer = n_fft
        while num_empty(longer, num_mel_bins):
            longer *= 2
        raise InputError(
            f"{num_mel_bins} mel bins are too many for --n_fft {n_fft} at {sample_rate} Hz: {empty} of them would be "
            f"empty; give --num_mel_bins {fewer} or fewer, or --n_fft {longer}"
        )
