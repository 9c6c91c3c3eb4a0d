"""WhisperFeatureExtractor's log-mel on the device of the waveforms, so that a GPU does not wait for the CPU."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.nn import functional
from transformers import WhisperFeatureExtractor

WHISPER_HIGHEST_HZ = 8000.0  # of its filters, at any sample rate


def whisper_log_mel(waveforms: torch.Tensor, extractor: WhisperFeatureExtractor) -> torch.Tensor:
    """float32 `[batch, samples]`, zeros after their ends, → `[batch, bins, frames]`, padded like the extractor does.

    It has the same steps as transformers (`_torch_extract_fbank_features`), which only returns arrays on the CPU.
    """
    padded = functional.pad(waveforms, (0, extractor.n_samples - waveforms.shape[1]))
    window, filters = _tables(extractor.feature_size, extractor.sampling_rate, extractor.n_fft, padded.device)
    with torch.autocast(padded.device.type, enabled=False):
        spectrum = torch.stft(padded, extractor.n_fft, extractor.hop_length, window=window, return_complex=True)
        log_mel = (filters @ spectrum[..., :-1].abs().square()).clamp_(min=1e-10).log10_()
    return torch.maximum(log_mel, log_mel.amax(dim=(1, 2), keepdim=True) - 8.0).add_(4.0).div_(4.0)


@lru_cache(maxsize=4)
def _tables(num_bins: int, sampling_rate: int, n_fft: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The window `[samples]` and the filters `[bins, FFT bins]`: copied to a device once."""
    filters = WhisperFeatureExtractor(num_bins, sampling_rate, n_fft=n_fft).mel_filters
    return torch.hann_window(n_fft, device=device), torch.from_numpy(filters.T).to(device, torch.float32)
