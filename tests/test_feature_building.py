"""Building features: files, rows and statistics, refusal of another build in the folder, and bad input."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from tone_corpus import CARD, HOP_S, LABELS, WINDOW_S, build, tone_clips
from transformers import AutoFeatureExtractor

from hf_audio.data.building.build import build_features
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.data.index.table import Clip, MixPart, index_of
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.data.recordings.audio import read_audio
from hf_audio.data.recordings.lengths import recordings_of
from hf_audio.data.recordings.stamps import contents_digest
from hf_audio.errors import InputError
from hf_audio.gray_images import decode_features
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.label_quality.clip_vectors import clips_of


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def stamps(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in files(folder)}


def table(folder: Path, split: str) -> list[dict]:
    return [row for path in sorted(folder.glob(f"data/{split}-*.parquet")) for row in pq.read_table(path).to_pylist()]


# Content


def test_files_of_a_dataset(tone_features):
    shards = [f"data/train-{number:05d}-of-00008.parquet" for number in range(8)]
    single = ["data/test-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"]
    others = ["excluded.csv", "index.parquet", "manifest.json", "plan.json", "preprocessor_config.json"]
    assert files(tone_features) == sorted(shards + single + others)
    assert not (tone_features / ".build").exists()


def test_rows_hold_the_windows_of_their_clips(tones, tone_features):
    clips = {clip.clip_id: clip for clip in tone_clips(tones)}
    for split in ("train", "validation", "test"):
        rows = table(tone_features, split)
        assert {row["clip_id"] for row in rows} == {key for key, clip in clips.items() if clip.split == split}
        waveforms = []
        for row in rows:
            start = round(row["start_s"] * 16_000)
            waveform = read_audio(clips[row["clip_id"]].path, 16_000)[start : start + round(WINDOW_S * 16_000)]
            waveforms.append(torch.from_numpy(waveform))
        for row, exact in zip(rows, KaldiFbank()(waveforms), strict=True):
            clip = clips[row["clip_id"]]
            stored = decode_features(row["features"]["bytes"], row["offset"], row["scale"])
            np.testing.assert_allclose(stored, exact, atol=0.51 * row["scale"])
            assert row["group"] == clip.group and row["num_frames"] == len(exact) == 28
            assert [LABELS.names[index] for index in row["labels"]] == list(clip.labels)


def test_windows_of_a_clip_are_together_and_in_order(tone_features):
    rows = table(tone_features, "test")
    assert [row["start_s"] for row in rows[:11]] == pytest.approx([0.1 * step for step in range(11)])
    assert len({row["clip_id"] for row in rows[:11]}) == 1


def test_training_shards_are_shuffled_and_others_keep_their_order(tones, tone_features):
    clips = tone_clips(tones)
    order = list(dict.fromkeys(row["clip_id"] for row in table(tone_features, "test")))
    assert order == [clip.clip_id for clip in clips if clip.split == "test"]
    for path in tone_features.glob("data/train-*.parquet"):
        rows = pq.read_table(path).to_pylist()
        assert 5 * 11 <= len(rows) <= 9 * 11  # nearly equal, about 7 clips each
        assert len({row["labels"][0] for row in rows}) > 1


def test_plain_datasets_reads_images_and_names(tone_features):
    rows = datasets.load_dataset(str(tone_features))
    assert {split: len(part) for split, part in rows.items()} == {"train": 616, "validation": 88, "test": 176}
    features = rows["train"].features
    assert isinstance(features["features"], datasets.Image)
    assert features["labels"].feature.names == list(LABELS.names)
    assert rows["test"][0]["features"].size == (28, 128)


def test_statistics_are_of_the_real_training_frames(tones, tone_features):
    extractor = AutoFeatureExtractor.from_pretrained(tone_features)
    clips = [clip for clip in tone_clips(tones) if clip.split == "train"]
    exact = KaldiFbank()([torch.from_numpy(read_audio(clip.path, 16_000)) for clip in clips])
    windows = np.concatenate(
        [features[start : start + 28] for features in exact for start in [*range(0, 101, 10)]]  # 128 frames per clip
    )
    assert extractor.mean == pytest.approx(windows.mean(), abs=1e-3)
    assert extractor.std == pytest.approx(windows.std(), abs=1e-3)
    assert (extractor.max_length, extractor.num_mel_bins, extractor.sampling_rate) == (28, 128, 16_000)


def test_manifest_and_index_describe_the_content(tones, tone_features):
    manifest = json.loads((tone_features / "manifest.json").read_text())
    assert manifest["label_names"] == list(LABELS.names) and manifest["window_s"] == WINDOW_S
    assert manifest["corpus"]["license"] == "CC0 1.0" and manifest["num_excluded"] == 0
    assert manifest["splits"]["validation"] == {
        "num_shards": 1,
        "num_windows": 88,
        "num_clips": 8,
        "num_groups": 8,
        "label_counts": {"high": 2, "low": 3, "middle": 3},
        "source_rates": {"16000": 8},
    }
    for split, counts in manifest["shard_windows"].items():
        assert counts == [pq.read_metadata(path).num_rows for path in sorted(tone_features.glob(f"data/{split}-*"))]
    rows = pq.read_table(tone_features / "index.parquet").to_pylist()
    assert [row["clip_id"] for row in rows] == [clip.clip_id for clip in tone_clips(tones)]
    assert rows[5] | {"labels": ["middle"], "take": 5, "split": "train", "end_s": None} == rows[5]
    assert manifest["metadata"] == {"take": "int64"} and manifest["has_mixtures"] is False
    assert all(row["take"] == int(row["clip_id"][-7:-4]) for row in table(tone_features, "test"))
    assert (tone_features / "excluded.csv").read_text() == "clip_id,reason\n"


def test_row_groups_stay_small_and_have_a_page_index(tones, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_audio.data.building.shard_rows.ROW_GROUP_BYTES", 100_000)
    folder = build(tones, tmp_path / "features")
    metadata = pq.ParquetFile(folder / "data/test-00000-of-00001.parquet").metadata
    assert metadata.num_row_groups > 1
    sizes = [metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)]
    assert min(sizes) > 80_000 and max(sizes) < 220_000  # about 100,000 to 200,000
    assert metadata.row_group(0).column(0).has_offset_index


def test_clips_shorter_than_the_window_are_stored_short(tones, tmp_path):
    clips = [dataclasses.replace(clip, end_s=0.5 if clip.split == "test" else None) for clip in tone_clips(tones)]
    folder = build_features(index_of(clips), LABELS, tmp_path / "f", KaldiFbank(), window_s=1.0, hop_s=1.0, card=CARD)
    assert {row["num_frames"] for row in table(folder, "test")} == {48}
    assert {row["num_frames"] for row in table(folder, "train")} == {98}


def test_windows_of_excerpts_start_at_their_place_in_the_file(tones, tmp_path):
    clips = [dataclasses.replace(clip, start_s=0.25, end_s=0.95) for clip in tone_clips(tones)]
    folder = build_features(index_of(clips), LABELS, tmp_path / "f", KaldiFbank(), window_s=0.3, hop_s=0.25, card=CARD)
    starts = [row["start_s"] for row in table(folder, "test")][:3]
    assert starts == pytest.approx([0.25, 0.5, 0.65])  # the last window ends at the end of the excerpt


# Another build in the same folder


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"window_s": 0.4}, "window_s was 0.3 and is now 0.4"),
        ({"hop_s": 0.2}, "hop_s was 0.1 and is now 0.2"),
        ({"extractor": KaldiFbank(num_mel_bins=64)}, "extractor"),
    ],
)
def test_a_folder_with_another_build_is_refused(tones, tone_features, change, named):
    before = stamps(tone_features)
    with pytest.raises(InputError, match=f"differs in: {named}"):
        build(tones, tone_features, **change)
    assert stamps(tone_features) == before


def test_changed_recordings_and_labels_are_detected(tones, tone_features, tmp_path):
    clips = tone_clips(tones)
    options = {"window_s": WINDOW_S, "hop_s": HOP_S, "card": CARD}
    relabeled = [dataclasses.replace(clips[0], labels=("low",)), *clips[1:]]
    with pytest.raises(InputError, match="differs in: clip labels;"):
        build_features(index_of(relabeled), LABELS, tone_features, KaldiFbank(), **options)
    soundfile.write(tmp_path / "longer.wav", np.full(99_999, 0.1), 16_000)
    replaced = [dataclasses.replace(clips[0], path=tmp_path / "longer.wav"), *clips[1:]]
    with pytest.raises(InputError, match="differs in: file sizes;"):
        build_features(index_of(replaced), LABELS, tone_features, KaldiFbank(), **options)


@pytest.mark.parametrize("keeps_time", [False, True])
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "interrupted"])
def test_recordings_replaced_by_others_of_equal_size_are_detected(tmp_path, keeps_time, finished):
    corpus, folder = tmp_path / "tones", tmp_path / "features"
    tone_clips(corpus)
    build(corpus, folder)
    if not finished:
        (folder / "manifest.json").unlink()
    target, before = corpus / "low_001.wav", (corpus / "low_001.wav").stat()
    sound, rate = soundfile.read(target, dtype="int16")
    soundfile.write(target, sound[::-1], rate, subtype="PCM_16")
    assert target.stat().st_size == before.st_size
    if keeps_time:
        os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(InputError, match="differs in: file contents"):
        build(corpus, folder)


def test_a_copied_corpus_counts_as_the_same(tmp_path):
    folder = tmp_path / "features"
    tone_clips(tmp_path / "tones")
    build(tmp_path / "tones", folder)
    before = stamps(folder)
    shutil.copytree(tmp_path / "tones", tmp_path / "copy", copy_function=shutil.copyfile)
    build(tmp_path / "copy", folder)
    assert stamps(folder) == before


def test_parts_of_mixtures_count_as_recordings(tmp_path):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for path in paths:
        path.write_bytes(b"1" * 100_000)
    parts = tuple(MixPart(path.stem, str(path)) for path in paths)
    recordings = recordings_of(index_of([Clip("", ("low",), "g", "mixture", split="train", parts=parts)]))
    assert recordings == [str(path) for path in paths]
    found = contents_digest(recordings, 1)
    paths[1].write_bytes(b"1" * 99_999 + b"2")
    assert contents_digest(recordings, 2) != found


def test_features_of_unknown_origin_are_not_touched(tones, tone_features, tmp_path):
    folder = tmp_path / "downloaded"
    (folder / "data").mkdir(parents=True)
    shard = folder / "data/train-00000-of-00001.parquet"
    shard.write_bytes(b"precious")
    with pytest.raises(InputError, match=r"without its plan.json.* choose another folder"):
        build(tones, folder)
    assert shard.read_bytes() == b"precious" and files(folder) == ["data/train-00000-of-00001.parquet"]


# Bad input


def test_a_window_longer_than_every_clip_is_refused(tones, tmp_path):
    with pytest.raises(InputError, match=r"window of 5 s is longer than every clip.* 1.30 s; try --window_s 1.3"):
        build(tones, tmp_path / "features", window_s=5.0)
    assert not (tmp_path / "features/plan.json").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split": None}, "has split None; expected one of train, validation, test"),
        ({"labels": ("low", "low")}, "names class 'low' twice; name it once"),
        ({"clip_id": "low_001.wav"}, "low_001.wav is in the index twice"),
        ({"group": "g7"}, "Group 'g7' is in two splits, train and validation"),
        ({"labels": ("lwo",)}, "did you mean 'low'"),
    ],
)
def test_an_invalid_index_is_refused(tones, tmp_path, change, said):
    clips = tone_clips(tones)
    clips[0] = dataclasses.replace(clips[0], **change)
    with pytest.raises(InputError, match=said):
        build_features(index_of(clips), LABELS, tmp_path / "f", KaldiFbank(), window_s=0.3, hop_s=0.1, card=CARD)


def test_missing_clips_and_missing_training_clips_are_refused(tones, tmp_path):
    options = {"window_s": 0.3, "hop_s": 0.1, "card": CARD}
    with pytest.raises(InputError, match="There are no clips"):
        build_features(index_of([]), LABELS, tmp_path / "f", KaldiFbank(), **options)
    clips = [clip for clip in tone_clips(tones) if "low" not in clip.labels or clip.split != "train"]
    with pytest.raises(InputError, match="Class low has no training clip"):
        build_features(index_of(clips), LABELS, tmp_path / "f", KaldiFbank(), **options)


@pytest.mark.parametrize("problem_type", [SINGLE_LABEL, MULTI_LABEL])
def test_a_class_may_have_any_name(tones, tmp_path, problem_type):
    renamed = LabelSpace(("high;up", "low", "middle|+, ['mid']"), problem_type)
    names = dict(zip(LABELS.names, renamed.names, strict=True))
    clips = [dataclasses.replace(clip, labels=(names[clip.labels[0]],)) for clip in tone_clips(tones)]
    options = {"window_s": 0.3, "hop_s": 0.3, "card": CARD, "num_workers": 1}
    features = load_features(build_features(index_of(clips), renamed, tmp_path / "f", KaldiFbank(), **options))
    assert clips_of(features, ["train"]).targets.sum() == features.manifest["splits"]["train"]["num_clips"]
    assert features.clips()["labels"].to_pylist() == [list(clip.labels) for clip in clips]
