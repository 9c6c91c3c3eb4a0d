"""Splits: disjoint in groups, stratified, official ones kept, and one clear sentence where none is possible."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from corpus_trees import folder_tree, irmas_tree

from hf_audio import Clip, DataConfig, InputError, LabelSpace, assign_splits, corpus_clips
from hf_audio.data.index.columns import check_disjoint
from hf_audio.data.index.table import index_of, rows_of


def make_clips(num_groups: int, clips_each: int, classes: str = "abcd", split: str | None = None) -> list[Clip]:
    return [
        Clip(Path(f"{group}-{part}.wav"), (classes[group % len(classes)],), f"g{group}", f"{group}-{part}", split=split)
        for group in range(num_groups)
        for part in range(clips_each)
    ]


def numbered(clips: list[Clip], first: int) -> list[Clip]:
    return [
        Clip(clip.path, clip.labels, f"g{first + number}", f"{first + number}", split=clip.split)
        for number, clip in enumerate(clips)
    ]


def splits_of_groups(clips: list[Clip]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for clip in clips:
        found.setdefault(clip.group, set()).add(clip.split)
    return found


def test_single_label_split_is_disjoint_stratified_and_reproducible():
    clips = make_clips(80, 3)
    labels = LabelSpace.of_clips(index_of(clips))
    split = list(rows_of(assign_splits(index_of(clips), labels, test_fraction=0.2, validation_fraction=0.1)))
    assert all(len(splits) == 1 for splits in splits_of_groups(split).values())
    for name, expected in (("test", 16 * 3), ("validation", 6 * 3)):
        counts = Counter(clip.labels[0] for clip in split if clip.split == name)
        assert sum(counts.values()) == expected
        assert max(counts.values()) - min(counts.values()) <= 3, f"{name} is not stratified: {counts}"
    assert split == list(rows_of(assign_splits(index_of(clips), labels, test_fraction=0.2, validation_fraction=0.1)))
    assert split != list(
        rows_of(assign_splits(index_of(clips), labels, test_fraction=0.2, validation_fraction=0.1, seed=1))
    )


def test_multi_label_split_keeps_every_class_and_its_share():
    random = np.random.default_rng(3)
    clips = []
    for group in range(120):
        labels = tuple(
            name for name, share in zip("abcde", (0.5, 0.3, 0.2, 0.1, 0.06), strict=True) if random.random() < share
        )
        clips += [Clip(Path(f"{group}.wav"), labels, f"g{group}", f"{group}-{part}") for part in range(2)]
    split = list(
        rows_of(
            assign_splits(
                index_of(clips), LabelSpace.of_clips(index_of(clips)), test_fraction=0.25, validation_fraction=0.0
            )
        )
    )
    total = Counter(label for clip in clips for label in clip.labels)
    test = Counter(label for clip in split if clip.split == "test" for label in clip.labels)
    for label in total:
        assert 0.1 < test[label] / total[label] < 0.45, f"{label}: {test[label]} of {total[label]}"
    assert all(len(splits) == 1 for splits in splits_of_groups(split).values())


def test_official_splits_are_kept_and_validation_is_drawn_from_train():
    clips = make_clips(40, 2, split="train") + [
        Clip(Path("t.wav"), ("a",), f"test{n}", f"t{n}", split="test") for n in range(4)
    ]
    split = list(rows_of(assign_splits(index_of(clips), LabelSpace.of_clips(index_of(clips)))))
    assert [clip.clip_id for clip in split if clip.split == "test"] == ["t0", "t1", "t2", "t3"]
    assert {clip.labels[0] for clip in split if clip.split == "validation"} == set("abcd")


def test_folds_and_test_groups():
    clips = [*make_clips(8, 2, split="fold1"), *(c for c in make_clips(40, 2, split="fold2") if int(c.group[1:]) >= 8)]
    labels = LabelSpace.of_clips(index_of(clips))
    with pytest.raises(InputError, match=r"official folds fold1, fold2; choose .* --fold fold1"):
        assign_splits(index_of(clips), labels)
    with pytest.raises(InputError, match="--fold 3 is none of them"):
        assign_splits(index_of(clips), labels, fold="3")
    split = list(rows_of(assign_splits(index_of(clips), labels, fold="fold1")))
    assert {clip.group for clip in split if clip.split == "test"} == {f"g{n}" for n in range(8)}

    split = list(rows_of(assign_splits(index_of(make_clips(40, 2)), labels, test_groups=["g3", "g4"])))
    assert {clip.group for clip in split if clip.split == "test"} == {"g3", "g4"}
    with pytest.raises(InputError, match="--test_groups nobody is not a group"):
        assign_splits(index_of(make_clips(40, 2)), labels, test_groups=["nobody"])


def test_a_class_with_one_group_is_named():
    clips = [
        *make_clips(30, 2),
        Clip(Path("r.wav"), ("rare",), "lonely", "r1"),
        Clip(Path("s.wav"), ("rare",), "lonely", "r2"),
    ]
    with pytest.raises(InputError, match="Class 'rare' has one group, 'lonely'"):
        assign_splits(index_of(clips), LabelSpace.of_clips(index_of(clips)))


def test_a_group_in_two_official_splits_is_named():
    clips = [*make_clips(8, 2, split="train"), Clip(Path("x.wav"), ("a",), "g0", "x", split="test")]
    with pytest.raises(InputError, match="Group 'g0' is in two splits, train and test"):
        assign_splits(index_of(clips), LabelSpace.of_clips(index_of(clips)))
    with pytest.raises(InputError, match="Group 's' is in two splits"):
        check_disjoint(pa.table({"group": ["s", "r", "s"], "split": ["train", "test", "validation"]}))


def test_a_group_in_two_folds_is_named_and_not_moved():
    clips = [*make_clips(16, 2, split="fold1"), *numbered(make_clips(16, 2, split="fold2"), 16)]
    clips.append(Clip(Path("x.wav"), ("a",), "g0", "x", split="fold2"))
    for seed in range(5):  # whichever groups are drawn for validation
        with pytest.raises(InputError, match="Group 'g0' is in two splits"):
            assign_splits(
                index_of(clips), LabelSpace.of_clips(index_of(clips)), fold="1", validation_fraction=0.5, seed=seed
            )


def test_shares_out_of_range_and_nothing_to_draw_from_get_one_sentence():
    clips = make_clips(8, 2)
    labels = LabelSpace.of_clips(index_of(clips))
    with pytest.raises(InputError, match="--validation_fraction must be at least 0 and below 1, found 1: try"):
        assign_splits(index_of(clips), labels, validation_fraction=1.0)
    with pytest.raises(InputError, match="--test_fraction must be at least 0 and below 1, found -0"):
        assign_splits(index_of(clips), labels, test_fraction=-0.1)
    with pytest.raises(InputError, match="cannot be drawn without leakage from the 0 training groups"):
        assign_splits(index_of(make_clips(8, 2, split="test")), labels)


def test_a_class_without_training_clips_is_named():
    clips = [*make_clips(8, 2, split="train"), Clip(Path("x.wav"), ("unseen",), "new", "x", split="test")]
    with pytest.raises(InputError, match="Class 'unseen' has no training clip"):
        assign_splits(index_of(clips), LabelSpace.of_clips(index_of(clips)), validation_fraction=0)


def test_every_class_is_on_both_sides_even_when_groups_are_few():
    clips = make_clips(8, 3)  # two groups per class
    split = list(
        rows_of(
            assign_splits(
                index_of(clips), LabelSpace.of_clips(index_of(clips)), test_fraction=0.5, validation_fraction=0
            )
        )
    )
    for name in ("train", "test"):
        assert {clip.labels[0] for clip in split if clip.split == name} == set("abcd")


def songs_for_testing(count: int = 60) -> list[Clip]:
    """Official training clips with one label, and test songs with several excerpts and labels."""
    clips, random = make_clips(40, 2, split="train"), np.random.default_rng(1)
    for song in range(count):
        for part in range(1 + song % 4):
            labels = tuple(sorted({"abcd"[song % 4], "abcd"[random.integers(4)]}))
            clips.append(Clip(Path(f"{song}.wav"), labels, f"song{song}", f"song{song}-{part}", split="test"))
    return clips


def test_whole_songs_move_from_the_test_split_to_validation_and_training():
    clips = songs_for_testing()
    labels = LabelSpace.of_clips(index_of(clips))
    split = list(
        rows_of(
            assign_splits(index_of(clips), labels, validation_from="test", validation_fraction=0.2, test_to_train=0.3)
        )
    )
    found = splits_of_groups(split)
    assert all(len(splits) == 1 for splits in found.values())
    songs = Counter(next(iter(found[group])) for group in found if group.startswith("song"))
    assert abs(songs["train"] - 18) <= 2 and abs(songs["validation"] - 12) <= 2 and abs(songs["test"] - 30) <= 2
    assert all(found[f"g{number}"] == {"train"} for number in range(40)), "the official training clips stay"
    for name, share in (("train", 0.3), ("validation", 0.2), ("test", 0.5)):
        of_test = [clip for clip in split if clip.group.startswith("song")]
        for label in "abcd":
            held = np.mean([clip.split == name for clip in of_test if label in clip.labels])
            assert abs(held - share) < 0.12, f"{label} is not stratified in {name}: {held:.2f} of {share}"
    assert split == list(
        rows_of(
            assign_splits(index_of(clips), labels, validation_from="test", validation_fraction=0.2, test_to_train=0.3)
        )
    )


def test_after_moving_test_songs_to_train_validation_is_drawn_from_train():
    clips = songs_for_testing()
    split = list(rows_of(assign_splits(index_of(clips), LabelSpace.of_clips(index_of(clips)), test_to_train=0.5)))
    found = splits_of_groups(split)
    assert sum(found[f"song{song}"] == {"test"} for song in range(60)) in range(28, 33)
    assert {name for splits in found.values() for name in splits} == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("clips", "settings", "sentence"),
    [
        (make_clips(40, 2), {"validation_from": "test"}, "--validation_from test needs an official test split"),
        (make_clips(40, 2), {"test_to_train": 0.3}, "--test_to_train 0.3 needs an official test split"),
        (songs_for_testing(), {"test_to_train": 0.3, "test_groups": ["g1"]}, "needs an official test split"),
        (songs_for_testing(), {"validation_from": "tset"}, "--validation_from tset is unknown; expected train or test"),
        (songs_for_testing(), {"test_to_train": 1.5}, "must be at least 0 and below 1, found 1.5"),
        (songs_for_testing(), {"validation_from": "test", "validation_fraction": 0.0}, "which is 0; try 0.15"),
        (songs_for_testing(), {"validation_from": "test", "test_to_train": 0.9}, "leave nothing in the test split"),
        (songs_for_testing(1), {"validation_from": "test"}, "has 1 groups, too few to be divided among"),
    ],
)
def test_impossible_settings_of_the_test_split_are_one_sentence(clips, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        assign_splits(index_of(clips), LabelSpace.of_clips(index_of(clips)), **settings)


def test_folds_do_not_count_as_an_official_test_split():
    clips = [clip for number in (1, 2) for clip in numbered(make_clips(8, 1, split=f"fold{number}"), 8 * number)]
    with pytest.raises(InputError, match="--validation_from test needs an official test split"):
        assign_splits(index_of(clips), LabelSpace.of_clips(index_of(clips)), fold="1", validation_from="test")


def test_the_card_names_changes_to_the_official_split(tmp_path):
    irmas_tree(tmp_path / "irmas", 0.1)
    data = DataConfig(corpus="irmas", data_dir=str(tmp_path / "irmas"), validation_from="test", validation_fraction=0.4)
    prepared = corpus_clips(data)
    assert "NOT the whole official test split: 40% of its groups (songs)" in prepared.card.protocol
    assert {clip.split for clip in rows_of(prepared.clips) if clip.group.startswith("test/")} == {"test", "validation"}
    data = dataclasses.replace(data, validation_from="train", validation_fraction=0.0, test_to_train=0.3)
    assert "30% of the test groups (songs)" in corpus_clips(data).card.protocol

    folder_tree(tmp_path / "folder")
    data = DataConfig(data_dir=str(tmp_path / "folder"), num_folds=4, fold="2")
    prepared = corpus_clips(data)
    assert "Tested on fold 2 of 4 random folds of the groups." in prepared.card.protocol
    assert sum(clip.split == "test" for clip in rows_of(prepared.clips)) == 6


@pytest.mark.parametrize("num_rare", [2, 3])
def test_a_rare_class_goes_to_training_and_test_before_validation(num_rare, caplog):
    groups_of = {"a": 30, "b": 20, "rare": num_rare, "rarer": 2}
    clips = [
        Clip(Path(f"{name}{number}.wav"), (name,), f"{name}{number}", f"{name}{number}")
        for name, count in groups_of.items()
        for number in range(count)
    ]
    for seed in range(3):
        split = list(rows_of(assign_splits(index_of(clips), LabelSpace.of_clips(index_of(clips)), seed=seed)))
        found = {(clip.split, clip.labels[0]) for clip in split}
        assert {(part, name) for part in ("train", "test") for name in groups_of} <= found
        validated = {name for part, name in found if part == "validation"}
        assert validated == {"a", "b"} | ({"rare"} if num_rare == 3 else set())
        assert "validation split" in caplog.text and "rarer" in caplog.text


def test_the_only_group_with_a_class_stays_in_training():
    clips = [Clip(Path(f"{n}.wav"), ("a", "b") if n % 2 else ("a",), f"g{n}", f"{n}", split="train") for n in range(12)]
    clips += [Clip(Path("rare.wav"), ("a", "rare"), "lonely", "rare", split="train")]
    clips += [Clip(Path("t.wav"), ("a", "b", "rare"), "tested", "t", split="test")]
    split = {
        clip.clip_id: clip.split
        for clip in rows_of(assign_splits(index_of(clips), LabelSpace.of_clips(index_of(clips))))
    }
    assert split["rare"] == "train" and list(split.values()).count("validation") >= 1
