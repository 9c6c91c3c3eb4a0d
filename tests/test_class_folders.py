"""Class folders as found in practice: splits, speakers, wrappers, stray and junk files. Each is read or reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_folder import touch

from hf_audio import InputError
from hf_audio.corpora.folder import Reading, understand
from hf_audio.data.index.table import rows_of
from hf_audio.data.index.understanding import Understanding


def read(root: Path, **reading) -> tuple[dict[str, tuple], Understanding]:
    """{clip_id: (label, group, split)}, and how the folder was read."""
    index, understanding = understand(root, Reading(**reading))
    return {clip.clip_id: (clip.labels[0], clip.group, clip.split) for clip in rows_of(index)}, understanding


def classes(*names: str, files: int = 2) -> list[str]:
    return [f"{name}/{number}.wav" for name in names for number in range(files)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("train", "test"),
        ("Training", "Testing"),
        ("TRAIN", "eval"),
        ("train_set", "valid"),
        ("training data", "dev"),
        ("my-train", "my-test"),
        ("train-clean-100", "test-clean"),
        ("01_train", "02_val"),
    ],
)
def test_folders_named_like_splits_are_splits(tmp_path, first, second):
    touch(tmp_path, *classes(f"{first}/dog", f"{first}/cat", f"{second}/dog", f"{second}/cat"))
    clips, understanding = read(tmp_path)
    assert set(understanding.class_counts) == {"dog", "cat"}
    assert {split for _, _, split in clips.values()} == {
        "train",
        "test" if "te" in second.casefold() or second == "eval" else "validation",
    }
    assert first in understanding.layout and "from folders" in understanding.splits


@pytest.mark.parametrize("fold", ["fold", "split_", "Subset ", "cv-fold-"])
def test_folders_of_folds_are_folds(tmp_path, fold):
    touch(tmp_path, *classes(f"{fold}1/dog", f"{fold}1/cat", f"{fold}2/dog", f"{fold}2/cat"))
    clips, understanding = read(tmp_path)
    assert {split for _, _, split in clips.values()} == {f"{fold}1", f"{fold}2"} and len(
        understanding.class_counts
    ) == 2


def test_splits_may_be_inside_the_classes(tmp_path):
    touch(tmp_path, *classes("dog/train/ann", "dog/test/bob", "cat/train/ann", "cat/test/bob"))
    clips, understanding = read(tmp_path)
    assert set(understanding.class_counts) == {"dog", "cat"} and clips["dog/train/ann/0.wav"] == ("dog", "ann", "train")


def test_a_recording_beside_splits_inside_a_class_is_left_out(tmp_path):
    touch(tmp_path, *classes("dog/train", "dog/test", "cat/train", "cat/test"), "dog/stray.wav")
    clips, understanding = read(tmp_path)
    assert len(clips) == 8 and clips["dog/train/0.wav"] == ("dog", "dog/train/0.wav", "train")
    assert "(dog/stray.wav)" in understanding.left_out[0]


def test_a_class_may_be_called_train(tmp_path):
    touch(tmp_path, *classes("train", "bus", "tram"))
    clips, understanding = read(tmp_path)
    assert set(understanding.class_counts) == {"train", "bus", "tram"} and clips["train/0.wav"][2] is None
    assert "class train is named like a split" in understanding.paragraph()


def test_classes_may_be_speakers_or_named_like_train_horn(tmp_path):
    touch(tmp_path / "speakers", *classes("speaker1/session1", "speaker1/session2", "speaker2/session1", "speaker2/s2"))
    assert set(read(tmp_path / "speakers")[1].class_counts) == {"speaker1", "speaker2"}
    touch(tmp_path / "horns", *classes("train horn", "car horn", "test tone"))
    assert set(read(tmp_path / "horns")[1].class_counts) == {"train horn", "car horn", "test tone"}


def test_stray_files_and_folders_are_reported_and_stop_strict_builds(tmp_path):
    touch(
        tmp_path, *classes("train/dog", "train/cat", "val/dog", "val/cat"), "train/intro.wav", "raw/x.wav", "raw/y.wav"
    )
    clips, understanding = read(tmp_path)
    assert len(clips) == 8 and not any("raw" in name or "intro" in name for name in clips)
    assert "the folder raw, which is not a split" in understanding.paragraph()
    assert "1 recording outside class folders (train/intro.wav)" in understanding.paragraph()
    with pytest.raises(InputError, match=r"train/intro.wav\): move or remove .* leave out --strict"):
        understanding.require_all_recordings()


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (classes("train", "valid", "test"), "named like splits, test, train, valid, but no class folders in them"),
        (
            classes("audio/dog", "audio/cat"),
            r"one folder of recordings, audio, .* \(cat, dog\); give --data_dir .*/audio$",
        ),
        (classes("a/b/dog", "a/b/cat"), r"seem to be in it \(cat, dog\); give --data_dir .*/a/b$"),
        (classes("all/train/dog", "all/test/dog"), r"seem to be in it \(test, train\); give --data_dir .*/all$"),
        (
            classes("train/audio/dog", "train/audio/cat", "test/audio/dog"),
            "have only one folder each, audio, .* move them up",
        ),
        (
            classes("train/dog", "train/cat", "holdout/dog", "holdout/cat"),
            r"the folders train, named like a split, and holdout, .* the same folders \(cat, dog\).* rename holdout",
        ),
        (
            classes("Actor_01/calm", "Actor_01/sad", "Actor_02/calm", "Actor_02/sad"),
            "Actor_01, Actor_02 in .* are named like groups, and .* swap the folders, as in calm/Actor_01",
        ),
        (
            [*classes("dog", files=1), "a.wav", "b.wav"],
            "2 of 3 recordings are not in a class folder and have no label, such as .*a.wav",
        ),
    ],
)
def test_unreadable_folders_are_refused(tmp_path, names, sentence):
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=sentence) as caught:
        understand(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("inner", ["train", "Training", "train_set"])
def test_a_repeated_split_folder_is_skipped(tmp_path, inner):
    touch(tmp_path, *classes(f"train/{inner}/dog", f"train/{inner}/cat", "test/dog", "test/cat"), "train/intro.wav")
    clips, understanding = read(tmp_path)
    assert set(understanding.class_counts) == {"dog", "cat"} and clips[f"train/{inner}/dog/0.wav"][2] == "train"
    assert "which is skipped" in understanding.layout and understanding.left_out


def test_the_folder_below_a_class_is_the_group_also_across_classes(tmp_path):
    touch(tmp_path, *classes("yes/anna", "no/anna", "yes/bob/cd1", "yes/bob/cd2", files=1), "no/loose.wav")
    clips, understanding = read(tmp_path)
    assert clips["yes/anna/0.wav"][1] == clips["no/anna/0.wav"][1]
    assert clips["yes/bob/cd1/0.wav"][1] == clips["yes/bob/cd2/0.wav"][1] != clips["yes/anna/0.wav"][1]
    assert clips["no/loose.wav"][1] == "no/loose.wav"
    assert (
        "1 are below several classes" in understanding.groups and "1 files have no known group" in understanding.groups
    )
    assert not understanding.groups_known


def test_a_single_folder_of_equal_name_in_each_class_is_no_group(tmp_path):
    touch(tmp_path, *classes("dog/wav", "cat/wav"))
    clips, understanding = read(tmp_path)
    assert len({group for _, group, _ in clips.values()}) == 4 and "skipping the folder wav" in understanding.layout
    assert "no groups are known" in understanding.groups


def test_folders_named_after_formats_are_no_groups(tmp_path):
    touch(tmp_path, *classes("dog/wav/ann", "dog/OGG/bob", "cat/wav/ann", "cat/OGG/bob"))
    clips, understanding = read(tmp_path)
    assert {group for _, group, _ in clips.values()} == {"ann", "bob"}
    assert understanding.layout == "class folders, skipping the folder OGG or wav in each"


def test_unknown_suffixes_do_not_hide_a_class(tmp_path):
    touch(tmp_path, *classes("dog", "cat"))
    (tmp_path / "emu").mkdir()
    for number in range(3):
        (tmp_path / f"cat/{number}.wav").exists() and (tmp_path / f"cat/{number}.wav").rename(
            tmp_path / f"cat/{number}.xyz"
        )
        (tmp_path / f"emu/{number}.webm").write_bytes(b"\x1aE\xdf\xa3 no sound that libsndfile knows")
    (tmp_path / "dog/README").write_text("a text without suffix")
    (tmp_path / "yak").mkdir()
    (tmp_path / "yak/0.zzz").write_bytes(b"what is this")
    _, understanding = read(tmp_path)
    assert understanding.class_counts == {"cat": 2, "dog": 2, "emu": 3}, "no class disappears"
    told = understanding.paragraph()
    assert (
        "dog/README: Format not recognised" in told
        and "yak/0.zzz" in told
        and "1 folder without recordings (yak)" in told
    )


def test_a_class_without_decodable_files_is_refused(tmp_path):
    touch(tmp_path, *classes("train/dog", "train/cat", "test/dog", "test/cat"))
    (tmp_path / "train/yak").mkdir()
    for number in range(3):
        (tmp_path / f"train/yak/{number}.zzz").write_bytes(b"what is this")
    with pytest.raises(InputError, match=r"train/yak is next to class folders, but its 3 files .* \(0.zzz: Format not"):
        understand(tmp_path)


def test_speakers_that_differ_only_in_case_are_reported(tmp_path):
    touch(tmp_path, *classes("yes/Anna", "no/anna", "yes/bob", "no/bob"))
    assert "groups 'Anna' and 'anna' differ only in case" in read(tmp_path)[1].paragraph()


def test_hidden_and_system_files_are_left_out_and_counted(tmp_path):
    touch(tmp_path, *classes("dog", "cat"))
    junk = ["dog/.trashed-17-a.wav", "dog/._0.wav", "@eaDir/dog/0.wav", "#recycle/b.wav", "$RECYCLE.BIN/c.wav"]
    junk += ["__MACOSX/dog/0.wav", ".ipynb_checkpoints/a-checkpoint.wav", "cat/.hidden/d.wav", "dog/.cache.flac"]
    junk += [
        "cat/@eaDir/0.wav@SynoEAStream.wav",
        "cat/0.wav~",
        "System Volume Information/e.wav",
        ".Trash-1000/files/f.wav",
    ]
    for name in junk:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "Thumbs.db").write_bytes(b"")
    (tmp_path / "dog/desktop.ini").write_bytes(b"")
    clips, understanding = read(tmp_path)
    assert sorted(clips) == sorted(classes("dog", "cat"))
    assert "15 hidden files or folders" in understanding.paragraph()


def test_similar_class_names_are_reported_and_merged_on_request(tmp_path):
    touch(
        tmp_path,
        *classes("Dog", "dog", "ca\u0301t", "c\u00e1t", "acoustic guitar", "acoustic_guitar", "emu"),
        "dog/9.wav",
    )
    _, understanding = read(tmp_path)
    assert len(understanding.class_counts) == 7
    assert (
        understanding.paragraph().count("--merge_classes") == 3
        and "'Dog' (2 clips) and 'dog' (3" in understanding.paragraph()
    )
    _, understanding = read(tmp_path, merge_classes=True)
    assert len(understanding.class_counts) == 4 and understanding.class_counts["dog"] == 5
    assert (
        "'Dog' and 'dog' became 'dog'" in understanding.paragraph()
        and "--merge_classes merges" not in understanding.paragraph()
    )
    touch(tmp_path / "plain", *classes("a", "b"))
    with pytest.raises(InputError, match="--merge_classes would merge nothing"):
        read(tmp_path / "plain", merge_classes=True)


def test_joined_and_escaped_class_names_are_reported(tmp_path):
    touch(tmp_path, *classes("rock", "pop", "rock+pop", "drum%20and%20bass", "'emu'"))
    _, understanding = read(tmp_path)
    assert "'rock+pop' looks like several classes" in understanding.paragraph()
    assert "has quotation marks or escapes" in understanding.paragraph()


def test_the_paragraph_is_one_line_for_any_names(tmp_path):
    touch(tmp_path, *classes("a\x1b[2Jb", "c\nd"))
    _, understanding = read(tmp_path)
    assert understanding.paragraph().isprintable()


def test_a_thousand_classes_make_a_short_paragraph(tmp_path):
    for number in range(1000):
        (tmp_path / f"{number:04d}").mkdir()
        (tmp_path / f"{number:04d}" / "a.wav").write_bytes(b"")
    _, understanding = read(tmp_path)
    assert "1,000 classes (0000 1, 0001 1" in understanding.paragraph() and len(understanding.paragraph()) < 600


def test_a_build_prints_the_paragraph_and_claims_no_unknown_groups(tmp_path, forks):
    for label in ("dog", "cat"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(6):
            noise = 0.1 * np.random.default_rng(number).standard_normal(4000)
            soundfile.write(tmp_path / "data" / label / f"{number}.wav", noise, 8000)
    script = Path(__file__).parents[1] / "scripts" / "build_features.py"
    places = ("--data_dir", tmp_path / "data", "--features_dir", tmp_path / "features")
    done = forks.run(script, *places, "--num_workers", "1")
    assert done.returncode == 0, done.errors
    assert done.output.startswith("Read class folders: 12 clips, 2 classes (cat 6, dog 6). Groups: no groups are known")
    assert "12 of 12 recordings checked have a sample rate below" in done.output
    manifest = json.loads((tmp_path / "features/manifest.json").read_text())
    assert manifest["corpus"]["groups_known"] is False
    assert manifest["corpus"]["protocol"].startswith("Split by file, since groups are unknown")
    assert manifest["corpus"]["understood"].startswith("Read class folders: 12 clips, 2 classes (cat 6, dog 6).")
    card = (tmp_path / "features/README.md").read_text()
    assert "How the recordings were read: Read class folders: 12 clips" in card
    assert "No grouping of the recordings" in card and "No group is" not in card
