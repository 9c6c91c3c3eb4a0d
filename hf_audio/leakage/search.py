"""Search for windows of different splits of a feature dataset that contain the same sound."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hf_audio.copies import (
    MAX_SIMILAR,
    Pairs,
    WindowSketches,
    candidate_pairs,
    similarities,
    sketch_windows,
    threshold_above,
)
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.figures.frames import frames_of_rows
from hf_audio.kinds import Form
from hf_audio.terminal import progress

MIN_STEPS = 8  # windows with fewer steps are compared as one vector
MIN_OTHERS = 200  # pairs known to be different, to estimate a threshold from
MIN_KNOWN, MAX_KNOWN = 20, 2_000
ROWS_AT_A_TIME = 256


@dataclass(frozen=True)
class Leak:
    """Two windows of different splits that contain the same sound, which starts `shift_s` later in a than in b.

    `rows` are the windows' positions in their splits.
    """

    split_a: str
    clip_a: str
    start_a_s: float
    split_b: str
    clip_b: str
    start_b_s: float
    similarity: float
    shift_s: float
    same_group: bool
    same_labels: bool
    rows: tuple[int, int] = field(compare=False)


def find_leaks(features: FeatureDataset, seed: int = 0) -> dict:
    """The fields of `LeakReport` except `source` and `inflated`. Rows are read once, and memory use is constant."""
    facts = _Facts()
    sketches = _sketches(features, facts)
    return _found(features, sketches, facts.as_arrays(features), seed)


class _Facts:
    """Metadata of all windows, collected while rows are read."""

    def __init__(self) -> None:
        # lists at first, arrays after `as_arrays`
        self.splits: Any = []
        self.rows: Any = []
        self.clips: Any = []
        self.starts: Any = []
        self.number_of: dict[str, int] = {}
        self.names, self.groups, self.labels = [], [], []

    def note(self, split: int, position: int, row: dict) -> None:
        number = self.number_of.setdefault(row["clip_id"], len(self.names))
        if number == len(self.names):
            self.names.append(row["clip_id"])
            self.groups.append(row["group"])
            self.labels.append(tuple(row["labels"]))
        for column, value in (
            (self.splits, split),
            (self.rows, position),
            (self.clips, number),
            (self.starts, row["start_s"]),
        ):
            column.append(value)

    def as_arrays(self, features: FeatureDataset) -> _Facts:
        self.splits, self.rows, self.clips = (np.array(column) for column in (self.splits, self.rows, self.clips))
        self.starts = np.array(self.starts, dtype=np.float32)
        self.group_of = np.unique(self.groups, return_inverse=True)[1]
        self.has = np.stack([features.labels.multi_hot(labels) for labels in self.labels]).astype(bool)
        return self


def _sketches(features: FeatureDataset, facts: _Facts) -> WindowSketches:
    num_windows = sum(features.num_windows(split) for split in features.splits)
    frames_per_second = 1 / features.kind.frame_s(features.manifest)
    frames = int(frames_per_second * features.window_s) + 1
    as_vectors = frames < MIN_STEPS or features.kind.form is Form.VECTORS
    frames_of = frames_of_rows(features)

    def windows() -> Iterator[np.ndarray]:
        # Pillow, libsndfile and torch release the interpreter's lock
        with ThreadPoolExecutor() as threads, progress(desc="leaks", unit=" windows", total=num_windows) as bar:
            for number, split in enumerate(features.splits):
                rows = enumerate(features.splits[split])
                while batch := list(itertools.islice(rows, ROWS_AT_A_TIME)):
                    for position, row in batch:
                        facts.note(number, position, row)
                    for window in threads.map(frames_of, [row for _, row in batch]):
                        yield window.mean(axis=0, keepdims=True) if as_vectors else window
                    bar.update(len(batch))

    if as_vectors:
        return sketch_windows(windows(), num_windows, 1, 0.0)
    return sketch_windows(windows(), num_windows, frames, frames_per_second)


def _found(features: FeatureDataset, sketches: WindowSketches, facts: _Facts, seed: int) -> dict:
    """The fields of the report."""
    pairs = candidate_pairs(sketches, facts.splits, facts.clips, seed)
    similar = similarities(sketches, pairs)
    comparable = ~np.isnan(similar)
    pairs, similar = pairs.chosen(comparable), similar[comparable]
    clips = facts.clips[pairs.first], facts.clips[pairs.second]
    same_group = facts.group_of[clips[0]] == facts.group_of[clips[1]]
    others = similar[~(facts.has[clips[0]] & facts.has[clips[1]]).any(axis=1) & ~same_group]
    if len(others) < MIN_OTHERS:
        others = np.concatenate([others, _random_similarities(sketches, facts, seed)])
    threshold = threshold_above(others, len(similar)) if len(others) else MAX_SIMILAR
    known = _known_similarities(features, sketches, facts, seed)
    known = known if len(known) >= MIN_KNOWN else known[:0]
    above = np.flatnonzero(similar >= threshold)
    above = above[np.argsort(-similar[above], kind="stable")]
    return {
        "leaks": [_leak(features, sketches, facts, pairs.chosen(one), float(similar[one])) for one in above],
        "threshold": threshold,
        "num_windows": {split: features.num_windows(split) for split in features.splits},
        "num_compared": len(similar),
        "num_known": len(known),
        "known_found": float((known >= threshold).mean()) if len(known) else None,
        "num_others": len(others),
    }


def _leak(features: FeatureDataset, sketches: WindowSketches, facts: _Facts, pair: Pairs, similarity: float) -> Leak:
    a, b, shift = (int(number) for number in tuple(pair))
    names, (clip_a, clip_b) = list(features.splits), (int(facts.clips[a]), int(facts.clips[b]))
    return Leak(
        names[facts.splits[a]],
        facts.names[clip_a],
        round(float(facts.starts[a]), 4),
        names[facts.splits[b]],
        facts.names[clip_b],
        round(float(facts.starts[b]), 4),
        round(similarity, 4),
        round(shift / sketches.rate, 3) if sketches.rate else 0.0,
        bool(facts.group_of[clip_a] == facts.group_of[clip_b]),
        facts.labels[clip_a] == facts.labels[clip_b],
        (int(facts.rows[a]), int(facts.rows[b])),
    )


def _known_similarities(features: FeatureDataset, sketches: WindowSketches, facts: _Facts, seed: int) -> np.ndarray:
    """Similarities of windows of one clip that overlap by at least half, at their known shift."""
    order = np.lexsort((facts.starts, facts.clips))
    near = facts.starts[order[1:]] - facts.starts[order[:-1]]
    chosen = np.flatnonzero((facts.clips[order[1:]] == facts.clips[order[:-1]]) & (near <= features.window_s / 2))
    if len(chosen) > MAX_KNOWN:
        chosen = np.random.default_rng(seed).choice(chosen, MAX_KNOWN, replace=False)
    shift = np.rint(near[chosen] * sketches.rate).astype(np.int64)
    similar = similarities(sketches, Pairs(order[chosen], order[chosen + 1], shift))
    return similar[~np.isnan(similar)]


def _random_similarities(sketches: WindowSketches, facts: _Facts, seed: int) -> np.ndarray:
    """Similarities of random windows of different groups, at random shifts."""
    random, half = np.random.default_rng(seed), sketches.values.shape[1] // 2
    one, other = random.integers(len(sketches), size=(2, MAX_KNOWN))
    different = facts.group_of[facts.clips[one]] != facts.group_of[facts.clips[other]]
    shift = random.integers(-half, half + 1, size=MAX_KNOWN)
    similar = similarities(sketches, Pairs(one, other, shift).chosen(different))
    return similar[~np.isnan(similar)]
