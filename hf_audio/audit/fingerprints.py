"""Recordings that are copies of each other, whatever their format, level and beginning: found by coarse log-mel.

A fingerprint is the log-mel picture of a clip's first seconds, 32 bands below 3.6 kHz (which every codec keeps),
relative to its own loudest value (so that the level does not matter). Two pictures are compared by the correlation of
what moves in them: the mean of each band and of each frame is taken away, so that neither a like spectrum nor a like
envelope counts. The few pictures worth comparing are the nearest neighbours of a summary that shifting leaves as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

SAMPLE_RATE = 8_000
WINDOW, HOP = 1024, 128  # 128 ms every 16 ms: a copy that is shifted by half a hop still shares 15/16 of each window
BANDS, LOWEST_HZ, HIGHEST_HZ = 32, 60.0, 3600.0
PICTURE_S = 10.0
MOST_FRAMES = int(PICTURE_S * SAMPLE_RATE) // HOP
# What lies lower than this below the loudest is left to the noise of codecs: 60 dB finds fewer copies.
RANGE_DB = 45.0
LONGEST_SHIFT = 40  # frames: 0.64 s
LEAST_MOVEMENT = 1.0  # mean square of it: steady tones are alike whether they are copies or not
SHORTEST_OVERLAP = 25  # frames: what two clips must share to be compared at all, 0.4 s
TRANSFORM = 1024  # of MOST_FRAMES and LONGEST_SHIFT without wrapping round
# edges of the summary's bands of periods: cycles in 16 s
PERIODS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
NEIGHBOURS = 10
LIKE_SUMMARIES = 0.85  # cosine of two summaries: copies have 0.89 and more, half of all nearest neighbours less
# How alike copies must be: 0.85 over ten seconds, more where there is less to hear, for short sounds are soon alike.
# Of 1,260 recordings (ESC-10, notes, spoken digits) the only pair above was a true copy. Copies that were cut or
# delayed by half a second, made quieter by 26 dB, or stored as the smallest MP3 or Vorbis: 99 % of ESC-10's are found;
# of single notes that fade away, all but the smallest MP3s (one in four is missed).
SIMILAR, SIMILAR_A_SECOND, MOST_SIMILAR = 0.84, 0.12, 0.98


def picture(samples: np.ndarray) -> np.ndarray:
    """Log-mel picture of mono samples at 8 kHz: uint8 `[frames, 32]`, 0 is 45 dB below the loudest, 255.

    Only the first ten seconds count; at least one frame comes back.
    """
    samples = samples[: MOST_FRAMES * HOP + WINDOW - HOP]
    if len(samples) < WINDOW:
        samples = np.pad(samples, (0, WINDOW - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), axis=1)) ** 2
    bands = power @ _mel_filters().T
    decibels = 10 * np.log10(np.maximum(bands, 1e-20) / max(bands.max(), 1e-20))
    return np.round(255 * np.clip(1 + decibels / RANGE_DB, 0, 1)).astype(np.uint8)


def summary(image: np.ndarray) -> np.ndarray:
    """What a picture `[frames, 32]` keeps when it is shifted: float32 `[numbers]` of length 1.

    The strength of each band's movement at each of PERIODS, and the spectrum.
    """
    strength = np.abs(np.fft.rfft(_movement(image), n=TRANSFORM, axis=0))
    moving = np.log(np.add.reduceat(strength, PERIODS, axis=0)[:-1] + 1.0).ravel()
    sounding = image[image.any(axis=1)]
    spectrum = sounding.mean(axis=0) if len(sounding) else np.zeros(BANDS)
    parts = [part - part.mean() for part in (moving, spectrum)]
    whole = np.concatenate([part / max(float(np.linalg.norm(part)), 1e-9) for part in parts])
    return (whole / np.sqrt(2)).astype(np.float32)


def similarity(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Correlation of two pictures' movements at the best shift of up to 0.64 s: 1 for copies, about 0 for others.

    The second number says how many seconds of sound it was taken over.
    """
    shortest = max(SHORTEST_OVERLAP, min(len(first), len(second)) // 2)
    spectra = [np.fft.rfft(_movement(image), n=TRANSFORM, axis=0) for image in (first, second)]
    products = np.fft.irfft((spectra[0] * spectra[1].conj()).sum(axis=1))
    shifts = [s for s in range(-LONGEST_SHIFT, LONGEST_SHIFT + 1) if _overlap(first, second, s)[2] >= shortest]
    if not shifts:
        return 0.0, 0.0
    best = max(shifts, key=lambda shift: products[shift])
    return max(_correlation(first, second, shift) for shift in (best - 1, best, best + 1))


def near_duplicates(picture_of: Callable[[int], np.ndarray], summaries: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """Pairs (first, second, similarity) of clips that are copies of each other.

    Args:
        picture_of: the `picture` of a clip, by its place among the summaries.
        summaries: of `summary`, `[clips, numbers]`.
    """
    from sklearn import config_context
    from sklearn.neighbors import NearestNeighbors

    if len(summaries) < 2:
        return
    with config_context(working_memory=64):  # MiB of distances at a time
        nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(summaries) - 1), metric="cosine", algorithm="brute")
        distances, found = nearest.fit(summaries).kneighbors()
    near = np.argwhere(distances <= 1 - LIKE_SUMMARIES).tolist()
    numbers = [(one, int(found[one, rank])) for one, rank in near]
    for one, other in sorted({(min(pair), max(pair)) for pair in numbers}):
        alike, sound_s = similarity(picture_of(one), picture_of(other))
        if alike >= min(MOST_SIMILAR, SIMILAR + SIMILAR_A_SECOND / max(sound_s, 0.1)):
            yield one, other, alike


