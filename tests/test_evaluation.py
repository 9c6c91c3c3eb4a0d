"""The last stage: its report agrees with the stored scores, and the baselines are right."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from training_run import build_tiny_features, tiny_model

import hf_audio
from hf_audio import baselines
from hf_audio.analysis import evaluation
from hf_audio.analysis.evaluation import evaluate_model, judge
from hf_audio.baselines import linear_scores, prior_scores, window_statistics
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.data.loading.feature_collator import FeatureCollator, clip_key
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.data.loading.training_digests import TRAINING_DATA, read_training_data
from hf_audio.errors import InputError
from hf_audio.metrics import ClipScores, average_per_clip, choose_threshold, classification_metrics
from hf_audio.publishing.contents import model_in
from hf_audio.training import AudioTrainer, Classification, training_arguments

CLIPS = {"train": 42, "validation": 14, "test": 14}


@pytest.fixture(scope="module")
def feature_folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("evaluation")
    return {kind: build_tiny_features(root / kind, kind, CLIPS) for kind in (SINGLE_LABEL, MULTI_LABEL)}


@pytest.fixture(scope="module", params=[SINGLE_LABEL, MULTI_LABEL])
def run(request, feature_folders, tmp_path_factory):
    """A trained run per task: trainer, features, run folder, report."""
    features = load_features(feature_folders[request.param])
    folder = tmp_path_factory.mktemp("run")
    trainer = tiny_trainer(features, folder, num_train_epochs=2)
    trainer.train_resumable()
    report = evaluate_model(trainer, features, folder, command="accelerate launch recipe.py", settings={"a": Path("b")})
    return trainer, features, folder, report


def tiny_trainer(features, folder: Path, **arguments) -> AudioTrainer:
    arguments = {"report_to": "none", "use_cpu": True, "logging_steps": 1, "learning_rate": 3e-3, **arguments}
    return AudioTrainer(tiny_model(features), training_arguments(folder, **arguments), Classification(features))


def test_report_is_complete_and_plain_json(run):
    _, features, folder, report = run
    text = (folder / "report.json").read_text()
    assert json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON")) == report
    assert report["evaluated_split"] == "test"
    assert report["results"].keys() == report["rows"].keys() == {"model", "linear", "prior"}
    assert all(row.keys() == {"validation", "test"} for row in report["results"].values())
    assert {name: split["num_clips"] for name, split in report["data"]["splits"].items()} == CLIPS
    assert report["data"]["source"] == Path(features.source).name, "the report has a path of this machine"
    assert report["model"]["num_parameters"] == report["model"]["num_trainable_parameters"] > 10_000
    assert report["model"]["base_model"] is None
    assert report["training"]["epochs"] == 2 and report["training"]["seconds"] > 0
    assert {"torch", "transformers", "hf_audio"} <= report["versions"].keys()
    assert report["settings"] == {"a": "b"} and report["command"] == "accelerate launch recipe.py"
    assert any("eval_loss" in entry for entry in report["log_history"])
    assert "per clip" in report["protocol"]
    assert sorted(path.name for path in (folder / "plots").iterdir()) == sorted(report["plots"])
    assert len(report["plots"]) == 4
    trained = read_training_data(folder / TRAINING_DATA)
    assert {name: len(trained.digests[f"{name} clips"]) for name in ("train", "validation")} == {
        name: CLIPS[name] for name in ("train", "validation")
    }
    assert trained.holds("train clips", features.splits["train"]["clip_id"][:3]).all()
    assert TRAINING_DATA in model_in(folder), "it is not among the published files"


def test_scores_are_the_models_on_whole_clips(run):
    trainer, features, _, report = run
    rows = list(features.splits["test"])
    batch = FeatureCollator(features.extractor, features.labels)(rows)
    with torch.no_grad():
        logits = trainer.model.eval()(batch["input_values"]).logits.numpy()
    clips = average_per_clip(logits, batch["labels"], batch["clip_keys"])
    assert len(clips) == CLIPS["test"] < len(rows)
    found = report["results"]["model"]["test"]
    probabilities = features.labels.probabilities(clips.logits)
    wanted = classification_metrics(probabilities, clips.targets, features.labels, found.get("threshold", 0.5))
    assert found["mean_average_precision"] == pytest.approx(wanted["mean_average_precision"])
    assert found["accuracy"] == pytest.approx(wanted["accuracy"])
    assert found["per_class"]["hum"] == pytest.approx(wanted["per_class"]["hum"])


def test_stored_scores_give_the_metrics_of_the_report(run):
    """Read with pandas only: labels, decisions and exact logits, from which all metrics of the report follow."""
    trainer, features, folder, report = run
    table = pd.read_parquet(folder / "scores" / "clips.parquet")
    names, results = features.labels.names, report["results"]["model"]
    assert table.columns.tolist()[-len(names) :] == [f"logit: {name}" for name in names]
    for split in ("validation", "test"):
        rows = table[table["split"] == split]
        assert rows["clip_id"].tolist() == list(dict.fromkeys(features.splits[split]["clip_id"]))
        logits = rows[[f"logit: {name}" for name in names]].to_numpy()
        np.testing.assert_array_equal(logits, trainer.predictor().scores(features, split).logits)
        targets = np.array([[name in labels for name in names] for labels in rows["labels"]])
        threshold = results[split].get("threshold", 0.5)
        again = classification_metrics(features.labels.probabilities(logits), targets, features.labels, threshold)
        assert again == results[split]
        accuracy = np.mean([list(a) == list(b) for a, b in zip(rows["labels"], rows["decided"], strict=True)])
        assert results[split]["accuracy"] == pytest.approx(accuracy)
    assert table["about: duration_s"].between(0.28, 0.81).all()
    truth = {row["clip_id"]: [names[i] for i in row["labels"]] for row in features.splits["test"]}
    assert {row.clip_id: list(row.labels) for row in rows.itertuples()} == truth
    groups = dict(zip(features.splits["test"]["clip_id"], features.splits["test"]["group"], strict=True))
    assert dict(zip(rows["clip_id"], rows["group"], strict=True)) == groups
    windows = pd.read_parquet(folder / "scores" / "windows.parquet")
    assert windows.dtypes[f"logit: {names[0]}"] == np.float32
    mean = windows[windows["split"] == "test"].groupby("clip_id")[f"logit: {names[0]}"].mean()
    np.testing.assert_allclose(mean[rows["clip_id"]], rows[f"logit: {names[0]}"], atol=1e-6)
    assert windows[windows["split"] == "test"]["start_s"].tolist() == features.splits["test"]["start_s"][:]


def test_the_threshold_of_every_row_is_chosen_on_validation(run):
    trainer, features, _, report = run
    results = report["results"]["model"]
    if not features.labels.is_multi_label:
        assert "threshold" not in results["test"]
        return
    validation = trainer.predictor().scores(features, "validation")
    threshold = choose_threshold(features.labels.probabilities(validation.logits), validation.targets)
    assert results["test"]["threshold"] == results["validation"]["threshold"] == pytest.approx(threshold)
    assert len({row["test"]["threshold"] for row in report["results"].values()}) == 3, "each row has its own threshold"


def test_the_threshold_never_depends_on_test():
    labels = LabelSpace(("a", "b"), MULTI_LABEL)
    keys = np.arange(2)
    validation = ClipScores(keys, np.array([[2.0, 1.0], [1.0, 2.0]]), np.eye(2))
    one_test = ClipScores(keys, np.array([[9.0, 8.0], [-3.0, 9.0]]), np.eye(2))
    other_test = replace(one_test, targets=1 - one_test.targets)
    thresholds = {
        judge({"validation": validation, "test": t}, labels)["test"]["threshold"] for t in (one_test, other_test)
    }
    assert len(thresholds) == 1
    assert judge({"test": one_test}, labels)["test"]["threshold"] == 0.5


def test_the_class_prior_baseline_scores_by_class_frequencies():
    clips = ClipScores(np.arange(3), np.zeros((3, 2)), np.eye(2)[[0, 1, 1]])
    for kind, sums_to_one in ((SINGLE_LABEL, True), (MULTI_LABEL, False)):
        labels = LabelSpace(("a", "b"), kind)
        counts = np.array([900, 100]) if sums_to_one else np.array([900, 500])
        scores = prior_scores(counts, 1000, clips, labels)
        assert scores.targets is clips.targets
        probabilities = labels.probabilities(scores.logits)
        np.testing.assert_allclose(probabilities, np.tile(counts / 1000, (3, 1)), atol=1e-3)


def test_the_linear_baseline_equals_plain_scikit_learn(feature_folders):
    features = load_features(feature_folders[SINGLE_LABEL])
    statistics = {}
    for split in ("train", "test"):
        frames = [
            row["offset"] + row["scale"] * np.flipud(np.asarray(plot)).T.astype(float)
            for row, plot in zip(features.splits[split], plots(feature_folders[SINGLE_LABEL], split), strict=True)
        ]
        statistics[split] = np.array([np.concatenate([one.mean(axis=0), one.std(axis=0)]) for one in frames])
    classes = [row["labels"][0] for row in features.splits["train"]]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3)).fit(
        statistics["train"], classes
    )
    logs = model.predict_log_proba(statistics["test"])
    keys = np.array([clip_key(clip_id) for clip_id in features.splits["test"]["clip_id"]])
    found = linear_scores(features, ["test"])["test"]
    for key, logits in zip(found.clip_keys, found.logits, strict=True):
        np.testing.assert_allclose(logits, logs[keys == key].mean(axis=0), atol=0.02)
    wanted = [logs[keys == key].mean(axis=0).argmax() for key in found.clip_keys]
    assert accuracy_score(wanted, found.logits.argmax(axis=1)) == 1.0


def plots(folder: Path, split: str):
    """The stored windows, read without hf_audio."""
    from datasets import load_dataset

    return load_dataset(str(folder), data_files={split: f"data/{split}-*.parquet"}, split=split)["features"]


@pytest.mark.parametrize("kind", [SINGLE_LABEL, MULTI_LABEL])
def test_the_linear_baseline_learns_an_easy_task(feature_folders, kind):
    features = load_features(feature_folders[kind])
    result = judge(linear_scores(features, ["validation", "test"]), features.labels)["test"]
    assert result["mean_average_precision"] > 0.9


def test_the_linear_baseline_is_the_same_for_a_streamed_train_split(feature_folders):
    local = linear_scores(load_features(feature_folders[MULTI_LABEL]), ["test"])["test"]
    streamed = linear_scores(load_features(feature_folders[MULTI_LABEL], streaming=True), ["test"])["test"]
    np.testing.assert_allclose(streamed.logits, local.logits, atol=1e-5)


@pytest.mark.parametrize("streaming", [False, True])
def test_large_train_splits_are_thinned_evenly(feature_folders, streaming):
    features = load_features(feature_folders[SINGLE_LABEL], streaming=streaming)
    everything = window_statistics(load_features(feature_folders[SINGLE_LABEL]), "train")
    num_windows = features.num_windows("train")
    inputs, targets, keys = window_statistics(features, "train", max_windows=10)
    picks = np.linspace(0, num_windows - 1, 10).round().astype(int)
    assert len(picks) == 10 < num_windows
    for found, wanted in zip((inputs, targets, keys), everything, strict=True):
        np.testing.assert_array_equal(found, wanted[picks])


def test_the_linear_baseline_without_a_training_window_of_a_class(feature_folders, monkeypatch):
    """Thinning may remove all windows of a rare class, which then gets its prior."""
    monkeypatch.setattr(baselines, "MAX_TRAINING_WINDOWS", 4)
    for folder in feature_folders.values():
        features = load_features(folder)
        scores = linear_scores(features, ["test"])["test"]
        assert np.isfinite(scores.logits).all() and scores.logits.shape == (CLIPS["test"], 3)


def test_the_summary_is_a_table_of_all_rows(run):
    *_, report = run
    lines = str(report).splitlines()
    assert lines[0].startswith("test split: 14 clips of 14 groups")
    main_metric = "f1_micro" if report["task"]["problem_type"] == MULTI_LABEL else "accuracy"
    for line, (name, title) in zip(lines[2:5], report["rows"].items(), strict=True):
        assert line.startswith(title)
        value = report["results"][name]["test"][main_metric]
        assert re.findall(r"[\d.]{5}", line)[0] == f"{value:.3f}"
    assert len({len(line) for line in lines[1:5]}) == 1, "columns are not aligned"
    of_one_group = copy.deepcopy(report)
    of_one_group["data"]["splits"]["test"]["num_groups"] = 1
    assert str(of_one_group).startswith("test split: 14 clips of 1 group, windows")


def test_a_report_can_be_shown_as_tables_and_read_again(run):
    *_, folder, report = run
    table, classes = report.to_pandas(), report.per_class()
    model = report["results"]["model"]["test"]
    assert list(table.index) == list(report["rows"].values()) and table.iloc[0, 0] in model.values()
    assert list(classes["clips"]) == [model["per_class"][name]["support"] for name in classes.index]
    html = report._repr_html_()
    assert html.count("<tr>") == 4 and "class-prior baseline" in html
    assert hf_audio.read_report(folder) == report
    clips = hf_audio.clip_table(folder).sort_values("loss")
    assert clips[clips["split"] == "test"]["is_right"].mean() == pytest.approx(model["accuracy"])


def test_features_can_be_shown_as_tables_and_plots(run):
    _, features, *_ = run
    assert repr(features) == "FeatureDataset(tiny: fbank, 3 classes, windows of 0.4 s; clips: train 42, " + (
        "validation 14, test 14)"
    )
    assert features._repr_html_().count("<tr>") == 1 + len(features.labels) + 3
    assert hf_audio.plot_windows(features)._repr_png_().startswith(b"\x89PNG")


def without(features, split: str):
    splits = {name: rows for name, rows in features.splits.items() if name != split}
    facts = {name: one for name, one in features.manifest["splits"].items() if name != split}
    return replace(features, splits=splits, manifest={**features.manifest, "splits": facts})


def test_without_a_test_split_the_report_calls_scores_optimistic(feature_folders, tmp_path):
    features = without(load_features(feature_folders[MULTI_LABEL]), "test")
    report = evaluate_model(tiny_trainer(features, tmp_path), features, tmp_path)
    assert report["evaluated_split"] == "validation"
    assert report["results"]["model"].keys() == {"validation"}
    assert any("no test split" in note and "optimistic" in note for note in report["notes"])


def test_without_a_validation_split_the_threshold_is_one_half(feature_folders, tmp_path):
    features = without(load_features(feature_folders[MULTI_LABEL]), "validation")
    report = evaluate_model(tiny_trainer(features, tmp_path, eval_strategy="no"), features, tmp_path)
    assert report["results"]["model"]["test"]["threshold"] == 0.5
    assert any("no validation split" in note for note in report["notes"])
    neither = without(features, "test")
    with pytest.raises(InputError, match="nothing to evaluate on"):
        evaluate_model(tiny_trainer(neither, tmp_path, eval_strategy="no"), neither, tmp_path)


def test_a_model_that_does_not_beat_the_baselines_is_noted(feature_folders, tmp_path):
    features = load_features(feature_folders[SINGLE_LABEL])
    report = evaluate_model(tiny_trainer(features, tmp_path), features, tmp_path)  # an untrained model
    assert any("no better than the linear baseline" in note for note in report["notes"])


def test_numbers_that_json_does_not_have_become_null():
    assert evaluation._finite({"a": [1.5, float("nan")], "b": (float("inf"), "x", None, True)}) == {
        "a": [1.5, None],
        "b": [None, "x", None, True],
    }


TWO_PROCESSES = """
import json, sys
from training_run import *
from hf_audio.analysis.evaluation import evaluate_model
from hf_audio.training import AudioTrainer, Classification, training_arguments
features = load_features(sys.argv[1])
arguments = training_arguments(sys.argv[2], report_to="none", use_cpu=True, ddp_backend="gloo")
trainer = AudioTrainer(tiny_model(features), arguments, Classification(features))
report = evaluate_model(trainer, features, sys.argv[2])
assert bool(report) == trainer.is_world_process_zero()
trainer.accelerator.end_training()
"""


def test_two_processes_give_the_report_of_one(feature_folders, tmp_path, forks):
    features = load_features(feature_folders[MULTI_LABEL])
    alone = evaluate_model(tiny_trainer(features, tmp_path / "one"), features, tmp_path / "one")
    ranks = forks.ranks(2, TWO_PROCESSES, feature_folders[MULTI_LABEL], tmp_path / "two")
    output = "".join(rank.output for rank in ranks)
    assert output.count("this model") == 1, "not exactly one process printed the summary"
    together = json.loads((tmp_path / "two" / "report.json").read_text())
    assert together["training"]["num_processes"] == 2
    for row in ("model", "linear", "prior"):
        for split in ("validation", "test"):
            for name, value in alone["results"][row][split].items():
                if isinstance(value, float):
                    assert together["results"][row][split][name] == pytest.approx(value, abs=1e-5), (row, split, name)
