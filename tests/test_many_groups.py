"""Splits of indexes as large as AudioSet's: drawn in linear time and still stratified by class."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hf_audio import Clip, LabelSpace, assign_splits
from hf_audio.data.index.labels import MULTI_LABEL
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.splits.assigning import draw_folds
from hf_audio.data.splits.drawing import MANY_GROUPS
from hf_audio.data.splits.groups import groups_and_counts

NUM_CLASSES = 300


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """12,000 recordings with 1 to 4 of 300 classes; the most frequent class is about 100 times the rarest one."""
    random, names = np.random.default_rng(0), [f"class{number:03d}" for number in range(NUM_CLASSES)]
    weights = 1 / (1 + np.arange(NUM_CLASSES) / 3)
    drawn = random.choice(NUM_CLASSES, (12_000, 4), p=weights / weights.sum())
    return [
        Clip(Path("a.wav"), tuple({names[index] for index in row[: 1 + number % 4]}), f"g{number}", str(number))
        for number, row in enumerate(drawn)
    ]


def test_many_groups_with_several_labels_are_stratified_quickly(clips):
    labels = LabelSpace.of_clips(index_of(clips), problem_type=MULTI_LABEL)
    assert len(clips) > MANY_GROUPS and len(labels) == NUM_CLASSES
    start_s = time.process_time()
    split = list(rows_of(assign_splits(index_of(clips), labels, test_fraction=0.2, validation_fraction=0.1)))
    assert time.process_time() - start_s < 15, "iterative stratification takes minutes here"
    totals = Counter(label for clip in clips for label in clip.labels)
    for name, share in (("test", 0.2), ("validation", 0.08)):
        held = Counter(label for clip in split if clip.split == name for label in clip.labels)
        assert all(abs(held[label] - share * total) <= 1 + 0.3 * share * total for label, total in totals.items())
    assert split == list(rows_of(assign_splits(index_of(clips[:]), labels, test_fraction=0.2, validation_fraction=0.1)))


def test_many_groups_are_divided_into_folds_and_a_test_split_quickly(clips):
    labels = LabelSpace.of_clips(index_of(clips), problem_type=MULTI_LABEL)
    start_s = time.process_time()
    folds = Counter(clip.split for clip in list(rows_of(draw_folds(index_of(clips), labels, 5))))
    assert len(folds) == 5 and max(folds.values()) - min(folds.values()) < 60
    chosen = [clip.group for clip in clips[::2]]
    split = list(rows_of(assign_splits(index_of(clips), labels, test_groups=chosen)))
    assert sum(clip.split == "test" for clip in split) == 6000
    assert time.process_time() - start_s < 15


def test_counts_per_group_are_of_clips_and_stored_sparsely(clips):
    labels = LabelSpace(("a", "b"), MULTI_LABEL)
    some = [Clip(Path("x"), found, group, "") for group, found in (("g2", ("a",)), ("g1", ("b", "b")), ("g2", ("a",)))]
    groups, counts = groups_and_counts(index_of(some), labels)
    assert groups == ["g1", "g2"] and counts.toarray().tolist() == [[0, 1, 1], [2, 0, 2]] and counts.nnz == 4
