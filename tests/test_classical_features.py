"""Features of kind "classical" are stored, collated and published as computed by the extractor."""

from __future__ import annotations

import csv
import dataclasses
import filecmp
import importlib.util
import multiprocessing
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import tone_corpus
import torch
from chord_sounds import RATE, music
from transformers import AutoFeatureExtractor

from hf_audio.baselines import linear_scores, window_statistics
from hf_audio.config import FeatureConfig
from hf_audio.data.building.build import build_features
from hf_audio.data.index.table import index_of
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.feature_table import features_to_csv
from hf_audio.data.loading.features_dataset import check_same_extractor, load_features
from hf_audio.data.recordings.audio import read_audio
from hf_audio.errors import InputError
from hf_audio.extractors.classical import FEATURE_NAMES, ClassicalFeatureExtractor, spectral_entropies
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.kinds.classical import ClassicalFeatures
from hf_audio.models import build_model
from hf_audio.preparation import window_extractor

CUT = {"window_s": 1.2, "hop_s": 1.2}


@pytest.fixture(scope="module")
def folder(tones, tmp_path_factory) -> Path:
    return tone_corpus.build(tones, tmp_path_factory.mktemp("features") / "tones", ClassicalFeatures(), **CUT)


@pytest.fixture(scope="module")
def stepped(tones, tmp_path_factory) -> Path:
    """Windows of three steps. Clips of the test split end in the second step."""
    clips = tone_corpus.tone_clips(tones, 20)
    clips = [dataclasses.replace(clip, end_s=0.8) if clip.split == "test" else clip for clip in clips]
    target = tmp_path_factory.mktemp("features") / "stepped"
    options = {"card": tone_corpus.CARD, "num_workers": 1, **CUT}
    return build_features(index_of(clips), tone_corpus.LABELS, target, ClassicalFeatures(step_s=0.4), **options)


# Building, loading, collating


def test_stored_and_collated_features_equal_the_extractors(tones, folder):
    features = load_features(folder)
    assert (features.kind.name, features.window_s, features.window_frames) == ("classical", 1.2, 1)
    assert {split: len(rows) for split, rows in features.splits.items()} == {"train": 56, "validation": 8, "test": 16}
    rows = [features.splits["test"][number] for number in range(4)]
    batch = FeatureCollator(features.extractor, features.labels)(rows)
    sounds = [read_audio(tones / row["clip_id"], RATE)[: round(1.2 * RATE)] for row in rows]
    exact = features.extractor(sounds, sampling_rate=RATE, return_tensors="pt")["input_values"]
    assert batch["input_values"].shape == (4, 1, 174) and batch["input_values"].dtype == torch.float32
    np.testing.assert_allclose(batch["input_values"], exact, rtol=1e-5, atol=1e-5)
    assert batch["labels"].argmax(dim=1).tolist() == [row["labels"][0] for row in rows]


def test_short_windows_have_fewer_steps_and_are_padded(tones, stepped):
    features = load_features(stepped, streaming=True)
    row = features.splits["test"][0]
    assert features.window_frames == 3 and row["num_frames"] == 2 and len(row["features"]) == 2 * 174
    (values,) = FeatureCollator(features.extractor, features.labels)([row])["input_values"]
    sound = read_audio(tones / row["clip_id"], RATE, end_s=0.8)
    (exact,) = features.extractor(sound, sampling_rate=RATE, return_tensors="pt")["input_values"]
    assert exact.shape == (3, 174) and (values[2] == 0).all()
    np.testing.assert_allclose(values, exact, rtol=1e-5, atol=1e-5)
    streamed = FeatureCollator(features.extractor, features.labels)(list(features.splits["train"]))
    assert streamed["input_values"].shape == (14, 3, 174)


