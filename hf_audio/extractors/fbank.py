"""Kaldi log-mel filter banks at any sample rate, computed with torch only.

transformers' ASTFeatureExtractor computes them too, but without torchaudio it is correct only at 16 kHz: it always uses
frames of 400 samples every 160 and an FFT of 512. Models with other rates are published with FbankFeatureExtractor.

This file and those it imports are copied to published models, so they do not import hf_audio:

    extractor = AutoFeatureExtractor.from_pretrained("someone/model", trust_remote_code=True)
    extractor(waveform, sampling_rate=22050, return_tensors="pt")["input_values"]    # [1, frames, bins]
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from transformers import ASTFeatureExtractor

from .filter_blocks import filter_blocks

FRAME_S = 0.025
HOP_S = 0.010
PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
# Kaldi's floor for the logarithm: digital silence becomes log(1.19e-7) = -15.94
ENERGY_FLOOR = torch.finfo(torch.float32).eps
# Frames per batch: on a CPU, the spectra of 1k frames stay in the cache, which is a third faster than with 8k
FRAMES_AT_A_TIME = {"cpu": 1024, "other": 65_536}


class FbankFeatureExtractor(ASTFeatureExtractor):
    """ASTFeatureExtractor for any sample rate, with the same settings, with or without torchaudio.

    Frames of 25 ms every 10 ms, in whole samples, are cut or padded to `max_length`.
    """

    def _extract_fbank_features(self, waveform: np.ndarray, max_length: int) -> np.ndarray:
        """`[samples]` → float32 `[max_length, bins]`, not normalized."""
        sound = torch.from_numpy(np.asarray(waveform, dtype=np.float32).reshape(-1))
        frames = kaldi_log_mel([sound], self.sampling_rate, self.num_mel_bins)[0][:max_length]
        return np.pad(frames.numpy(), ((0, max_length - len(frames)), (0, 0)))


def frame_samples_at(sampling_rate: int) -> int:
    """Samples per frame."""
    return int(sampling_rate * FRAME_S)


def hop_samples_at(sampling_rate: int) -> int:
    """Samples from one frame to the next."""
    return int(sampling_rate * HOP_S)


def kaldi_log_mel(waveforms: Sequence[torch.Tensor], sampling_rate: int, num_mel_bins: int) -> list[torch.Tensor]:
    """Log-mel energies of waveforms of any lengths, on their device.

    Args:
        waveforms: `[samples]` each.

    Returns:
        float32 `[frames, bins]` for each.

    Raises:
        ValueError: a waveform is shorter than one frame.
    """
    if not waveforms:
        return []
    frame_samples, hop_samples = frame_samples_at(sampling_rate), hop_samples_at(sampling_rate)
    for waveform in waveforms:
        if waveform.shape[-1] < frame_samples:
            raise ValueError(
                f"A waveform of {waveform.shape[-1]} samples is shorter than a frame; at least {frame_samples} are "
                "needed"
            )
    views = [waveform.float().unfold(0, frame_samples, hop_samples) for waveform in waveforms]
    size = FRAMES_AT_A_TIME["cpu" if waveforms[0].device.type == "cpu" else "other"]
    log_mel = [_log_mel(frames, sampling_rate, num_mel_bins) for frames in _batches(views, size)]
    return list(torch.cat(log_mel).split([len(view) for view in views]))


def _log_mel(frames: torch.Tensor, sampling_rate: int, num_mel_bins: int) -> torch.Tensor:
    """`[frames, samples]` of raw audio → `[frames, bins]`.

    The steps before the FFT are in Kaldi's order: combining them would round differently, and quiet bins next to a loud
    tone consist only of rounding errors.
    """
    num_samples = frames.shape[1]
    window, blocks = _tables(num_samples, sampling_rate, num_mel_bins, frames.device)
    frames = frames - frames.mean(dim=1, keepdim=True)
    padded = frames.new_zeros(len(frames), _fft_samples(num_samples))
    emphasised = padded[:, :num_samples]
    torch.mul(frames[:, :-1], -PREEMPHASIS, out=emphasised[:, 1:])
    torch.mul(frames[:, 0], -PREEMPHASIS, out=emphasised[:, 0])
    emphasised += frames
    emphasised *= window
    spectrum = torch.fft.rfft(padded)
    power = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
    mel = [power[:, low:high] @ filters for low, high, filters in blocks]
    return torch.cat(mel, dim=1).clamp_(min=ENERGY_FLOOR).log_()


def kaldi_mel_filters(sampling_rate: int, fft_samples: int, num_mel_bins: int) -> torch.Tensor:
    """Triangles of equal height on Kaldi's mel scale, from 20 Hz to half the rate: float32 `[mel bins, FFT bins]`.

    The steps are those of torchaudio.compliance.kaldi.get_mel_banks, so that rounding is the same.
    """
    lowest, highest = (1127.0 * math.log(1.0 + hz / 700.0) for hz in (LOWEST_HZ, 0.5 * sampling_rate))
    step = (highest - lowest) / (num_mel_bins + 1)
    number = torch.arange(num_mel_bins).unsqueeze(1)
    left, center, right = lowest + number * step, lowest + (number + 1.0) * step, lowest + (number + 2.0) * step
    hz = sampling_rate / fft_samples * torch.arange(fft_samples / 2)
    mel = (1127.0 * (1.0 + hz / 700.0).log()).unsqueeze(0)
    return torch.max(torch.zeros(1), torch.min((mel - left) / (center - left), (right - mel) / (right - center)))


def _fft_samples(frame_samples: int) -> int:
    return 1 << (frame_samples - 1).bit_length()


@lru_cache(maxsize=16)
def _tables(
    frame_samples: int, sampling_rate: int, num_mel_bins: int, device: torch.device
) -> tuple[torch.Tensor, list[tuple[int, int, torch.Tensor]]]:
    """The window `[samples]` and the blocks (first FFT bin, last + 1, filters `[FFT bins, mel bins]`) on a device."""
    window = torch.hann_window(frame_samples, periodic=False, device=device)
    filters = kaldi_mel_filters(sampling_rate, _fft_samples(frame_samples), num_mel_bins)
    return window, [(low, high, block.to(device)) for low, high, block in filter_blocks(filters)]


def _batches(views: list[torch.Tensor], size: int) -> Iterator[torch.Tensor]:
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


FbankFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")
