"""Splits: group-disjoint, stratified, official ones respected, and a clear sentence where none can be made."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hf_audio import Clip, InputError, LabelSpace
from hf_audio.data.splits import assign_splits, check_disjoint


def make_clips(num_groups: int, clips_each: int, classes: str = "abcd", split: str | None = None) -> list[Clip]:
    return [
        Clip(Path(f"{group}-{part}.wav"), (classes[group % len(classes)],), f"g{group}", f"{group}-{part}", split=split)
        for group in range(num_groups)
        for part in range(clips_each)
    ]


def splits_of_groups(clips: list[Clip]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for clip in clips:
        found.setdefault(clip.group, set()).add(clip.split)
    return found


def test_single_label_split_is_disjoint_stratified_and_reproducible():
    clips = make_clips(80, 3)
    labels = LabelSpace.of_clips(clips)
    split = assign_splits(clips, labels, test_fraction=0.2, validation_fraction=0.1)
    assert all(len(splits) == 1 for splits in splits_of_groups(split).values())
    for name, expected in (("test", 16 * 3), ("validation", 6 * 3)):
        counts = Counter(clip.labels[0] for clip in split if clip.split == name)
        assert sum(counts.values()) == expected
        assert max(counts.values()) - min(counts.values()) <= 3, f"{name} is not stratified: {counts}"
    assert split == assign_splits(clips, labels, test_fraction=0.2, validation_fraction=0.1)
    assert split != assign_splits(clips, labels, test_fraction=0.2, validation_fraction=0.1, seed=1)


def test_multi_label_split_keeps_every_class_and_its_share():
    random = np.random.default_rng(3)
    clips = []
    for group in range(120):
        labels = tuple(
            name for name, share in zip("abcde", (0.5, 0.3, 0.2, 0.1, 0.06), strict=True) if random.random() < share
        )
        clips += [Clip(Path(f"{group}.wav"), labels, f"g{group}", f"{group}-{part}") for part in range(2)]
    split = assign_splits(clips, LabelSpace.of_clips(clips), test_fraction=0.25, validation_fraction=0.0)
    total = Counter(label for clip in clips for label in clip.labels)
    test = Counter(label for clip in split if clip.split == "test" for label in clip.labels)
    for label in total:
        assert 0.1 < test[label] / total[label] < 0.45, f"{label}: {test[label]} of {total[label]}"
    assert all(len(splits) == 1 for splits in splits_of_groups(split).values())


def test_official_splits_are_respected_and_validation_comes_out_of_train():
    clips = make_clips(40, 2, split="train") + [
        Clip(Path("t.wav"), ("a",), f"test{n}", f"t{n}", split="test") for n in range(4)
    ]
    split = assign_splits(clips, LabelSpace.of_clips(clips))
    assert [clip.clip_id for clip in split if clip.split == "test"] == ["t0", "t1", "t2", "t3"]
    assert {clip.labels[0] for clip in split if clip.split == "validation"} == set("abcd")


def test_folds_and_test_groups():
    clips = [*make_clips(8, 2, split="fold1"), *(c for c in make_clips(40, 2, split="fold2") if int(c.group[1:]) >= 8)]
    labels = LabelSpace.of_clips(clips)
    with pytest.raises(InputError, match=r"official folds fold1, fold2; choose .* --fold fold1"):
        assign_splits(clips, labels)
    with pytest.raises(InputError, match="--fold 3 is none of them"):
        assign_splits(clips, labels, fold="3")
    split = assign_splits(clips, labels, fold="fold1")
    assert {clip.group for clip in split if clip.split == "test"} == {f"g{n}" for n in range(8)}

    split = assign_splits(make_clips(40, 2), labels, test_groups=["g3", "g4"])
    assert {clip.group for clip in split if clip.split == "test"} == {"g3", "g4"}
    with pytest.raises(InputError, match="--test_groups nobody is no group"):
        assign_splits(make_clips(40, 2), labels, test_groups=["nobody"])


def test_a_class_with_one_group_is_named():
    clips = [
        *make_clips(30, 2),
        Clip(Path("r.wav"), ("rare",), "lonely", "r1"),
        Clip(Path("s.wav"), ("rare",), "lonely", "r2"),
    ]
    with pytest.raises(
        InputError, match="Class 'rare' has one group, 'lonely', so it cannot be in both train and test"
    ):
        assign_splits(clips, LabelSpace.of_clips(clips))


def test_a_group_in_two_official_splits_is_named():
    clips = [*make_clips(8, 2, split="train"), Clip(Path("x.wav"), ("a",), "g0", "x", split="test")]
    with pytest.raises(InputError, match="Group 'g0' is in two splits, train and test"):
        assign_splits(clips, LabelSpace.of_clips(clips))
    with pytest.raises(InputError, match="Group 's' is in two splits"):
        check_disjoint([("s", "train"), ("r", "test"), ("s", "validation")])


def test_a_class_without_training_clips_is_named():
    clips = [*make_clips(8, 2, split="train"), Clip(Path("x.wav"), ("unseen",), "new", "x", split="test")]
    with pytest.raises(InputError, match="Class 'unseen' has no training clip"):
        assign_splits(clips, LabelSpace.of_clips(clips), validation_fraction=0)


def test_every_class_is_on_both_sides_even_when_groups_are_few():
    clips = make_clips(8, 3)  # two groups a class
    split = assign_splits(clips, LabelSpace.of_clips(clips), test_fraction=0.5, validation_fraction=0)
    for name in ("train", "test"):
        assert {clip.labels[0] for clip in split if clip.split == name} == set("abcd")
