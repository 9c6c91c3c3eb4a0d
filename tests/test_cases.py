"""Folders and tables rebuilt from public bug reports: how each is read, or the error that refuses it.

They are in a folder beside the repository, with a README.md on each.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hf_audio import InputError
from hf_audio.config import DataConfig, FeatureConfig
from hf_audio.corpora.folder import Reading, understand
from hf_audio.data.index.table import rows_of
from hf_audio.data.index.understanding import Understanding
from hf_audio.data.recordings.audio import AudioError, probe
from hf_audio.preparation import build_corpus_features, corpus_clips

THREE = {"0": 6, "1": 6, "2": 6}
NO_GROUPS = "Groups: no groups are known, so every file is a group of its own."
SEVERAL = {"d0": 10, "d1": 10, "d2": 10, "digit": 15}

# case: clips per class, and phrases of the paragraph on how it was read
UNDERSTOOD = {
    "split_dirs_and_stray_file": (THREE, ["below the folders test, train", "train/intro.wav"]),
    "split_dirs_and_extra_folder": (
        THREE,
        ["from folders (test, train)", "the folder unlabelled, which is not a split"],
    ),
    "train_in_train": (THREE, ["is in a folder with the same name, which is skipped"]),
    "speaker_folders_in_classes": ({str(n): 60 for n in range(10)}, ["the 6 folders below the classes", "6 are below"]),
    "fold_column": (THREE, ["Splits: column fold (1, 2, 3)."]),
    "start_end_columns": (THREE, ["start the start in seconds, end the end in seconds"]),
    "esc50_columns": (
        {"c0": 6, "c1": 6, "c2": 6},
        ["filename the path; paths relative to audio; category the class", "column fold (1, 2, 3, 4, 5)", "src_file"],
    ),
    "audiofolder_metadata_csv": (THREE, ["table metadata.csv (file_name the path)"]),
    "audiofolder_metadata_jsonl": (THREE, ["table metadata.jsonl (file_name the path)"]),
    "csv_below_a_folder": (THREE, ["table labels.csv (paths relative to data)"]),
    "csv_capital_extension": (THREE, ["table LABELS.CSV"]),
    "tsv_file": (THREE, ["table train.tsv"]),
    "json_beside_audio": (THREE, ["table labels.json"]),
    "class_folders_and_one_other_csv": (THREE, ["Read class folders", "1 table (features_30_sec.csv: the files it"]),
    "class_folders_and_other_csvs": (THREE, ["Read class folders", "2 tables (features_30_sec.csv: the files it"]),
    "class_only_webm": (THREE, ["Read class folders"]),
    "class_without_suffix": (THREE, ["Read class folders"]),
    "hidden_files": (THREE, ["17 hidden files or folders (.ipynb_checkpoints, 0/.DS_Store"]),
    "labels_comma_separated": (SEVERAL, ["several labels separated by commas"]),
    "labels_python_list": (SEVERAL, ["several labels as lists"]),
    "one_hot_columns": ({"one": 6, "two": 6, "zero": 6}, ["columns zero, one, two one class each"]),
    "class_names_by_case": (
        {"1": 6, "2": 6, "Zero": 4, "zero": 2},
        ["classes 'Zero' (4 clips) and 'zero' (2 clips) differ only in case", "--merge_classes merges them"],
    ),
    "nfd_file_names": (THREE, ["table labels.csv:"]),
    "windows_paths": (THREE, [r"paths with \ read as /"]),
    "long_tail": ({"0": 40, "1": 40, "2": 3, "3": 3, "4": 3}, [NO_GROUPS]),
    "upsampled_8k": ({str(n): 40 for n in range(5)}, [NO_GROUPS]),
    "seventeen_windows": ({"0": 10, "1": 10}, ["column split (test, train)"]),
}

REFUSED = {
    "split_dirs_without_classes": "has folders named like splits, test, train, but no class folders in them",
    "one_folder_too_many": r"genres_original, which would be the only class, .* give --data_dir .*_original$",
    "speaker_column": "column speaker could be it: give --group_column_name speaker, .* or --group_column_name none",
    "one_row_without_label": r"labels.csv line 6: 1 of 18 rows have no label in column 'label' \(found ''\)",
    "one_row_nan_label": r"labels.csv line 6: 3 of 18 rows have no label in column 'label' \(found 'nan'\)",
    "labels_all_empty": "labels.csv: no row has a label in column 'labels'",
    "labels_semicolon_in_label_column": "line 3: 'digit;d0' in column 'label' looks like several labels",
}
ELSEWHERE = {"absolute_paths", "saved_to_disk", "wav_data_size_zero"}


@pytest.fixture(scope="module")
def cases() -> Path:
    folder = Path(__file__).resolve().parents[2] / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip(f"the cases are missing: {folder}")
    return folder


def test_every_case_is_tested(cases):
    found = {path.name for path in cases.iterdir() if path.is_dir()}
    assert found == {*UNDERSTOOD, *REFUSED, *ELSEWHERE}


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_a_readable_case_is_read_as_expected(cases, name):
    counts, phrases = UNDERSTOOD[name]
    index, understanding = understand(cases / name / "data")
    clips = list(rows_of(index))
    assert understanding.class_counts == counts == Counter(label for clip in clips for label in clip.labels)
    paragraph = understanding.paragraph()
    assert [phrase for phrase in phrases if phrase not in paragraph] == [], paragraph
    assert "\n" not in paragraph and str(cases) not in paragraph
    assert all(Path(clip.path).is_file() for clip in clips)


@pytest.mark.parametrize("name", REFUSED)
def test_an_unreadable_case_is_refused(cases, name):
    with pytest.raises(InputError, match=REFUSED[name]) as caught:
        understand(cases / name / "data")
    assert "\n" not in str(caught.value)


def read(cases: Path, name: str, **reading) -> Understanding:
    return understand(cases / name / "data", Reading(**reading))[1]


def test_flags_suggested_by_errors_and_paragraphs_work(cases):
    assert read(cases, "speaker_column", group_column_name="speaker").groups == "column speaker (6 groups)"
    assert not read(cases, "speaker_column", group_column_name="none").groups_known
    assert read(cases, "labels_semicolon_in_label_column", label_separator=";").class_counts == SEVERAL
    assert read(cases, "class_names_by_case", merge_classes=True).class_counts == {"1": 6, "2": 6, "Zero": 6}
    assert read(cases, "class_folders_and_one_other_csv", layout="folders").class_counts == THREE
    with pytest.raises(InputError, match=r"features_30_sec.csv: \d of \d files do not exist"):
        read(cases, "class_folders_and_one_other_csv", layout="table")
    inner = cases / "one_folder_too_many" / "data" / "genres_original"
    assert understand(inner)[1].class_counts == THREE


def test_groups_from_class_folders_and_from_a_table_agree(cases):
    folder = cases / "speaker_folders_in_classes"
    by_folder = {Path(clip.path).resolve(): clip.group for clip in rows_of(understand(folder / "data")[0])}
    by_table = {Path(clip.path).resolve(): clip.group for clip in rows_of(understand(folder / "csv")[0])}
    assert by_folder == by_table and len(set(by_folder.values())) == 6


def test_absolute_paths_are_not_published(cases, tmp_path):
    shutil.copytree(cases / "absolute_paths" / "data", tmp_path / "data")
    table = tmp_path / "data" / "labels.csv"
    table.write_text(table.read_text().replace("@ROOT@", str(tmp_path / "data")))
    data = DataConfig(data_dir=str(tmp_path / "data"), num_workers=1)
    folder = build_corpus_features(data, tmp_path / "features", FeatureConfig(num_mel_bins=16))
    for path in folder.rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes(), path
    rows = pq.read_table(folder / "index.parquet").to_pylist()
    assert rows[0]["clip_id"] == rows[0]["group"] == "0_george_0.wav"


def test_datasets_of_save_to_disk_and_of_parquet_are_read(cases):
    told: list[str] = []
    parquet = corpus_clips(DataConfig(data_dir=str(cases / "saved_to_disk" / "data")), tell=told.append)
    saved = corpus_clips(DataConfig(data_dir=str(cases / "saved_to_disk" / "data" / "digits")), tell=told.append)
    assert told[0].startswith("Read the dataset data (sound: column audio;") and "3 other files (digits/data" in told[0]
    assert told[1].startswith("Read the dataset digits (sound: column audio;")
    assert len(parquet.clips) == len(saved.clips) and parquet.labels.names == saved.labels.names


def test_every_class_of_a_long_tail_is_in_every_split(cases):
    clips = list(rows_of(corpus_clips(DataConfig(data_dir=str(cases / "long_tail" / "data"))).clips))
    counts = Counter((clip.split, clip.labels[0]) for clip in clips)
    assert all(counts[split, label] for split in ("train", "validation", "test") for label in "01234"), counts
    assert abs(sum(clip.split == "test" for clip in clips) - 0.15 * len(clips)) < 1


def test_a_class_without_decodable_files_stops_the_build_and_lists_them(cases, tmp_path):
    data = DataConfig(data_dir=str(cases / "class_only_webm" / "data"), num_workers=1)
    with pytest.raises(InputError, match=r"Class 2 has no training clips left.* see .*excluded.csv"):
        build_corpus_features(data, tmp_path / "features", FeatureConfig(window_s=0.3, num_mel_bins=16))
    assert "2/2_george_0.webm" in (tmp_path / "features" / "excluded.csv").read_text()


def test_strict_stops_at_a_stray_file_and_low_sample_rates_are_reported(cases, capsys, tmp_path):
    data = DataConfig(data_dir=str(cases / "split_dirs_and_stray_file" / "data"), strict=True)
    with pytest.raises(InputError, match=r"\(train/intro.wav\): move or remove"):
        corpus_clips(data)
    told: list[str] = []
    data = DataConfig(data_dir=str(cases / "upsampled_8k" / "data"))
    prepared = corpus_clips(data, sample_rate=16_000, tell=told.append)
    assert told == [prepared.understanding.paragraph()]
    assert "200 of 200 recordings checked have a sample rate below" in told[0]
    assert prepared.card.protocol.startswith("Split by file, since groups are unknown")


def test_an_unfinished_recording_is_distinguished_from_an_empty_file(cases):
    folder = cases / "wav_data_size_zero" / "data"
    assert probe(folder / "0" / "0_george_0.wav").duration_s > 0.2
    with pytest.raises(AudioError, match=r"empty by its header, but 9,096 bytes of sound follow"):
        probe(folder / "1" / "1_george_0.wav")
