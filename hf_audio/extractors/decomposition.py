"""Taking sound apart by other means than mel bands: what lasts from what strikes, and wavelets.

This file is copied beside published models, so it imports nothing of hf_audio.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch

# librosa's floor under the logarithm
MIN_POWER = 1e-10
FLOOR_DB = 10 * math.log10(MIN_POWER)
# Width of both medians of librosa.decompose.hpss, in frames and in FFT bins: two runs of 16 that share their middle
SORTED_RUN = 16
MEDIAN_WIDTH = 2 * SORTED_RUN - 1
# The sorted runs of so many values stay in a core's cache
VALUES_AT_A_TIME = 1 << 15
# Morlet's wavelets as Torrence and Compo 1998 define them: 6 radians of a wave in one deviation of its envelope
WAVELET_RADIANS = 6.0
# from C1, below a bass guitar's lowest note, to a little under half the sampling rate
LOWEST_WAVELET_HZ, HIGHEST_WAVELET = 32.7, 0.4
# The envelope of a wavelet has ended after so many deviations: there it is exp(-12.5) of its peak
WAVELET_DEVIATIONS = 5.0
# values of a hop that the energy of a slow wavelet is averaged over, at least
MIN_VALUES_A_HOP = 8


def decibels(power: torch.Tensor) -> torch.Tensor:
    """Relative to 1, not under FLOOR_DB."""
    return power.clamp(min=MIN_POWER).log10_().mul_(10)


def harmonic_and_percussive(magnitude: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Takes a magnitude spectrogram `[frames, FFT bins]` apart: what lasts, and what is in all bins at once.

    Medians along time and along frequency (Fitzgerald 2010) as soft masks; equal to `librosa.decompose.hpss` with its
    defaults: 31 frames, 31 bins, masks of the squares, and half of it each where there is nothing.
    """
    lasting = _running_median(magnitude).square_()
    broad = _running_median(magnitude.T.contiguous()).T.square_()
    total = lasting + broad
    share = torch.where(total > torch.finfo(torch.float32).tiny, lasting / total, 0.5)
    return magnitude * share, magnitude * (1 - share)


def _running_median(values: torch.Tensor) -> torch.Tensor:
    """Median over MEDIAN_WIDTH neighbours along the first axis of `[length, columns]`, mirrored at its ends.

    Sorting each neighbourhood by itself takes 25 times longer. Here sorted runs of 2, 4, 8 and 16 neighbours are merged
    at all places at once, by Batcher's odd-even network (1968) of minima and maxima of whole arrays. Of two sorted
    runs of 16 that share one value, the 16th or 17th smallest is the median of their 31.
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
    return torch.where(padded[shift : shift + length] <= lower, upper, lower)  # the shared value counts once


def _merged(first: list[torch.Tensor], second: list[torch.Tensor]) -> list[torch.Tensor]:
    """Two sorted lists of arrays of one power-of-two length → one, sorted at each place."""
    if len(first) == 1:
        return [torch.minimum(first[0], second[0]), torch.maximum(first[0], second[0])]
    even, odd = _merged(first[0::2], second[0::2]), _merged(first[1::2], second[1::2])
    inner = [order(*pair) for pair in zip(odd[:-1], even[1:], strict=True) for order in (torch.minimum, torch.maximum)]
    return [even[0], *inner, odd[-1]]


def scalogram(waveform: torch.Tensor, sampling_rate: int, hop_samples: int, num_wavelets: int) -> torch.Tensor:
    """Energy of `[samples]` by Morlet wavelets, averaged over a hop around each frame: dB `[frames, wavelets]`.

    The wavelet of frequency f lets through exp(-(6 nu / f - 6)^2 / 2) of the frequencies nu > 0 (Torrence and Compo
    1998, table 1, omega_0 = 6), times 2: a sine of amplitude 1 has 0 dB at its own frequency. The frequencies are
    spaced geometrically from 32.7 Hz to 0.4 of the sampling rate. Sound above 2 f does not pass, so a slow wavelet's
    values are computed only as often as that needs, by a shorter inverse FFT. The mean over a hop is then one of fewer
    values: 0.01 dB away on average, up to 0.7 dB where a sound begins.
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
    """(samples from one computed value to the next, response at the FFT's frequencies from 0 Hz) of each wavelet.

    The response also moves each value into the middle of the samples that it stands for.
    """
    num_samples = num_hops * hop_samples
    divisors = [every for every in range(1, hop_samples // MIN_VALUES_A_HOP + 1) if hop_samples % every == 0] or [1]
    highest_hz = HIGHEST_WAVELET * sampling_rate
    wavelets = []
    for center_hz in np.geomspace(min(LOWEST_WAVELET_HZ, highest_hz / 2), highest_hz, num_wavelets):
        # half the sampling rate holds all frequencies above 0, whatever the band
        needed_hz = min(2 * center_hz, sampling_rate / 2)
        every = max(every for every in divisors if every == 1 or sampling_rate / every >= needed_hz)
        nu = np.arange(num_samples // max(2, every)) * (sampling_rate / num_samples)
        response = (2 / every) * np.exp(-((WAVELET_RADIANS * (nu / center_hz - 1)) ** 2) / 2)
        response[0] = 0
        moved = response * np.exp(2j * np.pi * nu * ((every - 1) / 2 / sampling_rate))
        wavelets.append((every, torch.from_numpy(moved.astype(np.complex64)).to(device)))
    return wavelets


def _quick_size(least: int) -> int:
    """The first number from `least` on without a factor over 5: an FFT is quick with those."""
    size = least
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1
