"""Spectrograms as channels of one tensor: log-mel, left and right, harmonic, percussive, MFCC, wavelets.

This file and those it imports are copied to published models, so they do not import hf_audio:

    extractor = AutoFeatureExtractor.from_pretrained("someone/model", trust_remote_code=True)
    extractor(waveform, sampling_rate=44100, return_tensors="pt")["input_values"]    # [1, frames, bins]

Log-mel values are those of librosa (McFee et al. 2015), `power_to_db(melspectrogram(...), top_db=None)`: Slaney's mel
filters, periodic Hann windows, frames centered on multiples of the hop with zeros beyond both ends. There is a fixed
floor of -100 dB. With librosa's default, 80 dB below the loudest bin, all frames would depend on the whole window, so a
loud drum beat would change the values of silence.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from .decomposition import FLOOR_DB, decibels, harmonic_and_percussive, scalogram
from .filter_blocks import filter_blocks
from .given_sound import as_waveforms, check_sampling_rate

CHANNELS = ("mel", "left", "right", "harmonic", "percussive", "mfcc", "wavelet")
NORMALIZATIONS = ("dataset", "clip", "none")
# Channels with a smaller standard deviation are constant, and only centered
MIN_STD = 1e-4
# Samples per batch: on a CPU, this many stay in a core's cache
SAMPLES_AT_A_TIME = {"cpu": 1 << 17, "other": 1 << 25}


class SpectrogramFeatureExtractor(SequenceFeatureExtractor):
    """Waveforms → normalized spectrograms in dB, one per name in `channels`.

    Args:
        feature_size: values per frame; always `num_mel_bins`, any other value is ignored.
        sampling_rate: in Hz.
        padding_value: of frames after a short waveform's end. By default 0 if values are normalized, which is their
            mean, otherwise -110 dB: below the floor of -100 dB, so no sound has it, not even digital silence.
        num_mel_bins: number of mel bands, and also of MFCCs and wavelets: all channels have the same shape.
        n_fft: samples per spectrum.
        hop_samples: samples from one frame to the next.
        channels: any of "mel" (of the mono mix), "left", "right" (both equal for mono waveforms), "harmonic",
            "percussive" (mel of the two parts from median filters), "mfcc" and "wavelet".
        max_length: number of frames that a waveform is cut or padded to; None: pad to the longest of the batch.
        normalization: "dataset" ((dB - mean) / std), "clip" (the same with each waveform's own statistics) or "none".
        mean, std: of each channel over the training data, in dB, for "dataset"; None: values are unchanged.

    Raises:
        ValueError: unknown channel or normalization.
    """

    model_input_names = ["input_values"]  # noqa: RUF012 - as the stock extractors have it

    def __init__(
        self,
        feature_size: int = 128,
        sampling_rate: int = 22_050,
        padding_value: float | None = None,
        num_mel_bins: int = 128,
        n_fft: int = 2048,
        hop_samples: int = 512,
        channels: Sequence[str] = ("mel",),
        max_length: int | None = None,
        normalization: str = "dataset",
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        return_attention_mask: bool = False,
        **kwargs,
    ) -> None:
        for name in channels:
            if name not in CHANNELS:
                raise ValueError(f"Unknown channel {name!r}, expected one of {', '.join(CHANNELS)}")
        if normalization not in NORMALIZATIONS:
            raise ValueError(f"Unknown normalization {normalization!r}, expected one of {', '.join(NORMALIZATIONS)}")
        if padding_value is None:
            padding_value = FLOOR_DB - 10 if normalization == "none" else 0.0
        super().__init__(num_mel_bins, sampling_rate, padding_value, **kwargs)
        self.return_attention_mask = return_attention_mask
        self.num_mel_bins, self.n_fft, self.hop_samples = num_mel_bins, n_fft, hop_samples
        self.channels, self.max_length, self.normalization = list(channels), max_length, normalization
        self.mean = np.ravel(mean).tolist() if mean is not None else None
        self.std = np.ravel(std).tolist() if std is not None else None

    @property
    def num_channels(self) -> int:
        """Number of channels per waveform."""
        return len(self.channels)

    @property
    def is_stereo(self) -> bool:
        """Whether there are separate channels for left and right."""
        return "left" in self.channels or "right" in self.channels

    def num_frames(self, num_samples: int) -> int:
        """Centered frames in a waveform of `num_samples`: 431 for 5 s at 44,100 Hz every 512 samples."""
        return 1 + num_samples // self.hop_samples

    def __call__(
        self,
        raw_speech: np.ndarray | Sequence[float] | Sequence[np.ndarray],
        sampling_rate: int | None = None,
        return_tensors: str | None = None,
        **kwargs,
    ) -> BatchFeature:
        """Spectrograms of one or more waveforms.

        Args:
            raw_speech: mono `[samples]`, stereo `[2, samples]`, or a list of these. Without channels left or right, a
                two-dimensional array is treated as several mono waveforms, as by other extractors.

        Returns:
            `input_values`, float32: `[batch, frames, bins]` with one channel, otherwise `[batch, channels, frames,
            bins]`.

        Raises:
            ValueError: wrong sampling rate, more than two audio channels, or no samples.
        """
        check_sampling_rate(sampling_rate, self.sampling_rate)
        is_one = self.is_stereo and getattr(raw_speech, "shape", ())[:-1] == (2,)
        sounds: Any = [raw_speech] if is_one else raw_speech
        windows = [self.extract(waveform) for waveform in as_waveforms(sounds, may_be_stereo=True)]
        return BatchFeature({"input_values": self.normalize(windows)}, tensor_type=return_tensors)

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """`[samples]` or `[2, samples]` → float32 `[frames, channels, bins]` in dB: not normalized, not padded."""
        if self.max_length is not None:
            waveform = waveform[..., : self.max_length * self.hop_samples - 1]
        sound = torch.from_numpy(np.array(waveform, dtype=np.float32, ndmin=2))
        return self.decibels_of(sound.mean(dim=0, keepdim=True), sound[:1], sound[-1:])[0].numpy()

    def decibels_of(
        self, mono: torch.Tensor, left: torch.Tensor | None = None, right: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Waveforms `[batch, samples]` on any device → float32 `[batch, frames, channels, bins]` in dB.

        Args:
            left, right: for the channels with these names, `[batch, samples]`.
        """
        sources = {"mel": mono, "left": left, "right": right}
        wanted = {"mel" if name == "mfcc" else name for name in self.channels}
        found = {name: self._log_mel(source) for name, source in sources.items() if name in wanted}
        if "mfcc" in self.channels:
            found["mfcc"] = found["mel"] @ _cosines(self.num_mel_bins, mono.device)
        if "harmonic" in self.channels or "percussive" in self.channels:
            parts = zip(*(self._parts(sound) for sound in mono.split(1)), strict=True)
            found |= {name: torch.cat(part) for name, part in zip(("harmonic", "percussive"), parts, strict=True)}
        if "wavelet" in self.channels:
            settings = (self.sampling_rate, self.hop_samples, self.num_mel_bins)
            found["wavelet"] = torch.stack([scalogram(sound, *settings) for sound in mono])
        return torch.stack([found[name] for name in self.channels], dim=2)

    def _log_mel(self, sounds: torch.Tensor) -> torch.Tensor:
        """`[batch, samples]` → `[batch, frames, bins]` in dB."""
        return decibels(
            torch.cat([torch.cat([self._mel_of(power) for power in some], dim=1) for some in self._powers(sounds)])
        )

    def _parts(self, sound: torch.Tensor) -> list[torch.Tensor]:
        """Harmonic and percussive mel spectrogram of `[1, samples]`: `[1, frames, bins]` in dB each."""
        (powers,) = self._powers(sound)
        magnitude = torch.cat(list(powers), dim=1)[0].sqrt_()
        return [decibels(self._mel_of(part.square_()))[None] for part in harmonic_and_percussive(magnitude)]

    def _mel_of(self, power: torch.Tensor) -> torch.Tensor:
        return mel_of(power, self.sampling_rate, self.n_fft, self.num_mel_bins)

    def _powers(self, sounds: torch.Tensor) -> Iterator[Iterator[torch.Tensor]]:
        """Power spectra of `[batch, samples]`, in batches of sounds and then of frames:
        `[sounds, frames, n_fft // 2 + 1]`."""
        half, device = self.n_fft // 2, sounds.device
        frames = torch.nn.functional.pad(sounds, (half, half)).unfold(1, self.n_fft, self.hop_samples)
        at_a_time = max(1, SAMPLES_AT_A_TIME["cpu" if device.type == "cpu" else "other"] // self.n_fft)
        for some in frames.split(max(1, at_a_time // frames.shape[1])):
            yield (_power(piece * _hann(self.n_fft, device)) for piece in some.split(at_a_time, dim=1))

    def normalize(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        """Outputs of `extract` for several waveforms → float32, the model's input, see `__call__`."""
        num_frames = self.max_length or max(len(window) for window in windows)
        shape = (len(windows), self.num_channels, num_frames, self.num_mel_bins)
        batch = np.full(shape, self.padding_value, dtype=np.float32)
        for row, window in zip(batch, windows, strict=True):
            window = window[:num_frames].transpose(1, 0, 2)
            mean, std = self._statistics(window)
            row[:, : window.shape[1]] = (window - mean) / std
        return batch[:, 0] if self.num_channels == 1 else batch

    def _statistics(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation `[channels, 1, 1]` for normalizing a window `[channels, frames, bins]`."""
        if self.normalization == "clip":
            mean = window.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
            std = varying(window.std(axis=(1, 2), dtype=np.float64))
        else:
            mean, std = self.constants
        return mean[:, None, None], std[:, None, None]

    @property
    def constants(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation `[channels]` for normalizing all windows, unless each has its own."""
        is_plain = self.normalization != "dataset"
        mean, std = (
            np.full(self.num_channels, other if is_plain or numbers is None else numbers, dtype=np.float32)
            for numbers, other in ((self.mean, 0), (self.std, 1))
        )
        return mean, varying(std)


def varying(std: np.ndarray) -> np.ndarray:
    """Standard deviations as float32 for division: 1 if a channel is constant."""
    return np.where(std < MIN_STD, np.float32(1), np.float32(std))


def mel_of(power: torch.Tensor, sampling_rate: int, n_fft: int, num_mel_bins: int) -> torch.Tensor:
    """`[..., n_fft // 2 + 1]` → `[..., mel bins]`."""
    blocks = _mel_blocks(sampling_rate, n_fft, num_mel_bins, power.device)
    return torch.cat([power[..., low:high] @ filters for low, high, filters in blocks], dim=-1)


def _power(frames: torch.Tensor) -> torch.Tensor:
    squares = torch.view_as_real(torch.fft.rfft(frames)).square_()
    return squares[..., 0] + squares[..., 1]


@lru_cache(maxsize=8)
def _hann(n_fft: int, device: torch.device) -> torch.Tensor:
    return torch.hann_window(n_fft, periodic=True, dtype=torch.float64).float().to(device)


@lru_cache(maxsize=8)
def mel_filters(sampling_rate: int, n_fft: int, num_mel_bins: int) -> np.ndarray:
    """Slaney's filters, with equal area, as in librosa: float32 `[n_fft // 2 + 1, mel bins]`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filter has all zero values")
        filters = mel_filter_bank(
            n_fft // 2 + 1, num_mel_bins, 0.0, sampling_rate / 2, sampling_rate, norm="slaney", mel_scale="slaney"
        )
    return filters.astype(np.float32)


@lru_cache(maxsize=8)
def _mel_blocks(
    sampling_rate: int, n_fft: int, num_mel_bins: int, device: torch.device
) -> list[tuple[int, int, torch.Tensor]]:
    blocks = filter_blocks(torch.from_numpy(mel_filters(sampling_rate, n_fft, num_mel_bins)).T)
    return [(low, high, filters.to(device)) for low, high, filters in blocks]


@lru_cache(maxsize=8)
def _cosines(size: int, device: torch.device) -> torch.Tensor:
    """The orthonormal DCT-II as a matrix `[mel bins, coefficients]`."""
    order, place = np.arange(size), np.arange(size)[:, None] + 0.5
    cosines = np.sqrt(2 / size) * np.cos(np.pi / size * place * order)
    cosines[:, 0] /= np.sqrt(2)
    return torch.from_numpy(cosines.astype(np.float32)).to(device)


SpectrogramFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")