def _overlap(first: np.ndarray, second: np.ndarray, shift: int) -> tuple[int, int, int]:
    """Where both begin when the first starts `shift` frames before the second, and the frames that they share."""
    starts = max(0, shift), max(0, -shift)
    return *starts, min(len(first) - starts[0], len(second) - starts[1])


def _correlation(first: np.ndarray, second: np.ndarray, shift: int) -> tuple[float, float]:
    one, other, length = _overlap(first, second, shift)
    if length < SHORTEST_OVERLAP:
        return 0.0, 0.0
    first, second = first[one : one + length], second[other : other + length]
    sound_s = np.count_nonzero(first.any(axis=1) & second.any(axis=1)) * HOP / SAMPLE_RATE
    one, other = _movement(first), _movement(second)
    strengths = np.square(one).mean(), np.square(other).mean()
    if min(strengths) < LEAST_MOVEMENT:
        return 0.0, sound_s
    return float((one * other).mean() / np.sqrt(strengths[0] * strengths[1])), sound_s


def _movement(image: np.ndarray) -> np.ndarray:
    """Float32 `[frames, 32]` without the means of bands and frames; silent frames are 0 and count in no mean."""
    values, sounding = image.astype(np.float32), image.any(axis=1)
    if sounding.any():
        values -= values[sounding].mean(axis=0)
    values -= values.mean(axis=1, keepdims=True)
    values[~sounding] = 0
    return values


@cache
def _mel_filters() -> np.ndarray:
    """Triangular filters `[32, bins]`, evenly spaced on the mel scale of O'Shaughnessy (1987)."""
    to_mel, to_hz = lambda hz: 1127 * np.log1p(hz / 700), lambda mel: 700 * np.expm1(mel / 1127)
    centres = to_hz(np.linspace(to_mel(LOWEST_HZ), to_mel(HIGHEST_HZ), BANDS + 2))
    bins = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    rising = (bins - centres[:-2, None]) / (centres[1:-1] - centres[:-2])[:, None]
    falling = (centres[2:, None] - bins) / (centres[2:] - centres[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
