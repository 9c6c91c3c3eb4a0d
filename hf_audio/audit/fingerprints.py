"""Finds recordings that are copies of each other in any format, level and offset, by coarse log-mel fingerprints.

A fingerprint is the log-mel plot of a clip's first seconds, with 32 bands below 3.6 kHz (which all codecs preserve) and
relative to its loudest value (so that the level does not matter). `hf_audio.copies` finds similar ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np

from hf_audio.copies import OF_RECORDINGS, candidate_pairs, similarities, sketch_windows

SAMPLE_RATE = 8_000
WINDOW, HOP = 1024, 128  # 128 ms every 16 ms: a copy that is shifted by half a hop still shares 15/16 of each window
BANDS, LOWEST_HZ, HIGHEST_HZ = 32, 60.0, 3600.0
PLOT_S = 10.0
MAX_FRAMES = int(PLOT_S * SAMPLE_RATE) // HOP
# Values further below the loudest one are dominated by codec noise: 60 dB finds fewer copies.
RANGE_DB = 45.0
# The minimum similarity of copies, which is higher for short sounds, since different short sounds are more similar.
# Copies of 120 recordings of ESC-10 that were cut or delayed by half a second, made quieter by 26 dB, or stored as the
# smallest MP3 or Vorbis have at least 0.92, and other pairs less than 0.7. Different ones among 60 spoken digits of
# 0.4 s reach 0.87.
SIMILAR, SIMILAR_PER_SECOND, MAX_SIMILAR = 0.84, 0.1, 0.95


def plot(samples: np.ndarray) -> np.ndarray:
    """Log-mel plot of mono samples at 8 kHz: uint8 `[frames, 32]`, 0 is 45 dB below the loudest, 255.

    Only the first ten seconds count. The result has at least one frame.
    """
    samples = samples[: MAX_FRAMES * HOP + WINDOW - HOP]
    if len(samples) < WINDOW:
        samples = np.pad(samples, (0, WINDOW - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), axis=1)) ** 2
    bands = power @ _mel_filters().T
    decibels = 10 * np.log10(np.maximum(bands, 1e-20) / max(bands.max(), 1e-20))
    return np.round(255 * np.clip(1 + decibels / RANGE_DB, 0, 1)).astype(np.uint8)


def copies(plots: Iterable[np.ndarray], num_plots: int) -> Iterator[tuple[int, int, float]]:
    """Pairs (first, second, similarity) of clips that are copies of each other, from plots, which are read once."""
    seconds = np.zeros(num_plots)

    def noted() -> Iterator[np.ndarray]:
        for number, image in enumerate(plots):
            seconds[number] = np.count_nonzero(image.any(axis=1)) * HOP / SAMPLE_RATE
            yield image.astype(np.float32)

    sketches = sketch_windows(noted(), num_plots, MAX_FRAMES, SAMPLE_RATE / HOP, OF_RECORDINGS)
    if num_plots < 2:
        return
    each = np.arange(num_plots)
    pairs = candidate_pairs(sketches, each, each)
    alike = similarities(sketches, pairs)
    sound_s = np.maximum(np.minimum(seconds[pairs.first], seconds[pairs.second]), 0.1)
    same = np.flatnonzero(alike >= np.minimum(MAX_SIMILAR, SIMILAR + SIMILAR_PER_SECOND / sound_s))
    for place in same[np.lexsort((pairs.second[same], pairs.first[same]))]:
        yield int(pairs.first[place]), int(pairs.second[place]), float(alike[place])


@cache
def _mel_filters() -> np.ndarray:
    """Triangular filters `[32, bins]`, evenly spaced on the mel scale of O'Shaughnessy (1987)."""
    to_mel, to_hz = lambda hz: 1127 * np.log1p(hz / 700), lambda mel: 700 * np.expm1(mel / 1127)
    centers = to_hz(np.linspace(to_mel(LOWEST_HZ), to_mel(HIGHEST_HZ), BANDS + 2))
    bins = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    rising = (bins - centers[:-2, None]) / (centers[1:-1] - centers[:-2])[:, None]
    falling = (centers[2:, None] - bins) / (centers[2:] - centers[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
