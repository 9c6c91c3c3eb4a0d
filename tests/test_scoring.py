"""Scores of a model: stored features and recordings give the same, from folders, tables and the Hub."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from evaluated_corpus import (
    CLASSES,
    ROWS,
    as_dataset_files,
    build_corpus_features,
    nan_weights,
    save_evaluated,
    write_corpus,
)
from model_cases import CASES
from tagging_models import HOP_S, THRESHOLD, WINDOW_S

from hf_audio.config import DataConfig
from hf_audio.data.index.columns import with_split
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.evaluation_data import features_data, is_features, recordings_data
from hf_audio.judging.scoring import load_model, score
from hf_audio.judging.several_models import in_common, unique_names
from hf_audio.judging.stored_judgments import read_judged, write_judged
from hf_audio.metrics import WindowScores, classification_metrics
from hf_audio.predictor import Predictor


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("judged") / "corpus")


@pytest.fixture(scope="module")
def features(corpus) -> Path:
    return build_corpus_features(corpus, corpus.parent / "features")


@pytest.fixture(scope="module")
def model(corpus, features) -> Path:
    """A multi-label model that has one class more than the corpus."""
    return save_evaluated(corpus.parent / "cnn", features)


def test_recordings_have_the_scores_of_their_stored_features(corpus, features, model):
    predictor = load_model(str(model))
    assert features_data(features).name == features.parent.name, "features of a run have the run's name"
    stored = score(predictor, features_data(features).chosen("test"))
    heard = score(predictor, recordings_data(DataConfig(data_dir=str(corpus))).chosen("test"))
    for one in (stored.judged, heard.judged):
        assert one.labels.names == CLASSES and one.labels.problem_type == SINGLE_LABEL
        assert set(one.clips["split"].to_pylist()) == {"validation", "test"}
    order = [heard.judged.clips["clip_id"].to_pylist().index(one) for one in stored.judged.clips["clip_id"].to_pylist()]
    for name in ("clip_id", "group", "split", "device"):
        assert stored.judged.clips[name].to_pylist() == heard.judged.clips[name].take(order).to_pylist()
    heard_s = heard.judged.clips["duration_s"].take(order)
    np.testing.assert_allclose(
        stored.judged.clips["duration_s"], heard_s, atol=HOP_S / 2
    )  # features: to the last window
    assert sorted(set(heard.judged.clips["duration_s"].to_pylist())) == [0.3, 0.5, 1.1, 2.0]
    np.testing.assert_array_equal(stored.judged.targets, heard.judged.targets[order])
    for row, other in enumerate(order):
        here, there = stored.judged.clip_of_window == row, heard.judged.clip_of_window == other
        # they differ by the quantization to 8 bits
        np.testing.assert_allclose(stored.judged.window_logits[here], heard.judged.window_logits[there], atol=0.05)
        np.testing.assert_allclose(stored.judged.window_starts_s[here], heard.judged.window_starts_s[there], atol=1e-5)
    assert stored.threshold == THRESHOLD and stored.facts["window_s"] == heard.facts["window_s"] == WINDOW_S
    assert stored.facts["hop_s"] == HOP_S and stored.facts["classes"] == {name: [name] for name in CLASSES}
    assert any("1 of the 4 classes of cnn do not occur in the data" in told for told in stored.told)
    path = corpus / "violin-9.wav"
    (row,) = np.flatnonzero(np.array(heard.judged.clips["clip_id"].to_pylist()) == path.name)
    alone = Predictor.load(str(model)).waveform(*soundfile.read(path, dtype="float32"))
    places = [alone.labels.label2id[name] for name in CLASSES]
    found = heard.judged.window_logits[heard.judged.clip_of_window == row]
    np.testing.assert_allclose(found, alone.logits[:, places], atol=1e-4)


def test_a_model_of_the_same_classes_has_the_scores_of_its_report(features, tmp_path):
    predictor = load_model(str(save_evaluated(tmp_path / "one", features, SINGLE_LABEL)))
    data = features_data(features).chosen("test")
    judged = score(predictor, data).judged.of_split("test")
    rows = data.features.splits["test"]
    windows = predictor.window_logits(data.features, "test")
    places = [predictor.labels.label2id[name] for name in CLASSES]
    keys = np.unique(windows.clip_ids, return_inverse=True)[1]
    targets = np.stack([data.labels.target_of(row) for row in rows])
    starts_s, logits = windows.starts_s, windows.values[:, places]
    means = WindowScores(np.array(windows.clip_ids), keys, keys, starts_s, logits, targets).clips()
    wanted = classification_metrics(data.labels.probabilities(means.logits), means.targets, data.labels)
    sums = np.zeros((len(judged), 3))
    np.add.at(sums, judged.clip_of_window, judged.window_logits.astype(np.float64))
    mean = sums / np.bincount(judged.clip_of_window)[:, None]
    assert classification_metrics(judged.labels.probabilities(mean), judged.targets, judged.labels) == wanted


def test_models_and_recordings_on_the_hub(hub, token, model, corpus):
    files = {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}
    hub.create("models", "alice/cnn", files, private=True)
    hub.create("datasets", "alice/sounds", as_dataset_files(), private=True)
    config = DataConfig(dataset="alice/sounds")
    assert not is_features(config)
    told = []
    data = recordings_data(config, tell=told.append).chosen()
    assert (
        data.split == "all" and data.name == "alice/sounds" and data.source == "alice/sounds" and "12 clips" in told[0]
    )
    found = score(load_model("alice/cnn"), data)
    assert found.facts["commit"] and found.judged.name == "alice/cnn"
    own = score(load_model(str(model)), recordings_data(DataConfig(data_dir=str(corpus))).chosen("test")).judged
    own = own.of_split("test")
    np.testing.assert_array_equal(np.sort(found.judged.window_logits, axis=0), np.sort(own.window_logits, axis=0))


def test_a_third_party_stock_model_with_audioset_class_names(corpus, tmp_path):
    """Saved by transformers: its config has no window length, and nothing else of ours."""
    case = next(case for case in CASES if case.name == "ast_stock")
    model = case.make(LabelSpace(("Violin, fiddle", "Bell", "Hum", "Music"), MULTI_LABEL)).eval()
    model.save_pretrained(tmp_path / "stock")
    case.extractor().save_pretrained(tmp_path / "stock")
    found = score(load_model(str(tmp_path / "stock")), recordings_data(DataConfig(data_dir=str(corpus))).chosen("test"))
    assert found.facts["classes"] == {"bell": ["Bell"], "hum": ["Hum"], "violin": ["Violin, fiddle"]}
    assert found.judged.labels.problem_type == SINGLE_LABEL and found.facts["window_s"] == pytest.approx(0.995)
    assert found.told[-1].startswith("stock does not specify the windows") and "0.995 s" in found.told[-1]


def test_undecodable_recordings_are_left_out_and_reported(corpus, model, tmp_path):
    copy = shutil.copytree(corpus, tmp_path / "corpus")
    (copy / "bell-7.wav").write_bytes(b"RIFF nothing")
    found = score(load_model(str(model)), recordings_data(DataConfig(data_dir=str(copy))).chosen("test"))
    assert "bell-7.wav" not in found.judged.clips["clip_id"].to_pylist() and len(found.judged.of_split("test")) == 11
    assert any("1 of 18 clips cannot be read, bell-7.wav (unreadable" in told for told in found.told)


def test_windows_may_have_another_length(corpus, features, model):
    predictor = load_model(str(model))
    data = recordings_data(DataConfig(data_dir=str(corpus))).chosen("test")
    few, many = (score(predictor, data, window_s=0.5, hop_s=hop_s) for hop_s in (0.5, 0.1))
    assert len(many.judged.window_logits) > 2 * len(few.judged.window_logits) and many.facts["hop_s"] == 0.1
    with pytest.raises(InputError, match="--window_s and --hop_s would have no effect here"):
        score(predictor, features_data(features).chosen("test"), hop_s=0.1)


def test_several_models_have_the_same_clips_and_classes(features, model, tmp_path):
    data = features_data(features).chosen("test")
    scored = [
        score(load_model(str(model), name), data, given=given) for name, given in (("a", None), ("b", {"hum": None}))
    ]
    one, two = in_common(scored)
    assert one.judged.labels == two.judged.labels and one.judged.labels.names == ("bell", "violin")
    assert one.judged.clips.equals(two.judged.clips) and len(one.judged) == 12
    np.testing.assert_array_equal(one.judged.targets, two.judged.targets)
    np.testing.assert_array_equal(one.judged.window_logits, two.judged.window_logits)
    assert "a is not evaluated on hum, which another model lacks." in one.told
    rows = np.arange(len(two.judged))[::-1][:-2]
    turned = dataclasses.replace(two.judged, clips=two.judged.clips)
    from hf_audio.judging.several_models import _in_order

    turned = _in_order(turned.take(np.sort(rows)), np.arange(len(rows))[::-1])
    again, other = in_common([one, two._replace(judged=turned)])
    assert again.judged.clips.equals(other.judged.clips) and len(again.judged) == 10
    np.testing.assert_array_equal(again.judged.window_logits, other.judged.window_logits)
    assert unique_names(["x/m", "y/m", "z"]) == {"x/m": "x/m", "y/m": "y/m", "z": "z"}
    with pytest.raises(InputError, match="given twice"):
        unique_names(["x/m", "x/m"])


def test_models_with_the_same_name_are_distinguished_by_their_parent_folders():
    found = unique_names(["x/a/run", "y/a/run", "alice/run", "b/other"])
    assert list(found.values()) == ["x/a/run", "y/a/run", "alice/run", "b/other"]
    with pytest.raises(InputError, match="run was given twice"):
        unique_names(["x/run", "x/../x/run"])


def test_scored_clips_are_stored_and_read_again(features, model, tmp_path):
    scored = score(load_model(str(model)), features_data(features).chosen("test"))
    write_judged(tmp_path / "cnn", scored, "test")
    (again, split) = read_judged(tmp_path / "cnn")
    assert split == "test" and again.judged.name == "cnn" and again.judged.labels == scored.judged.labels
    assert again.judged.clips.equals(scored.judged.clips), "metadata and durations are stored too"
    for name in ("targets", "window_logits", "clip_of_window", "window_starts_s"):
        np.testing.assert_array_equal(getattr(again.judged, name), getattr(scored.judged, name))
    windows = tmp_path / "cnn" / "scores" / "windows.parquet"
    other = dataclasses.replace(scored.judged, window_logits=scored.judged.window_logits + 1)
    write_judged(tmp_path / "other", scored._replace(judged=other), "test")
    shutil.copy(tmp_path / "other" / "scores" / "windows.parquet", windows)
    with pytest.raises(InputError, match=r"clips.parquet and the windows.parquet next to it do not match"):
        read_judged(windows.with_name("clips.parquet"))


class TestBadInput:
    def test_a_model_whose_training_diverged(self, corpus, features, tmp_path):
        predictor = load_model(str(nan_weights(save_evaluated(tmp_path / "nan", features, SINGLE_LABEL))))
        with pytest.raises(InputError, match=r"nan has no finite scores for \d+ of \d+ windows, .*diverged"):
            score(predictor, features_data(features).chosen("test"))
        with pytest.raises(InputError, match=r"None of the 18 clips can be evaluated, .* are not finite"):
            score(predictor, recordings_data(DataConfig(data_dir=str(corpus))).chosen("test"))

    def test_clips_of_a_single_class(self, corpus, tmp_path):
        only = tmp_path / "only"
        (only / "bell").mkdir(parents=True)
        for path, label, *_ in ROWS[:3]:
            shutil.copy(corpus / path, only / label / path)
        with pytest.raises(InputError, match=r"All 3 clips of only \(all\) have the same class, 'bell'"):
            recordings_data(DataConfig(data_dir=str(only))).chosen()

    def test_splits_that_do_not_exist(self, features):
        with pytest.raises(InputError, match="Unknown split 'tset': did you mean 'test'"):
            features_data(features).chosen("tset")
        without = dataclasses.replace(features_data(features), clips=with_split(features_data(features).clips, None))
        with pytest.raises(InputError, match=r"has no splits, so none is called test: leave out --split to .* RUN/fea"):
            without.chosen("test")
        assert features_data(features).chosen("all").split == "all"