def test_statistics_are_of_each_feature_over_the_training_steps(folder, stepped):
    for source, steps in ((folder, 56), (stepped, 14 * 3)):
        features = load_features(source)
        values = np.concatenate([features.kind.decode(row) for row in features.splits["train"]])
        assert values.shape == (steps, 174)
        np.testing.assert_allclose(features.extractor.mean, values.mean(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(features.extractor.std, values.std(axis=0), rtol=1e-3, atol=1e-4)
        batch = FeatureCollator(features.extractor, features.labels)(list(features.splits["train"]))
        assert batch["input_values"].mean(dim=(0, 1)).abs().max() < 1e-3


def test_the_published_extractor_carries_the_statistics(folder, tmp_path):
    extractor = load_features(folder).extractor
    extractor.save_pretrained(tmp_path)
    again = AutoFeatureExtractor.from_pretrained(tmp_path, trust_remote_code=True)
    np.testing.assert_array_equal(again(music(1.2), RATE)["input_values"], extractor(music(1.2), RATE)["input_values"])


def test_a_killed_build_is_resumed_to_the_same_result(tones, folder, tmp_path):
    target = tmp_path / "killed"
    process = multiprocessing.get_context("fork").Process(
        target=tone_corpus.build_and_die, args=(tones, target, 4, False, ClassicalFeatures()), kwargs=CUT
    )
    process.start()
    process.join(60)
    assert process.exitcode == -9 and not (target / "manifest.json").exists()
    tone_corpus.build(tones, target, ClassicalFeatures(), **CUT)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()) == names
    assert filecmp.cmpfiles(target, folder, names, shallow=False)[1:] == ([], [])


def test_unsuitable_settings_are_refused(tones, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"step of 0\.05 s is shorter than a spectrum .* give --step_s 0\.10 or more"):
        ClassicalFeatures(step_s=0.05)
    with pytest.raises(InputError, match=r"window of 0\.05 s every 0\.1 s is too short"):
        tone_corpus.build(tones, tmp_path / "f", ClassicalFeatures(), window_s=0.05)
    with pytest.raises(InputError, match=r"a --sample_rate above 12800, .* found 12800: try 22050"):
        ClassicalFeatures(sample_rate=12_800)
    assert ClassicalFeatures(sample_rate=12_801).extract(np.ones(4096, np.float32)).shape == (1, 174)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'need librosa, which is not installed: pip install "hf_audio\[classical\]"'):
        ClassicalFeatures()


def test_entropies_come_after_the_other_features(tones, tmp_path):
    extractor = ClassicalFeatureExtractor(step_s=0.4, entropy_frame_s=0.1)
    features = extractor.extract(music(0.8))
    assert features.shape == (2, 178) == (2, extractor.feature_size) and extractor.feature_names[-1] == "entropy_3"
    np.testing.assert_array_equal(features[:, :174], ClassicalFeatureExtractor(step_s=0.4).extract(music(0.8)))
    np.testing.assert_array_equal(features[1, 174:], spectral_entropies(music(0.8)[8820:], 2205, 4))
    settings = FeatureConfig(features="classical", window_s=0.4, step_s=0.4, entropy_frame_s=0.1)
    clips = tone_corpus.tone_clips(tones, 20)
    options = {"card": tone_corpus.CARD, "num_workers": 1, "window_s": 0.4, "hop_s": 0.4}
    folder = build_features(index_of(clips), tone_corpus.LABELS, tmp_path / "f", window_extractor(settings), **options)
    stored = load_features(folder)
    assert stored.extractor.to_dict() == ClassicalFeatureExtractor.from_pretrained(folder).to_dict()
    assert len(stored.extractor.mean) == 178 and stored.extractor.feature_names == extractor.feature_names
    row = next(iter(stored.splits["train"]))
    assert len(row["features"]) == 178
    assert build_model("mlp", stored)(
        FeatureCollator(stored.extractor, stored.labels)([row])["input_values"]
    ).logits.numel()
    features_to_csv(folder, tmp_path / "f.csv")
    assert (
        (tmp_path / "f.csv").read_text().splitlines()[0].endswith("mel_127_db,entropy_0,entropy_1,entropy_2,entropy_3")
    )
    with pytest.raises(InputError, match=r"entropy_frame_s is None, expected 0\.1"):
        check_same_extractor(ClassicalFeatureExtractor(step_s=0.4), stored.extractor)


