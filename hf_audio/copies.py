"""Finds windows or recordings with the same sound, without comparing every pair.

Each window is stored as a sketch: its log-mel spectrogram in 16 bands and 50 frames per second, minus each band's mean
over the surrounding quarter of a second, minus each frame's mean. This removes level, equalization and steady sound,
and leaves the changes over time that are unique to a recording. Each fifth of a second of a sketch gets a code:
the sides of random hyperplanes that it lies on (Charikar 2002). Windows that share a code at one shift are candidates.
The correlation of their sketches, where they overlap at that shift, decides whether they are the same. Whole recordings
are processed as long windows.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

RATE = 50.0  # frames per second of a sketch, approximately
BANDS = 16
CONTEXT_S = 0.25
# Sketch values are clipped at this many standard deviations of the median window; otherwise, a step from silence to
# sound would dominate the correlation
MAX_VALUE = 3.0
PATCH_FRAMES = 10
MIN_ENERGY = 0.05  # mean square in those units; below it, there is nothing to compare
TABLES_OF_VECTORS = 32
MAX_IN_BUCKET = 16  # maximum pairs per window and code: thousands of windows share the code of silence
SLACK_FRAMES = 2
# Range of thresholds. They are derived from sounds of different classes, and sounds of the same class are a little more
# similar. Copies that went through a codec do not reach a similarity of 1
MIN_SIMILAR, MAX_SIMILAR = 0.6, 0.97
BLOCK_SIZE = 256


class Thoroughness(NamedTuple):
    """How thoroughly copies are searched for.

    Attributes:
        tables: codes per patch.
        codes_per_window: approximate number of stored codes per window.
        max_codes: maximum number of stored codes of all windows, which bounds the memory.
        pairs_per_window: candidate pairs per window.
        min_common_s: seconds that two windows must have in common, or half a window.
        min_overlap: fraction of the shorter window that must overlap the other.
    """

    tables: int
    codes_per_window: int
    max_codes: int
    pairs_per_window: int
    min_common_s: float
    min_overlap: float


OF_WINDOWS = Thoroughness(2, 64, 1 << 62, 10, 0.4, 0.0)
OF_RECORDINGS = Thoroughness(6, 600, 20_000_000, 20, 0.08, 0.5)  # the copies may come from different codecs


@dataclass
class WindowSketches:
    """The sketches of all windows.

    Attributes:
        values: `[windows, frames, bands]` in a temporary file, deleted with this object, so that memory use is
            constant.
        lengths: int32 `[windows]`, number of real frames.
        rate: frames per second; 0 if a window is one vector without time (classical features).
        center, scale: used to normalize the values.
        min_frames: number of frames that two windows must have in common.
        thoroughness: of the search.
    """

    values: np.ndarray
    lengths: np.ndarray
    rate: float
    center: np.ndarray | np.float32
    scale: np.ndarray | np.float32
    min_frames: float
    thoroughness: Thoroughness = OF_WINDOWS

    def __len__(self) -> int:
        return len(self.values)

    def read(self, windows: np.ndarray | slice) -> np.ndarray:
        """Normalized and clipped values, float32 `[windows, frames, bands]`, 0 after the end of short windows."""
        values = (self.values[windows].astype(np.float32) - self.center) / self.scale
        return np.clip(values, -MAX_VALUE, MAX_VALUE, out=values)


class Pairs(NamedTuple):
    """Pairs of windows, and how many frames later the second one's recording starts: all int64 `[pairs]`."""

    first: np.ndarray
    second: np.ndarray
    shift: np.ndarray

    def chosen(self, which: Any) -> Pairs:
        """Some of the pairs, by a NumPy index."""
        return Pairs(*(field[which] for field in self))


