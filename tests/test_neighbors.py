"""Neighbors in embedding space: planted wrong labels, copies and strays are found, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from hf_audio.label_quality.neighbors import (
    NeighborhoodClips,
    groups_told_apart,
    nearest,
    of_another_class,
    of_one_other_group,
    same_sound,
)

NUM_CLASSES, NUM_GROUPS, PER_GROUP = 3, 24, 5


def planted(random: np.random.Generator) -> tuple[np.ndarray, list[str], list[str], list[str]]:
    """One cloud of vectors per class, divided at random into groups: vectors, classes, groups and splits."""
    group = np.repeat(np.arange(NUM_GROUPS), PER_GROUP)
    kind = group % NUM_CLASSES
    vectors = 12 * np.eye(NUM_CLASSES, 20)[kind] + random.normal(size=(len(group), 20))
    splits = ["test" if one % 4 == 3 else "train" for one in group]
    return vectors.astype(np.float32), [f"c{one}" for one in kind], [f"g{one}" for one in group], splits


def clips_of(labels: list[str], groups: list[str], splits: list[str]) -> NeighborhoodClips:
    return NeighborhoodClips([(one,) for one in labels], groups, splits)


def test_neighbors_are_the_nearest_of_all_clips_and_of_other_groups():
    vectors, _, groups, _ = planted(np.random.default_rng(0))
    numbers = np.array([int(one[1:]) for one in groups])
    of_all, others = nearest(vectors, numbers, 4)
    distances = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(of_all.places, np.argsort(distances, axis=1)[:, :4])
    np.testing.assert_allclose(of_all.distances, np.sort(distances, axis=1)[:, :4], rtol=1e-3)
    assert (numbers[others.places] != numbers[:, None]).all()
    _, none = nearest(vectors, np.zeros(len(vectors), dtype=int), 4)
    assert (none.places == -1).all() and np.isinf(none.distances).all(), "there is no other group"


def test_the_wrong_label_and_no_right_one_is_found():
    vectors, labels, groups, splits = planted(np.random.default_rng(1))
    labels[7] = "c2"
    clips = clips_of(labels, groups, splits)
    (seen,) = of_another_class(clips, nearest(vectors, clips.group_numbers)[1])
    assert seen.clips[0] == 7 and seen.text == "labeled c2; 10 of 10 nearest clips of other groups are c1"
    nothing = NeighborhoodClips([(), *clips.labels[1:]], groups, splits)
    assert [one.clips[0] for one in of_another_class(nothing, nearest(vectors, clips.group_numbers)[1])] == [0, 7]


def test_copies_in_two_splits_are_listed_before_copies_in_one():
    vectors, labels, groups, splits = planted(np.random.default_rng(2))
    clips = clips_of(labels, groups, splits)
    assert same_sound(clips, nearest(vectors, clips.group_numbers)[1]) == []
    test, train = splits.index("test"), 60
    other = next(one for one in range(80, 120) if splits[one] == splits[train] == "train")
    vectors[other] = vectors[train] + 0.05
    vectors[test] = vectors[0] + 0.05
    found = same_sound(clips, nearest(vectors, clips.group_numbers)[1])
    assert [one.clips for one in found] == [(0, test), (train, other)]
    assert found[0].text.startswith("in two splits, train and test; groups g0 and g3; ")
    assert found[1].text.startswith("both in train")


def test_a_stray_clip_is_found_with_the_group_that_it_belongs_to():
    random = np.random.default_rng(3)
    group = np.repeat(np.arange(8), 6)
    vectors = (8 * random.normal(size=(8, 20))[group] + random.normal(size=(48, 20))).astype(np.float32)
    groups = [f"g{one}" for one in group]
    groups[3] = "g5"
    clips = clips_of(["c"] * 48, groups, ["train"] * 48)
    of_all, _ = nearest(vectors, clips.group_numbers)
    (seen,) = of_one_other_group(clips, of_all)
    assert seen.clips[0] == 3 and seen.text == "in group g5; 5 of 5 nearest clips are in group g0"
    apart = groups_told_apart(clips, of_all)
    assert {groups[one.clips[0]] for one in apart} >= {"g1", "g2", "g3", "g4", "g6", "g7"}
    assert apart[0].text == "group g0, 5 clips: 100% of their neighbors are in the group; 9% expected by chance"


@pytest.mark.parametrize("scattered", [True, False])
def test_groups_are_not_distinct_beyond_their_class(scattered):
    vectors, labels, groups, splits = planted(np.random.default_rng(4))
    if not scattered:  # each class is one group: neighbors share it because they share the class
        groups = [f"group of {one}" for one in labels]
    clips = clips_of(labels, groups, splits)
    assert groups_told_apart(clips, nearest(vectors, clips.group_numbers)[0]) == []
