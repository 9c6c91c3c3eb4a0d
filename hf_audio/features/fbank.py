"""Kaldi log-mel filterbanks, batched in torch, equal to what transformers' ASTFeatureExtractor computes per clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from torchaudio.compliance.kaldi import get_mel_banks
from transformers import ASTFeatureExtractor

from hf_audio.data.windows import cut_windows
from hf_audio.errors import InputError, unknown_name
from hf_audio.extractors.spectrogram import filter_blocks

FRAME_S = 0.025
HOP_S = 0.010
PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
NORMALISATIONS = ("dataset", "none")
LOWEST_RATE, FEWEST_BINS = 1000, 4  # the least that torchaudio makes filters of
# Kaldi's floor under the logarithm: digital silence becomes log(1.19e-7) = -15.94
ENERGY_FLOOR = torch.finfo(torch.float32).eps
# What is worked on together: on a CPU the spectra of 1k frames stay in the cache, a third faster than 8k
FRAMES_AT_A_TIME = {"cpu": 1024, "other": 65_536}


@dataclass(frozen=True)
class KaldiFbank:
    """Log-mel filterbank energies of mono waveforms in [-1, 1], un-normalised.

    25 ms Hann windows every 10 ms, per-frame mean removal, pre-emphasis of 0.97, power spectrum, triangular mel
    filters from 20 Hz to half the sample rate, natural logarithm: `torchaudio.compliance.kaldi.fbank` with the
    arguments that ASTFeatureExtractor gives it, without its mean and standard deviation. Frames are independent of
    each other, so a slice of a recording's frames equals the frames of the cut recording.

    Args:
        sample_rate: in Hz.
        num_mel_bins: mel filters.
        normalisation: of what models read: "dataset", by the training data's mean and deviation, or "none".

    Raises:
        InputError: another normalisation, for the stock extractor knows no other, or too few samples or bins.
    """

    sample_rate: int = 16_000
    num_mel_bins: int = 128
    normalisation: str = "dataset"

    times_real_time = 1000.0  # a core makes features of so many seconds of sound in one second
    is_stereo = False
    slow_imports = ()

    def __post_init__(self) -> None:
        if self.normalisation == "clip":
            raise InputError(
                "fbank features cannot be normalised by their own clip, since the AST's extractor does not do that: "
                "give --features spectrogram, or --normalisation dataset or none"
            )
        if self.normalisation not in NORMALISATIONS:
            raise unknown_name("normalisation", self.normalisation, NORMALISATIONS)
        if self.sample_rate < LOWEST_RATE or self.num_mel_bins < FEWEST_BINS:
            raise InputError(
                f"fbank features need a --sample_rate of {LOWEST_RATE} or more and --num_mel_bins {FEWEST_BINS} or "
                f"more, found {self.sample_rate} and {self.num_mel_bins}: try 16000 and 128"
            )

    @property
    def frame_samples(self) -> int:
        """Samples under one frame, and so the shortest waveform that has a frame at all."""
        return int(self.sample_rate * FRAME_S)

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next."""
        return int(self.sample_rate * HOP_S)

    @property
    def parameters(self) -> dict[str, float | int | str]:
        """Everything that decides the values, for a manifest."""
        return {
            "feature_type": "kaldi_fbank",
            "sampling_rate": self.sample_rate,
            "num_mel_bins": self.num_mel_bins,
            "frame_s": FRAME_S,
            "hop_s": HOP_S,
            "preemphasis": PREEMPHASIS,
            "lowest_hz": LOWEST_HZ,
            # only where it is not the default, so that builds from before there was a choice stay what they are
            **({} if self.normalisation == "dataset" else {"normalisation": self.normalisation}),
        }

    def num_frames(self, num_samples: int) -> int:
        """Frames that fit wholly into `num_samples`; 0 below one frame."""
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
        """The windows of each waveform `[samples]`, cut out of its features: (start in seconds, `[frames, bins]`)."""
        size, hop = self.window_frames(window_s), round(hop_s * self.sample_rate / self.hop_samples)
        frame_s = self.hop_samples / self.sample_rate
        for features in self([torch.from_numpy(waveform) for waveform in waveforms]):
            yield ((start * frame_s, window) for start, window in cut_windows(features.numpy(), size, hop))

    def to_feature_extractor(self, max_length: int, mean: float, std: float) -> ASTFeatureExtractor:
        """The stock extractor that computes the same from a waveform: a model published with it needs no hf_audio."""
        return ASTFeatureExtractor(
            sampling_rate=self.sample_rate,
            num_mel_bins=self.num_mel_bins,
            max_length=max_length,
            do_normalize=self.normalisation == "dataset",
            mean=mean,
            std=std,
        )

    def __call__(self, waveforms: Sequence[torch.Tensor] | torch.Tensor) -> list[torch.Tensor] | torch.Tensor:
        """Features of a batch, on the device of its waveforms.

        Args:
            waveforms: float32 `[batch, samples]`, or a list of `[samples]` of any lengths.

        Returns:
            float32 `[batch, frames, bins]`, or a list of `[frames, bins]`.

        Raises:
            ValueError: a waveform is shorter than one frame.
        """
        if isinstance(waveforms, torch.Tensor):
            features = self(list(waveforms))
            return torch.stack(features) if features else waveforms.new_zeros(0, 0, self.num_mel_bins)
        if not waveforms:
            return []
        for waveform in waveforms:
            if waveform.shape[-1] < self.frame_samples:
                raise ValueError(
                    f"A waveform of {waveform.shape[-1]} samples has no frame; at least {self.frame_samples} are needed"
                )
        views = [waveform.float().unfold(0, self.frame_samples, self.hop_samples) for waveform in waveforms]
        size = FRAMES_AT_A_TIME["cpu" if waveforms[0].device.type == "cpu" else "other"]
        frame_counts = [len(view) for view in views]
        log_mel = [self._log_mel(frames) for frames in _batches(views, size)]
        return list(torch.cat(log_mel).split(frame_counts))

    def _log_mel(self, frames: torch.Tensor) -> torch.Tensor:
        """`[frames, samples]` of raw audio → `[frames, bins]`.

        The steps before the FFT are kept as Kaldi orders them: folding them into fewer would round differently, and
        next to a loud tone the quiet bins are nothing but rounding.
        """
        frames = frames - frames.mean(dim=1, keepdim=True)
        padded = frames.new_zeros(len(frames), self._fft_samples)
        emphasised = padded[:, : self.frame_samples]
        torch.mul(frames[:, :-1], -PREEMPHASIS, out=emphasised[:, 1:])
        torch.mul(frames[:, 0], -PREEMPHASIS, out=emphasised[:, 0])
        emphasised += frames
        emphasised *= self._on(frames.device)[0]
        spectrum = torch.fft.rfft(padded)
        power = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
        blocks = [power[:, low:high] @ filters for low, high, filters in self._on(frames.device)[1]]
        return torch.cat(blocks, dim=1).clamp_(min=ENERGY_FLOOR).log_()

    @property
    def _fft_samples(self) -> int:
        return 1 << (self.frame_samples - 1).bit_length()

    @cached_property
    def _tables(self) -> dict[torch.device, tuple]:
        return {}

    def _on(self, device: torch.device) -> tuple[torch.Tensor, list[tuple[int, int, torch.Tensor]]]:
        """The window `[samples]` and the blocks (first FFT bin, last + 1, filters `[FFT bins, mel bins]`) there."""
        if device not in self._tables:
            window = torch.hann_window(self.frame_samples, periodic=False, device=device)
            blocks = [(low, high, filters.to(device)) for low, high, filters in self._banded_filters()]
            self._tables[device] = (window, blocks)
        return self._tables[device]

    def _banded_filters(self) -> list[tuple[int, int, torch.Tensor]]:
        filters, _ = get_mel_banks(
            self.num_mel_bins, self._fft_samples, float(self.sample_rate), LOWEST_HZ, 0.0, 100.0, -500.0, 1.0
        )
        return filter_blocks(filters)

    def __getstate__(self) -> dict[str, int | str]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # tables are made where needed

    def __setstate__(self, state: dict[str, int | str]) -> None:
        self.__dict__.update(state)


def _batches(views: list[torch.Tensor], size: int):
    """Concatenations `[<= size, samples]` of the rows of `views`, in order."""
    waiting, count = [], 0
    for view in views:
        for piece in view.split(size):
            if waiting and count + len(piece) > size:
                yield torch.cat(waiting)
                waiting, count = [], 0
            waiting.append(piece)
            count += len(piece)
    yield torch.cat(waiting)