def sketch_windows(
    windows: Iterable[np.ndarray],
    num_windows: int,
    window_frames: int,
    frames_per_second: float,
    thoroughness: Thoroughness = OF_WINDOWS,
) -> WindowSketches:
    """Sketches of windows `[frames, bins]` of log-mel or another logarithmic spectrum, or of vectors `[1, numbers]`.

    Args:
        windows: `num_windows` windows, read once.
        num_windows: their number.
        window_frames: frames of the longest window.
        frames_per_second: 0 for vectors.
        thoroughness: of the search.
    """
    step = max(1, round(frames_per_second / RATE))
    rate, max_frames = frames_per_second / step, max(1, window_frames // step)
    lengths, deviations, values = np.zeros(num_windows, dtype=np.int32), [], None
    for number, window in enumerate(windows):
        sketch = _movement(window, step, rate) if rate else window
        if values is None:
            values = _array_on_disk((num_windows, max_frames, sketch.shape[1]), np.float16 if rate else np.float32)
        lengths[number] = min(len(sketch), max_frames)
        values[number, : lengths[number]] = sketch[:max_frames]
        deviations.append(float(sketch.std()))
    if values is None:
        values = np.zeros((0, max_frames, BANDS), dtype=np.float16)
    center: np.ndarray | np.float32
    scale: np.ndarray | np.float32
    if rate:
        moving = [deviation for deviation in deviations if deviation > 1e-3]
        center, scale = np.float32(0), np.float32(np.median(moving) if moving else 1.0)
    else:
        center, scale = values.mean(axis=(0, 1), dtype=np.float64), values.std(axis=(0, 1), dtype=np.float64)
        center, scale = center.astype(np.float32), np.maximum(scale, 1e-6).astype(np.float32)
    min_frames = min(thoroughness.min_common_s * rate, max_frames / 2) if rate else 1.0
    return WindowSketches(values, lengths, rate, center, scale, min_frames, thoroughness)


def candidate_pairs(sketches: WindowSketches, splits: np.ndarray, clips: np.ndarray, seed: int = 0) -> Pairs:
    """Pairs of windows of different splits and clips that share codes, sorted by the number of shared codes.

    To find all copies among recordings, regardless of their splits, give each its own split and clip.

    Args:
        sketches: of the windows.
        splits, clips: int `[windows]`, index of each window's split and clip.
        seed: of the random hyperplanes.
    """
    codes, ids, frames = _codes(sketches, seed)
    shuffled = np.random.default_rng(seed).permutation(len(codes))  # equal codes in a random order
    order = shuffled[np.argsort(codes[shuffled], kind="stable")]
    codes, ids, frames = codes[order], ids[order], frames[order]
    width, found = 2 * sketches.values.shape[1], []
    for later in range(1, MAX_IN_BUCKET + 1):
        one, other = ids[:-later], ids[later:]
        meets = (codes[:-later] == codes[later:]) & (splits[one] != splits[other]) & (clips[one] != clips[other])
        at = np.flatnonzero(meets)
        one, other, shift = one[at], other[at], frames[at] - frames[at + later]
        swap = one > other
        one, other, shift = np.where(swap, other, one), np.where(swap, one, other), np.where(swap, -shift, shift)
        found.append((one * len(sketches) + other) * width + shift + width // 2)
    keys, votes = np.unique(np.concatenate(found), return_counts=True)
    pair, shift = keys // width, keys % width - width // 2
    order = np.argsort(-votes, kind="stable")[: 4 * sketches.thoroughness.pairs_per_window * len(sketches)]
    order = order[np.sort(np.unique(pair[order], return_index=True)[1])]  # per pair, the shift with the most votes
    order = order[: sketches.thoroughness.pairs_per_window * len(sketches)]
    return Pairs(pair[order] // len(sketches), pair[order] % len(sketches), shift[order])


def similarities(sketches: WindowSketches, pairs: Pairs) -> np.ndarray:
    """Correlation of each pair where the windows overlap, at the best shift within two frames: float32 `[pairs]`.

    NaN if there is too little to compare: the overlap is too short, or too few frames have sound.
    """
    found: list[np.ndarray] = [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(pairs.first), BLOCK_SIZE):
        batch = pairs.chosen(slice(start, start + BLOCK_SIZE))
        one, other = sketches.read(batch.first), sketches.read(batch.second)
        lengths = sketches.lengths[batch.first], sketches.lengths[batch.second]
        slack = range(-SLACK_FRAMES, SLACK_FRAMES + 1) if sketches.rate else (0,)
        min_overlap = sketches.thoroughness.min_overlap * np.minimum(*lengths)
        tried = [
            _correlation(one, other, *lengths, batch.shift + off, sketches.min_frames, min_overlap) for off in slack
        ]
        best = np.max(np.nan_to_num(tried, nan=-2.0), axis=0)
        found.append(np.where(best < -1.5, np.nan, best).astype(np.float32))
    return np.concatenate(found)


def threshold_above(others: np.ndarray, num_pairs: int) -> float:
    """The similarity that, without duplicates, less than half a pair of `num_pairs` is expected to reach.

    The tail of Fisher's z = artanh(similarity) is extrapolated as an exponential from its 90 % and 99 % quantiles,
    which a few duplicates hardly change.

    Args:
        others: similarities of pairs that are certainly different.
        num_pairs: number of pairs to compare with the threshold.
    """
    z90, z99 = np.quantile(np.arctanh(np.clip(others, -0.999, 0.999)), [0.9, 0.99])
    decay = max(float(z99 - z90) / np.log(10), 0.02)
    beyond = decay * np.log(max(0.01 * num_pairs / 0.5, 1.0))
    return float(np.clip(np.tanh(z99 + beyond), MIN_SIMILAR, MAX_SIMILAR))


def _movement(frames: np.ndarray, step: int, rate: float) -> np.ndarray:
    """float `[frames, bins]` → float32 `[frames / step, bands]`: the changes relative to the surrounding frames."""
    count = max(1, len(frames) // step)
    coarse = frames[: count * step].reshape(count, -1, frames.shape[1]).mean(axis=1)
    edges = np.linspace(0, coarse.shape[1], min(BANDS, coarse.shape[1]) + 1).astype(int)[:-1]
    bands = np.add.reduceat(coarse, edges, axis=1) / np.diff([*edges, coarse.shape[1]])
    bands[:-1] = (bands[:-1] + bands[1:]) / 2  # frames of two recordings can be up to half a frame apart
    sums = np.concatenate([np.zeros((1, bands.shape[1])), np.cumsum(bands, axis=0, dtype=np.float64)])
    around = max(1, round(CONTEXT_S * rate / 2))
    first = np.maximum(np.arange(count) - around, 0)
    last = np.minimum(np.arange(count) + around + 1, count)
    bands = bands - (sums[last] - sums[first]) / (last - first)[:, None]
    return (bands - bands.mean(axis=1, keepdims=True)).astype(np.float32)


def _codes(sketches: WindowSketches, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes of patches, and the window and frame of each: int64, int64, int64 `[codes]`."""
    num_windows, max_frames, bands = sketches.values.shape
    patch = max(1, min(PATCH_FRAMES, max_frames // 2))
    wanted = sketches.thoroughness
    num_tables = wanted.tables if sketches.rate else TABLES_OF_VECTORS
    per_window = num_tables * (max_frames - patch + 1)
    one_in = max(1, round(per_window / min(wanted.codes_per_window, wanted.max_codes / max(num_windows, 1))))
    expected = max(2, num_windows * per_window // one_in // num_tables)
    bits = int(np.clip(np.ceil(np.log2(expected)), 10, 30))
    planes = np.random.default_rng(seed).standard_normal((patch * bands, num_tables * bits)).astype(np.float32)
    blocks = [_codes_of_block(sketches, slice(a, b), planes, patch, bits, one_in) for a, b in _blocks(num_windows)]
    codes, windows, frames = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return codes, windows, frames


def _codes_of_block(
    sketches: WindowSketches, block: slice, planes: np.ndarray, patch: int, bits: int, one_in: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = sketches.read(block)
    patches = np.lib.stride_tricks.sliding_window_view(values, patch, axis=1)
    shape = patches.shape[:2]
    patches = patches.reshape(shape[0] * shape[1], -1)
    ends = np.arange(shape[1]) + patch <= sketches.lengths[block, None]
    moving = np.flatnonzero(ends.ravel() & (np.square(patches).mean(axis=1) > MIN_ENERGY))
    sides = (patches[moving] @ planes > 0).reshape(len(moving), -1, bits)
    codes = sides @ (1 << np.arange(bits)) + (np.arange(sides.shape[1]) << bits)
    # A subset of code values is kept, so that codes which two windows share are kept in both
    kept = (codes * 2654435761 >> 7) % one_in == 0
    row, _ = np.nonzero(kept)
    window, frame = np.divmod(moving[row], shape[1])
    return codes[kept], window + block.start, frame


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + BLOCK_SIZE, count)) for start in range(0, count, BLOCK_SIZE))


def _correlation(
    one: np.ndarray,
    other: np.ndarray,
    length: np.ndarray,
    length_of_other: np.ndarray,
    shift: np.ndarray,
    min_frames: float,
    min_overlap: np.ndarray,
) -> np.ndarray:
    """Correlation of sketches `[pairs, frames, bands]`, frame i of `one` with i - shift of `other`, or NaN."""
    here = np.arange(one.shape[1])[None]
    there = here - shift[:, None]
    common = (here < length[:, None]) & (there >= 0) & (there < length_of_other[:, None])
    other = np.take_along_axis(other, np.clip(there, 0, one.shape[1] - 1)[:, :, None], axis=1)
    powers = np.square(one).sum(axis=2) * common, np.square(other).sum(axis=2) * common
    products = (one * other).sum(axis=2) * common
    joint = np.sqrt(powers[0] * powers[1])
    sounding = np.square(joint.sum(axis=1)) / np.maximum(
        np.square(joint).sum(axis=1), 1e-9
    )  # effective number of frames
    energy = joint.sum(axis=1) / np.maximum(common.sum(axis=1), 1) / one.shape[2]
    scale = np.sqrt(powers[0].sum(axis=1) * powers[1].sum(axis=1))
    enough = (sounding >= min_frames) & (energy > MIN_ENERGY) & (common.sum(axis=1) >= min_overlap)
    return np.where(enough, products.sum(axis=1) / np.maximum(scale, 1e-9), np.nan)


def _array_on_disk(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    with tempfile.TemporaryFile(prefix="hf_audio_sketches_") as file:
        if hasattr(os, "posix_fallocate"):  # a full disk is then an error here instead of a crash later
            os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)
