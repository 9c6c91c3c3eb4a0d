"""Windows or recordings with the same sound, found without comparing every pair.

Of each window a sketch is kept: its log-mel image in 16 bands and 50 frames a second, less each band's mean over the
quarter of a second around and less each frame's mean. Level, equalization and steady sound are gone; what is left is
the course of this one recording. Every fifth of a second of a sketch gets a code: on which sides of random hyperplanes
it lies (Charikar 2002). Windows that share a code at one shift are candidates, and the correlation of their sketches
where they overlap, by whatever shift, says whether they are the same. Whole recordings are windows that are as long.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

RATE = 50.0  # frames a second of a sketch, about
BANDS = 16
CONTEXT_S = 0.25
# values of sketches end here, in deviations of the median window: or a step from silence to sound would be all of it
LARGEST = 3.0
PATCH_FRAMES = 10
MIN_ENERGY = 0.05  # mean square in those units; below it there is nothing to compare
TABLES_OF_VECTORS = 32
NEXT_IN_BUCKET = 16  # each window is paired with at most so many that share a code: silence shares its with thousands
SLACK_FRAMES = 2
# Thresholds stay between: different sounds of one class are a little more alike than those of two, which a threshold is
# learned from; and a copy that went through a codec does not reach 1
MIN_SIMILAR, MAX_SIMILAR = 0.6, 0.97
AT_A_TIME = 256


class Thoroughness(NamedTuple):
    """How hard copies are looked for.

    Attributes:
        tables: codes of each patch.
        codes_a_window: about so many codes are kept of each window ...
        most_codes: ... and of all together, which bounds the memory.
        pairs_a_window: candidates.
        least_common_s: two windows must have so much sound in common, or half a window.
        least_overlap: share of the shorter one that must lie within the other.
    """

    tables: int
    codes_a_window: int
    most_codes: int
    pairs_a_window: int
    least_common_s: float
    least_overlap: float


OF_WINDOWS = Thoroughness(2, 64, 1 << 62, 10, 0.4, 0.0)
OF_RECORDINGS = Thoroughness(6, 600, 20_000_000, 20, 0.08, 0.5)  # each may have passed a codec of its own


@dataclass
class WindowSketches:
    """The sketches of all windows.

    Attributes:
        values: `[windows, frames, bands]` in a temporary file that is gone with this object, so that memory stays flat.
        lengths: int32 `[windows]`, how many frames are real.
        rate: frames a second; 0 where a window is one vector of numbers without time (classical features).
        center, scale: what values are normalized by.
        least_frames: how many frames two windows must have in common.
        thoroughness: of the search.
    """

    values: np.ndarray
    lengths: np.ndarray
    rate: float
    center: np.ndarray | np.float32
    scale: np.ndarray | np.float32
    least_frames: float
    thoroughness: Thoroughness = OF_WINDOWS

    def __len__(self) -> int:
        return len(self.values)

    def read(self, windows: np.ndarray | slice) -> np.ndarray:
        """Normalized and clipped, float32 `[windows, frames, bands]`, 0 behind the end of short windows."""
        values = (self.values[windows].astype(np.float32) - self.center) / self.scale
        return np.clip(values, -LARGEST, LARGEST, out=values)


class Pairs(NamedTuple):
    """Two windows each, and how many frames later the second one's recording begins: all int64 `[pairs]`."""

    first: np.ndarray
    second: np.ndarray
    shift: np.ndarray

    def chosen(self, which: Any) -> Pairs:
        """Some of them, or one, by what NumPy takes for an index."""
        return Pairs(*(field[which] for field in self))


