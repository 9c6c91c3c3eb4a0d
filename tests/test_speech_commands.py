"""Speech Commands in its real layout, split by its lists or by the rule that made them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from hf_audio import InputError, LabelSpace
from hf_audio.corpora import speech_commands
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.splits.assigning import assign_splits

# speakers in the published lists, and in neither of them
SPEAKERS = {"validation": ["026290a7", "060cd039"], "test": ["bb05582b", "0c40e715"], "train": ["0c2ca723", "c50f55b8"]}


def make_tree(root: Path, words=speech_commands.WORDS, lists: bool = True) -> Path:
    for split, speakers in SPEAKERS.items():
        names = [f"{word}/{speaker}_nohash_{take}.wav" for word in words for speaker in speakers for take in (0, 1)]
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        if lists and split != "train":
            (root / speech_commands.LISTS[split]).write_text("\n".join(names) + "\n")
    (root / "_background_noise_").mkdir()
    (root / "_background_noise_" / "pink_noise.wav").touch()
    return root


def test_whole_layout(tmp_path, caplog):
    clips = list(rows_of(speech_commands.index(make_tree(tmp_path / "speech_commands_v0.02"))))
    assert len(clips) == 35 * 12 and {clip.labels[0] for clip in clips} == set(speech_commands.WORDS)
    assert Counter(clip.split for clip in clips) == {"train": 140, "validation": 140, "test": 140}
    assert {clip.group for clip in clips if clip.split == "test"} == set(SPEAKERS["test"])
    assert clips[0].clip_id == "backward/026290a7_nohash_0.wav" and not caplog.text
    labels = LabelSpace.of_clips(index_of(clips), speech_commands.CARD.label_names, speech_commands.CARD.problem_type)
    assert list(rows_of(assign_splits(index_of(clips), labels))) == clips


def test_the_rule_gives_the_same_split_as_the_lists(tmp_path, caplog):
    with_lists = list(rows_of(speech_commands.index(make_tree(tmp_path / "with"))))
    without = list(rows_of(speech_commands.index(make_tree(tmp_path / "without", lists=False))))
    assert [(clip.clip_id, clip.split) for clip in with_lists] == [(clip.clip_id, clip.split) for clip in without]
    assert "no validation_list.txt or testing_list.txt" in caplog.text
    shares = Counter(speech_commands.split_of_speaker(f"{number:08x}") for number in range(4000))
    assert 350 < shares["validation"] < 450 and 350 < shares["test"] < 450


def test_lists_take_precedence_over_the_rule(tmp_path):
    root = make_tree(tmp_path, words=["bed"])
    for name in speech_commands.LISTS.values():
        (root / name).write_text("")
    (root / "testing_list.txt").write_text("bed/026290a7_nohash_0.wav\nbed/026290a7_nohash_1.wav\n")
    clips = list(rows_of(speech_commands.index(root)))
    assert {clip.group for clip in clips if clip.split == "test"} == {"026290a7"}
    assert {clip.split for clip in clips} == {"train", "test"}


def test_version_1_and_partial_layouts(tmp_path, caplog):
    words = [word for word in speech_commands.WORDS if word not in speech_commands.NEW_IN_VERSION_2]
    assert len(words) == 30 and len(speech_commands.index(make_tree(tmp_path / "v1", words))) == 30 * 12
    assert not caplog.text
    root = make_tree(tmp_path / "part", ["bed", "yes", "computer"])
    assert {clip.labels[0] for clip in list(rows_of(speech_commands.index(root)))} == {"bed", "yes"}
    assert "is partial: no clips of backward" in caplog.text and "not words of Speech Commands: computer" in caplog.text


def test_bad_layouts_get_one_sentence(tmp_path):
    with pytest.raises(InputError, match="does not contain Speech Commands; expected word folders"):
        speech_commands.index(tmp_path)
    make_tree(tmp_path / "speech_commands_v0.02", ["bed"])
    make_tree(tmp_path / "speech_commands_test_set_v0.02", ["bed"])
    with pytest.raises(InputError, match="so clips would be used twice; choose one"):
        speech_commands.index(tmp_path)
