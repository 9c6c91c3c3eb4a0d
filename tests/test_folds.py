"""Folds of a corpus, found by number, and drawn folds: disjoint, stratified, and independent of the clips' order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_splits import make_clips, numbered, splits_of_groups

from hf_audio import Clip, InputError, LabelSpace, assign_splits
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.splits.assigning import draw_folds, fold_names


@pytest.mark.parametrize(
    ("named", "wanted", "found"),
    [
        (("fold1", "fold2", "fold10"), "1", "fold1"),
        (("fold1", "fold2", "fold10"), "fold10", "fold10"),
        (("1", "2", "10"), "fold2", "2"),
        (("Fold 01", "Fold 02"), "2", "Fold 02"),
    ],
)
def test_a_fold_is_found_by_its_number(named, wanted, found):
    clips = [clip for number, name in enumerate(named) for clip in numbered(make_clips(8, 1, split=name), 8 * number)]
    split = list(
        rows_of(
            assign_splits(index_of(clips), LabelSpace.of_clips(index_of(clips)), fold=wanted, validation_fraction=0)
        )
    )
    expected = {clip.group for clip in clips if clip.split == found}
    assert expected and {clip.group for clip in split if clip.split == "test"} == expected


def test_folds_are_listed_by_number_and_an_ambiguous_one_is_refused():
    clips = numbered(make_clips(8, 1, split="fold2"), 0) + numbered(make_clips(8, 1, split="fold10"), 8)
    assert fold_names(index_of(clips)) == ["fold2", "fold10"]
    clips += numbered(make_clips(8, 1, split="fold02"), 16)
    with pytest.raises(InputError, match=r"official folds fold02, fold2, fold10; --fold 2 is none of them"):
        assign_splits(index_of(clips), LabelSpace.of_clips(index_of(clips)), fold="2")


def test_drawn_folds_are_disjoint_stratified_and_independent_of_order():
    clips = [clip for clip in make_clips(62, 3) if clip.clip_id not in ("7-0", "9-1")]  # groups of different sizes
    labels = LabelSpace.of_clips(index_of(clips))
    folds = list(rows_of(draw_folds(index_of(clips), labels, 5, seed=3)))
    assert all(len(splits) == 1 for splits in splits_of_groups(folds).values())
    counts = {
        name: Counter(clip.labels[0] for clip in folds if clip.split == name) for name in fold_names(index_of(folds))
    }
    assert list(counts) == [f"fold{number}" for number in range(1, 6)]
    for label in "abcd":
        held = [count[label] for count in counts.values()]
        assert max(held) - min(held) <= 3, f"class {label} is not stratified: {held}"
    again = list(rows_of(draw_folds(index_of(clips[::-1]), labels, 5, seed=3)))
    assert {clip.clip_id: clip.split for clip in again} == {clip.clip_id: clip.split for clip in folds}
    assert list(rows_of(draw_folds(index_of(clips), labels, 5, seed=4))) != folds

    tested = [
        list(rows_of(assign_splits(index_of(clips), labels, num_folds=5, fold=str(number), seed=3)))
        for number in range(1, 6)
    ]
    groups = [{clip.group for clip in split if clip.split == "test"} for split in tested]
    assert sum(map(len, groups)) == 62 and len(set.union(*groups)) == 62, "each group must be tested once"
    assert all({clip.split for clip in split} == {"train", "validation", "test"} for split in tested)


def test_multi_label_folds_are_stratified_with_rare_classes_and_large_groups():
    random = np.random.default_rng(0)
    clips = []
    for group in range(60):
        labels = tuple(name for name, share in zip("abc", (0.6, 0.3, 0.1), strict=True) if random.random() < share)
        size = 1 + group % 7
        clips += [Clip(Path(f"{group}.wav"), labels, f"g{group}", f"{group}-{part}") for part in range(size)]
    folds = list(rows_of(draw_folds(index_of(clips), LabelSpace.of_clips(index_of(clips)), 4)))
    sizes = Counter(clip.split for clip in folds)
    assert max(sizes.values()) - min(sizes.values()) <= 4, sizes
    for label in "abc":
        held = Counter(clip.split for clip in folds if label in clip.labels)
        assert len(held) == 4 and max(held.values()) - min(held.values()) <= 7, (label, held)


def test_impossible_folds_are_refused():
    clips = make_clips(8, 2)
    labels = LabelSpace.of_clips(index_of(clips))
    for wrong, sentence in (
        ({"num_folds": 9, "fold": "1"}, "--num_folds 9 cannot be drawn from 8 groups; expected 2 to 8"),
        ({"num_folds": 4}, r"There are the folds fold1, fold2, fold3, fold4; choose .* --fold fold1"),
        ({"num_folds": 4, "test_groups": ["g1"]}, "both set the test split"),
        ({"fold": "1"}, "the corpus has no folds; add --num_folds 5"),
    ):
        with pytest.raises(InputError, match=sentence):
            assign_splits(index_of(clips), labels, **wrong)
    with pytest.raises(InputError, match="has the official splits train, so --num_folds cannot draw others"):
        assign_splits(index_of(make_clips(8, 2, split="train")), labels, num_folds=2, fold="1")
    with pytest.raises(InputError, match="Class 'a' has only one group"):
        assign_splits(index_of(make_clips(4, 2)), labels, num_folds=2, fold="1")


def test_inner_folds_divide_the_training_groups_and_leave_out_test():
    clips = numbered(make_clips(12, 2, split="fold1"), 0) + numbered(make_clips(24, 2, split="fold2"), 24)
    labels = LabelSpace.of_clips(index_of(clips))
    held_back = {clip.clip_id for clip in clips if clip.split == "fold1"}
    tested = []
    for inner in (1, 2, 3):
        made = assign_splits(index_of(clips), labels, fold="1", inner_fold=(inner, 3), validation_fraction=0.2)
        split = list(rows_of(made))
        assert not held_back & {clip.clip_id for clip in split}
        assert all(len(splits) == 1 for splits in splits_of_groups(split).values())
        assert {clip.split for clip in split} == {"train", "validation", "test"}
        tested += [clip.clip_id for clip in split if clip.split == "test"]
    assert sorted(tested) == sorted({clip.clip_id for clip in clips} - held_back)


def test_a_class_of_one_training_group_stays_in_training():
    clips = numbered(make_clips(12, 2, split="fold1"), 0) + numbered(make_clips(24, 2, split="fold2"), 24)
    rare = [Clip(clip.path, ("rare",), "only", f"rare-{clip.clip_id}", split="fold2") for clip in clips[:2]]
    index = index_of([*clips, *rare])
    for inner in (1, 2):
        made = assign_splits(index, LabelSpace.of_clips(index), fold="1", inner_fold=(inner, 2), validation_fraction=0)
        assert {clip.split for clip in rows_of(made) if clip.group == "only"} == {"train"}
    with pytest.raises(InputError, match=r"--inner_folds 90 cannot be drawn from 48 training groups: give at most 48"):
        assign_splits(index, LabelSpace.of_clips(index), fold="1", inner_fold=(1, 90), validation_fraction=0)