def sketch_windows(
    windows: Iterable[np.ndarray],
    num_windows: int,
    window_frames: int,
    frames_a_second: float,
    thoroughness: Thoroughness = OF_WINDOWS,
) -> WindowSketches:
    """Sketches of windows `[frames, bins]` of log-mel or another logarithmic spectrum, or of vectors `[1, numbers]`.

    Args:
        windows: `num_windows` of them, read once.
        window_frames: of the longest.
        frames_a_second: 0 for vectors.
    """
    step = max(1, round(frames_a_second / RATE))
    rate, most = frames_a_second / step, max(1, window_frames // step)
    lengths, deviations, values = np.zeros(num_windows, dtype=np.int32), [], None
    for number, window in enumerate(windows):
        sketch = _movement(window, step, rate) if rate else window
        if values is None:
            values = _array_on_disk((num_windows, most, sketch.shape[1]), np.float16 if rate else np.float32)
        lengths[number] = min(len(sketch), most)
        values[number, : lengths[number]] = sketch[:most]
        deviations.append(float(sketch.std()))
    if values is None:
        values = np.zeros((0, most, BANDS), dtype=np.float16)
    if rate:
        moving = [deviation for deviation in deviations if deviation > 1e-3]
        center, scale = np.float32(0), np.float32(np.median(moving) if moving else 1.0)
    else:
        center, scale = values.mean(axis=(0, 1), dtype=np.float64), values.std(axis=(0, 1), dtype=np.float64)
        center, scale = center.astype(np.float32), np.maximum(scale, 1e-6).astype(np.float32)
    least_frames = min(thoroughness.least_common_s * rate, most / 2) if rate else 1.0
    return WindowSketches(values, lengths, rate, center, scale, least_frames, thoroughness)


def candidate_pairs(sketches: WindowSketches, splits: np.ndarray, clips: np.ndarray, seed: int = 0) -> Pairs:
    """Pairs of windows of different splits and clips that share a code, those that share most first.

    Of recordings, whatever their splits, give each its own number as both.

    Args:
        splits, clips: int `[windows]`, the number of each window's split and clip.
    """
    codes, ids, frames = _codes(sketches, seed)
    shuffled = np.random.default_rng(seed).permutation(len(codes))  # equal codes in a random order
    order = shuffled[np.argsort(codes[shuffled], kind="stable")]
    codes, ids, frames = codes[order], ids[order], frames[order]
    width, found = 2 * sketches.values.shape[1], []
    for later in range(1, NEXT_IN_BUCKET + 1):
        one, other = ids[:-later], ids[later:]
        meets = (codes[:-later] == codes[later:]) & (splits[one] != splits[other]) & (clips[one] != clips[other])
        at = np.flatnonzero(meets)
        one, other, shift = one[at], other[at], frames[at] - frames[at + later]
        swap = one > other
        one, other, shift = np.where(swap, other, one), np.where(swap, one, other), np.where(swap, -shift, shift)
        found.append((one * len(sketches) + other) * width + shift + width // 2)
    keys, votes = np.unique(np.concatenate(found), return_counts=True)
    pair, shift = keys // width, keys % width - width // 2
    order = np.argsort(-votes, kind="stable")[: 4 * sketches.thoroughness.pairs_a_window * len(sketches)]
    order = order[np.sort(np.unique(pair[order], return_index=True)[1])]  # of each pair the shift with most votes
    order = order[: sketches.thoroughness.pairs_a_window * len(sketches)]
    return Pairs(pair[order] // len(sketches), pair[order] % len(sketches), shift[order])


def similarities(sketches: WindowSketches, pairs: Pairs) -> np.ndarray:
    """Correlation of each pair where they overlap, at the best of the shifts up to two frames off: float32 `[pairs]`.

    NaN where too little is there to compare: they overlap too little, or sound in too few frames.
    """
    found = [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(pairs.first), AT_A_TIME):
        batch = pairs.chosen(slice(start, start + AT_A_TIME))
        one, other = sketches.read(batch.first), sketches.read(batch.second)
        lengths = sketches.lengths[batch.first], sketches.lengths[batch.second]
        slack = range(-SLACK_FRAMES, SLACK_FRAMES + 1) if sketches.rate else (0,)
        shortest = sketches.thoroughness.least_overlap * np.minimum(*lengths)
        tried = [
            _correlation(one, other, *lengths, batch.shift + off, sketches.least_frames, shortest) for off in slack
        ]
        best = np.max(np.nan_to_num(tried, nan=-2.0), axis=0)
        found.append(np.where(best < -1.5, np.nan, best).astype(np.float32))
    return np.concatenate(found)


def threshold_above(others: np.ndarray, num_pairs: int) -> float:
    """The similarity that less than half a pair of `num_pairs` would reach if none of them were duplicates.

    The tail of Fisher's z = artanh(similarity) is continued as an exponential from its quantiles at 90 and 99 %, which
    a few duplicates among them do not move.

    Args:
        others: similarities of pairs that are surely different.
    """
    z90, z99 = np.quantile(np.arctanh(np.clip(others, -0.999, 0.999)), [0.9, 0.99])
    decay = max(float(z99 - z90) / np.log(10), 0.02)
    beyond = decay * np.log(max(0.01 * num_pairs / 0.5, 1.0))
    return float(np.clip(np.tanh(z99 + beyond), MIN_SIMILAR, MAX_SIMILAR))


def _movement(frames: np.ndarray, step: int, rate: float) -> np.ndarray:
    """float `[frames, bins]` → float32 `[frames / step, bands]`: what does not stay as it is around it."""
    count = max(1, len(frames) // step)
    coarse = frames[: count * step].reshape(count, -1, frames.shape[1]).mean(axis=1)
    edges = np.linspace(0, coarse.shape[1], min(BANDS, coarse.shape[1]) + 1).astype(int)[:-1]
    bands = np.add.reduceat(coarse, edges, axis=1) / np.diff([*edges, coarse.shape[1]])
    bands[:-1] = (bands[:-1] + bands[1:]) / 2  # two recordings' frames begin up to half a frame apart
    sums = np.concatenate([np.zeros((1, bands.shape[1])), np.cumsum(bands, axis=0, dtype=np.float64)])
    around = max(1, round(CONTEXT_S * rate / 2))
    first = np.maximum(np.arange(count) - around, 0)
    last = np.minimum(np.arange(count) + around + 1, count)
    bands = bands - (sums[last] - sums[first]) / (last - first)[:, None]
    return (bands - bands.mean(axis=1, keepdims=True)).astype(np.float32)


def _codes(sketches: WindowSketches, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes of patches, and the window and frame of each: int64, int64, int64 `[codes]`."""
    num_windows, most, bands = sketches.values.shape
    patch = max(1, min(PATCH_FRAMES, most // 2))
    wanted = sketches.thoroughness
    num_tables = wanted.tables if sketches.rate else TABLES_OF_VECTORS
    per_window = num_tables * (most - patch + 1)
    one_in = max(1, round(per_window / min(wanted.codes_a_window, wanted.most_codes / max(num_windows, 1))))
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
    # Of the codes themselves a part is left out, so that what two windows share is left in both
    kept = (codes * 2654435761 >> 7) % one_in == 0
    row, _ = np.nonzero(kept)
    window, frame = np.divmod(moving[row], shape[1])
    return codes[kept], window + block.start, frame


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + AT_A_TIME, count)) for start in range(0, count, AT_A_TIME))


def _correlation(
    one: np.ndarray,
    other: np.ndarray,
    length: np.ndarray,
    length_of_other: np.ndarray,
    shift: np.ndarray,
    least: float,
    shortest: np.ndarray,
) -> np.ndarray:
    """Of sketches `[pairs, frames, bands]`: frame i of `one` against i - shift of `other`; NaN where too little."""
    here = np.arange(one.shape[1])[None]
    there = here - shift[:, None]
    common = (here < length[:, None]) & (there >= 0) & (there < length_of_other[:, None])
    other = np.take_along_axis(other, np.clip(there, 0, one.shape[1] - 1)[:, :, None], axis=1)
    powers = np.square(one).sum(axis=2) * common, np.square(other).sum(axis=2) * common
    products = (one * other).sum(axis=2) * common
    joint = np.sqrt(powers[0] * powers[1])
    sounding = np.square(joint.sum(axis=1)) / np.maximum(np.square(joint).sum(axis=1), 1e-9)  # frames that carry it
    energy = joint.sum(axis=1) / np.maximum(common.sum(axis=1), 1) / one.shape[2]
    scale = np.sqrt(powers[0].sum(axis=1) * powers[1].sum(axis=1))
    enough = (sounding >= least) & (energy > MIN_ENERGY) & (common.sum(axis=1) >= shortest)
    return np.where(enough, products.sum(axis=1) / np.maximum(scale, 1e-9), np.nan)


def _array_on_disk(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    with tempfile.TemporaryFile(prefix="hf_audio_sketches_") as file:
        if hasattr(os, "posix_fallocate"):  # a full disk is then an error, and no crash later
            os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)
