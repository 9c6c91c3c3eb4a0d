"""Decompositions other than mel bands: harmonic and percussive parts, and wavelets.

This file is copied to published models, so it does not import hf_audio.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch

# librosa's floor for the logarithm
MIN_POWER = 1e-10
FLOOR_DB = 10 * math.log10(MIN_POWER)
# Width of both medians of librosa.decompose.hpss, in frames and in FFT bins: two runs of 16 that share one value
SORTED_RUN = 16
MEDIAN_WIDTH = 2 * SORTED_RUN - 1
# The sorted runs of this many values stay in a core's cache
VALUES_AT_A_TIME = 1 << 15
# Morlet wavelets as in Torrence and Compo 1998: 6 radians of the wave per standard deviation of its envelope
WAVELET_RADIANS = 6.0
# from C1, below a bass guitar's lowest note, to a little under half the sampling rate
LOWEST_WAVELET_HZ, HIGHEST_WAVELET = 32.7, 0.4
# The envelope of a wavelet ends after this many standard deviations, where it is exp(-12.5) of its peak
WAVELET_DEVIATIONS = 5.0
# minimum number of values per hop that the energy of a slow wavelet is averaged over
MIN_VALUES_PER_HOP = 8


def decibels(power: torch.Tensor) -> torch.Tensor:
    """Decibels relative to 1, at least FLOOR_DB."""
    return power.clamp(min=MIN_POWER).log10_().mul_(10)


def harmonic_and_percussive(magnitude: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Separates a magnitude spectrogram `[frames, FFT bins]` into its harmonic and percussive parts.

    Medians along time and frequency (Fitzgerald 2010) give soft masks; equal to `librosa.decompose.hpss` with its
    defaults: 31 frames, 31 bins, masks from squares, and a half each for silence.
    """
    lasting = _running_median(magnitude).square_()
    broad = _running_median(magnitude.T.contiguous()).T.square_()
    total = lasting + broad
    share = torch.where(total > torch.finfo(torch.float32).tiny, lasting / total, 0.5)
    return magnitude * share, magnitude * (1 - share)