@pytest.mark.parametrize("settings", [{}, {"step_s": 0.2}])
def test_entropies_need_a_step_longer_than_their_frame(settings):
    with pytest.raises(InputError, match=r"entropy_frame_s 0\.3 needs a step_s .*: give --step_s"):
        ClassicalFeatures(entropy_frame_s=0.3, **settings)


# Uses of the features


def test_features_can_be_read_as_a_table(stepped, tmp_path, monkeypatch):
    features, table = load_features(stepped), tmp_path / "tables" / "features.csv"
    monkeypatch.setattr(sys, "argv", ["export_csv.py", str(stepped), str(table)])
    runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "export_csv.py"), run_name="__main__")
    with open(table, newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["clip_id", "group", "split", "start_s", "labels", *FEATURE_NAMES]
    assert len(lines) == sum(row["num_frames"] for rows in features.splits.values() for row in rows)
    test = [line for line in lines if line["split"] == "test"]
    row = features.splits["test"][0]
    assert [float(line["start_s"]) for line in test[:2]] == [0.0, 0.4]
    assert test[0]["labels"] == features.labels.names[row["labels"][0]] and test[0]["group"] == row["group"]
    stored = features.kind.decode(row)[1]
    np.testing.assert_allclose([float(test[1][name]) for name in FEATURE_NAMES], stored, rtol=1e-6)


def test_a_table_of_partial_labels_marks_unknown_ones(tones, tmp_path):
    labels = dataclasses.replace(tone_corpus.LABELS, problem_type="multi_label_classification")
    clips = [
        dataclasses.replace(clip, unknown=("low", "middle")) if clip.labels == ("high",) else clip
        for clip in tone_corpus.tone_clips(tones, 20)
    ]
    options = {"card": tone_corpus.CARD, "num_workers": 1, **CUT}
    folder = build_features(index_of(clips), labels, tmp_path / "partial", ClassicalFeatures(), **options)
    with open(features_to_csv(folder, tmp_path / "f.csv"), newline="") as file:
        found = {(line["labels"], line["unknown"]) for line in csv.DictReader(file)}
    assert found == {("high", "low;middle"), ("low", ""), ("middle", "")}


def test_a_table_of_other_features_is_refused(tones, tmp_path):
    folder = tone_corpus.build(tones, tmp_path / "fbank", **CUT)
    with pytest.raises(InputError, match=r"contains fbank features, which have no names; .*--features classical"):
        features_to_csv(folder, tmp_path / "features.csv")
    assert not (tmp_path / "features.csv").exists()


def test_the_linear_baseline_reads_the_vectors(stepped, folder):
    features = load_features(stepped)
    values, targets, _ = window_statistics(features, "test")
    row = features.splits["test"][0]
    assert values.shape == (4, 174) and targets.shape == (4, 3)
    np.testing.assert_allclose(values[0], features.kind.decode(row).mean(axis=0), rtol=1e-5)
    scores = linear_scores(load_features(folder), ["test"])["test"]
    assert (scores.logits.argmax(axis=1) == scores.targets.argmax(axis=1)).mean() > 0.9


def test_extractors_are_compared_by_rate_and_step(stepped):
    stored = load_features(stepped).extractor
    check_same_extractor(stored, ClassicalFeatures(step_s=0.4).to_feature_extractor(1, 0.0, 1.0))
    with pytest.raises(InputError, match=r"step_s is 0\.4, expected None"):
        check_same_extractor(stored, ClassicalFeatureExtractor())
    with pytest.raises(InputError, match=r"\(classical features\), but the model reads log-mel spectrograms"):
        check_same_extractor(stored, KaldiFbank().to_feature_extractor(98, 0.0, 1.0))