def _running_median(values: torch.Tensor) -> torch.Tensor:
    """Median over MEDIAN_WIDTH neighbors along the first axis of `[length, columns]`, mirrored at its ends.

    Sorting each neighborhood separately takes 25 times longer. Here sorted runs of 2, 4, 8 and 16 neighbors are merged
    at all places at once, by Batcher's odd-even network (1968) of minima and maxima of whole arrays. For two sorted
    runs of 16 that share one value, the 16th or 17th smallest is the median of their 31 values.
    """
    length, half = len(values), MEDIAN_WIDTH // 2
    places = torch.arange(-half, length + half, device=values.device) % (2 * length)
    mirrored = torch.where(places < length, places, 2 * length - 1 - places)
    parts = [
        _median_of_runs(part[mirrored], length)
        for part in values.split(max(1, VALUES_AT_A_TIME // (length + 2 * half)), dim=1)
    ]
    return torch.cat(parts, dim=1)


def _median_of_runs(padded: torch.Tensor, length: int) -> torch.Tensor:
    """`[length + 30, columns]` → `[length, columns]`."""
    runs, size = [padded], 1
    while size < SORTED_RUN:
        runs = _merged([plane[:-size] for plane in runs], [plane[size:] for plane in runs])
        size *= 2
    shift = SORTED_RUN - 1
    pairs = [(low[:length], high[shift:]) for low, high in zip(runs, reversed(runs), strict=True)]
    lower, upper = torch.minimum(*pairs[0]), torch.maximum(*pairs[0])
    for pair in pairs[1:]:
        torch.maximum(lower, torch.minimum(*pair), out=lower)  # ends as the 16th smallest of the 32
        torch.minimum(upper, torch.maximum(*pair), out=upper)  # and the 17th
    return torch.where(padded[shift : shift + length] <= lower, upper, lower)  # count the shared value once


def _merged(first: list[torch.Tensor], second: list[torch.Tensor]) -> list[torch.Tensor]:
    """Two sorted lists of arrays, of the same power-of-two length → one list, sorted at each place."""
    if len(first) == 1:
        return [torch.minimum(first[0], second[0]), torch.maximum(first[0], second[0])]
    even, odd = _merged(first[0::2], second[0::2]), _merged(first[1::2], second[1::2])
    inner = [order(*pair) for pair in zip(odd[:-1], even[1:], strict=True) for order in (torch.minimum, torch.maximum)]
    return [even[0], *inner, odd[-1]]


def scalogram(waveform: torch.Tensor, sampling_rate: int, hop_samples: int, num_wavelets: int) -> torch.Tensor:
    """Energy of `[samples]` in Morlet wavelets, averaged over a hop around each frame: dB `[frames, wavelets]`.

    The wavelet with frequency f has the response 2 exp(-(6 nu / f - 6)^2 / 2) for frequencies nu > 0 (Torrence and
    Compo 1998, table 1, omega_0 = 6): a sine of amplitude 1 has 0 dB at its own frequency. The frequencies are spaced
    geometrically from 32.7 Hz to 0.4 of the sampling rate. Frequencies above 2 f are blocked, so values of slow
    wavelets are computed at a lower rate, by a shorter inverse FFT. The mean over a hop then has fewer values: it
    differs by 0.01 dB on average, and by up to 0.7 dB at onsets.
    """
    num_frames, lead = 1 + len(waveform) // hop_samples, hop_samples // 2
    slowest_s = WAVELET_DEVIATIONS * WAVELET_RADIANS / (2 * math.pi * LOWEST_WAVELET_HZ)
    num_hops = _quick_size(num_frames + math.ceil(slowest_s * sampling_rate / hop_samples))
    tail = num_hops * hop_samples - lead - len(waveform)
    spectrum = torch.fft.fft(torch.nn.functional.pad(waveform, (lead, tail)))
    energy = waveform.new_empty(num_wavelets, num_frames)
    for row, (every, response) in zip(
        energy, _wavelets(sampling_rate, hop_samples, num_wavelets, num_hops, waveform.device), strict=True
    ):
        passed = spectrum.new_zeros(num_hops * hop_samples // every)
        torch.mul(spectrum[: len(response)], response, out=passed[: len(response)])
        values = torch.view_as_real(torch.fft.ifft(passed)).view(num_hops, -1)[:num_frames]
        torch.sum(values.square_(), dim=1, out=row)
        row *= every / hop_samples
    return decibels(energy.T)


@lru_cache(maxsize=4)
def _wavelets(
    sampling_rate: int, hop_samples: int, num_wavelets: int, num_hops: int, device: torch.device
) -> list[tuple[int, torch.Tensor]]:
    """(samples from one computed value to the next, response at the FFT's frequencies from 0 Hz) for each wavelet.

    The response also shifts each value to the center of the samples that it represents.
    """
    num_samples = num_hops * hop_samples
    divisors = [every for every in range(1, hop_samples // MIN_VALUES_PER_HOP + 1) if hop_samples % every == 0] or [1]
    highest_hz = HIGHEST_WAVELET * sampling_rate
    wavelets = []
    for center_hz in np.geomspace(min(LOWEST_WAVELET_HZ, highest_hz / 2), highest_hz, num_wavelets):
        # half the sampling rate is always enough for all frequencies above 0
        needed_hz = min(2 * center_hz, sampling_rate / 2)
        every = max(every for every in divisors if every == 1 or sampling_rate / every >= needed_hz)
        nu = np.arange(num_samples // max(2, every)) * (sampling_rate / num_samples)
        response = (2 / every) * np.exp(-((WAVELET_RADIANS * (nu / center_hz - 1)) ** 2) / 2)
        response[0] = 0
        moved = response * np.exp(2j * np.pi * nu * ((every - 1) / 2 / sampling_rate))
        wavelets.append((every, torch.from_numpy(moved.astype(np.complex64)).to(device)))
    return wavelets


def _quick_size(minimum: int) -> int:
    """The smallest number from `minimum` on whose prime factors are 2, 3 and 5, for which an FFT is fast."""
    size = minimum
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1
