"""`hf-audio evaluate`: reports on features, recordings and stored scores, and refused flags."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from evaluated_corpus import CLASSES, build_corpus_features, save_evaluated, write_corpus

from hf_audio.commands import evaluate
from hf_audio.commands._evaluation_flags import AGGREGATIONS, PROTOCOLS, SCALINGS, evaluation_parser
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.judging import aggregation, ensembles, evaluation_run, model_answers, page, protocols, scaling, scoring
from hf_audio.judging.stored_judgments import read_judged
from hf_audio.models.saving import save_model
from hf_audio.models.usage import write_usage
from hf_audio.predictor import Predictor

FEW = ["--num_draws", "80"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("evaluated") / "corpus")


@pytest.fixture(scope="module")
def features(corpus) -> Path:
    return build_corpus_features(corpus, corpus.parent / "features")


@pytest.fixture(scope="module")
def model(features) -> Path:
    return save_evaluated(features.parent / "cnn", features)


@pytest.fixture
def pages(monkeypatch) -> list:
    """Collects the inputs of pages instead of writing them: their plots take seconds and have tests of their own."""
    asked: list = []

    def keep(folder, report, recordings, *, embed_sounds):
        asked.append((report, recordings))
        return folder / "index.html"

    monkeypatch.setattr(page, "write_page", keep)
    return asked


def evaluated(*flags: object) -> dict:
    """The report of a command. The last argument is its output folder."""
    evaluate.main([*map(str, flags[:-1]), *FEW, "--output_dir", str(flags[-1])])
    return json.loads((Path(flags[-1]) / "report.json").read_text())


def test_two_models_and_their_mean_are_evaluated_and_again_from_stored_scores(features, model, tmp_path, capsys, pages):
    other = save_evaluated(tmp_path / "one", features, SINGLE_LABEL)
    flags = ("--model", model, other, "--dataset", features, "--ensemble", "mean")
    found = evaluated(*flags, tmp_path / "out")
    assert list(found["models"]) == ["cnn", "one", "mean of cnn and one"] and found["comparison"]
    assert found["models"]["mean of cnn and one"]["weights"] == {"cnn": 0.5, "one": 0.5}
    assert found["data"]["name"] == "Sounds" and found["data"]["split"] == "test" and found["data"]["num_clips"] == 12
    asked = found["models"]["cnn"]["asked"]
    assert asked["classes"] == {name: [name] for name in CLASSES} and asked["window_s"] == 0.5
    assert "device" in found["models"]["cnn"]["unsliced"] or found["models"]["cnn"]["slices"]
    said = capsys.readouterr().out
    assert "12 clips of test, 95% intervals by group" in said and "cnn scores each class separately" in said
    assert pages == [(found, {})] and str(tmp_path) not in json.dumps(found), "the report has a path of this machine"
    again = evaluated("--scores", tmp_path / "out" / "cnn", tmp_path / "out" / "one", tmp_path / "again")
    for name in ("cnn", "one"):
        assert again["models"][name]["metrics"] == found["models"][name]["metrics"]
        assert again["models"][name]["slices"] == found["models"][name]["slices"]
    assert not (tmp_path / "again" / "cnn").exists(), "scores that were read are not copied"
    with pytest.raises(InputError, match="out already contains a report: remove it, or give another --output_dir"):
        evaluate.main([*map(str, flags), "--output_dir", str(tmp_path / "out")])


def test_scores_are_kept_if_the_report_fails(features, model, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise InputError("No confidence threshold keeps the risk")

    monkeypatch.setattr(evaluation_run, "judged_report", refuse)
    with pytest.raises(InputError, match="No confidence"):
        evaluated("--model", model, "--dataset", features, tmp_path / "out")
    scored, split = read_judged(tmp_path / "out" / "cnn")
    assert split == "test" and len(scored.judged.of_split("test")) == 12


def test_recordings_with_unknown_sounds_degradations_and_cards(corpus, features, tmp_path, pages):
    model = save_evaluated(tmp_path / "cnn", features, SINGLE_LABEL)
    rain = tmp_path / "rain" / "rain"
    (tmp_path / "rain" / "bell").mkdir(parents=True)
    rain.mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).normal(size=8_000) / 10
        soundfile.write(rain / f"{number}.wav", noise, 16_000)
        soundfile.write(rain.parent / "bell" / f"{number}.wav", noise, 16_000)
    (tmp_path / "map.yaml").write_text("bell: bell\nhum: bell\n")
    found = evaluated(
        *("--model", model, "--dataset", corpus, "--label_map", tmp_path / "map.yaml", "--metric", "f1_macro"),
        *("--unknown", rain.parent, "--robustness", "white_noise=10", "--robustness_clips", 12, "--write_card"),
        *("--window_s", 0.3, "--aggregation", "attention", "--confidence", 0.9),
        tmp_path / "out",
    )
    facts = found["models"]["cnn"]
    assert found["metric"] == "f1_macro" and found["data"]["name"] == "corpus"
    assert facts["out_of_class"] and any("4 clips of rain are left out" in one for one in found["notes"])
    worse = facts["robustness"]
    assert [one["degradation"] for one in worse["conditions"]] == ["white_noise"] and worse["confidence"] == 0.9
    for name, clean in worse["clean"]["metrics"].items():
        assert clean == pytest.approx(facts["metrics"][name], abs=1e-6), "same windows, weights and draws"
    ((_, recordings),) = pages
    assert len(recordings) == 12 and str(recordings["bell-6.wav"].path) == str(corpus / "bell-6.wav")
    card = (model / "README.md").read_text()
    assert "model-index" in card and "corpus" in card and "'bell' and 'hum' to 'bell'" in card


def test_a_calibrated_model_is_saved(features, tmp_path, capsys, pages):
    """The model has exactly the classes of the data."""
    three = save_evaluated(tmp_path / "cnn", features, SINGLE_LABEL, names=CLASSES)
    teach(three, features)
    flags = ("--calibrate", "temperature", "--calibrated_model", tmp_path / "saved")
    found = evaluated("--model", three, "--dataset", features, *flags, tmp_path / "out")
    saved = found["models"]["cnn"]["saved_calibration"]
    assert saved["scaling"]["kind"] == "temperature" and saved["after"]["log_loss"] < saved["before"]["log_loss"]
    assert (
        f"Calibrated model: {tmp_path / 'saved'} (expected calibration error on validation" in capsys.readouterr().out
    )
    scored = [
        Predictor.load(str(one)).scores(load_features(features), "test").logits for one in (three, tmp_path / "saved")
    ]
    np.testing.assert_allclose(scored[1], scored[0] / saved["scaling"]["temperature"], rtol=1e-4, atol=1e-4)


def teach(folder: Path, features: Path) -> None:
    """Fits the head on validation by least squares, with a wrong label for one clip, so that it makes errors."""
    predictor, data = Predictor.load(str(folder), device="cpu"), load_features(features)
    windows = predictor.window_scores(data, "validation")
    wanted = windows.targets.copy()
    is_first = windows.clip_ids == windows.clip_ids[0]
    wanted[is_first] = np.roll(wanted[is_first], 1, axis=1)
    embeddings = predictor.embeddings(data, "validation").values
    found = np.linalg.lstsq(np.pad(embeddings, [(0, 0), (0, 1)], constant_values=1), 8 * wanted - 4, rcond=None)[0]
    layer = predictor.model.classifier.layers[-1]
    layer.weight.data.copy_(torch.tensor(found[:-1].T))
    layer.bias.data.copy_(torch.tensor(found[-1]))
    save_model(predictor.model, folder)
    write_usage(folder, predictor.usage)


def test_values_of_flags_are_the_names_of_the_functions():
    assert tuple(aggregation.AGGREGATIONS) == AGGREGATIONS
    assert tuple(protocols.PROTOCOLS) == PROTOCOLS
    assert tuple(scaling.SCALINGS) == SCALINGS
    actions = {action.dest: action for action in evaluation_parser(None)._actions}
    assert tuple(actions["thresholds"].choices) == tuple(model_answers.THRESHOLDS)
    assert tuple(actions["ensemble"].choices) == tuple(ensembles.WEIGHTS)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "Give a model to evaluate: --model RUN_FOLDER or USER/NAME, or stored --scores"),
        (["--model", "m"], "Give the data to evaluate on: --dataset FEATURES"),
        (["--model", "m", "--dataset", "x", "--data_dir", "y"], "Give the data to evaluate on"),
        (["--model", "m", "n", "--revision", "v1"], "--revision applies to a single model, and 2 were given"),
        (["--model", "m", "--ensemble", "mean"], "--ensemble needs two or more models"),
        (["--scores", "s", "--dataset", "d"], "--dataset would have no effect here: stored scores are evaluated"),
        (["--scores", "s", "--window_s", "1"], "--window_s would have no effect here"),
        (["--model", "m", "--unknown_corpus", "esc50"], "--unknown_corpus describes the recordings of --unknown"),
        (["--model", "m", "--calibrate", "vector"], "--calibrate KIND and --calibrated_model FOLDER need each other"),
        (["--scores", "s", "--embed_sounds"], "--embed_sounds would have no effect here"),
        (["--model", "m", "--batch_size", "0"], "Found --batch_size 0, expected 1 or more"),
        (["--model", "m", "--robustness", "--robustness_clips", "0"], "Found --robustness_clips 0, expected 1 or more"),
        (
            ["--model", "m", "--write_card", "--allow_training_data"],
            "--write_card would publish scores on the training",
        ),
        (["--model", "m", "--write_card", "--revision", "v1"], "changes the card of the newest version, but v1 was"),
        (["--model", "m", "--robustness_clips", "9"], "--robustness_clips would have no effect here: add --robustness"),
        (
            ["--model", "m", "--protocol", "irmas", "--aggregation", "max"],
            "determines aggregation and metric: remove --agg",
        ),
    ],
)
def test_unsuitable_flags_are_refused(flags, sentence):
    with pytest.raises(InputError, match=sentence):
        evaluate.main(flags)


def test_impossible_requests_are_refused_before_a_model_runs(corpus, features, model, tmp_path, monkeypatch):
    other = save_evaluated(tmp_path / "other", features, SINGLE_LABEL, names=("dog", "cat"))
    monkeypatch.setattr(Predictor, "window_logits", None)
    monkeypatch.setattr(scoring, "heard_clips", None)
    flags = ["--model", str(model), "--dataset", str(features), "--output_dir", str(tmp_path / "out")]
    for more, sentence in (
        (["--robustness"], "--robustness would have no effect here: it is for recordings, and .* contains features"),
        (["--label_column_name", "x"], "--label_column_name would have no effect here"),
        (["--protocol", "irmas"], "This is not --protocol irmas, .* is read as 'Sounds', not as 'IRMAS'"),
        (["--split", "dev"], "Unknown split 'dev'"),
        (["--num_draws", "9"], "Found 9 draws; a confidence of 0.95 needs at least 80"),
        (["--metric", "acuracy"], "Unknown metric 'acuracy': did you mean 'accuracy'"),
        (
            ["--split", "validation", "--risk", "0.1"],
            "--risk is fitted on a validation split other than the evaluated one",
        ),
        (["--risk", "2"], "a risk from 0 to 1, or a coverage above 0 up to 1; found risk 2.0 and coverage None"),
        (["--risk", "0.1", "--coverage", "0.5"], "found risk 0.1 and coverage 0.5: give one of the two"),
        (["--thresholds", "per_class"], "--thresholds per_class would have no effect here: each clip has one class"),
        (["--thresholds", "model"], "--thresholds model would have no effect here"),
        (["--aggregation", "sum_normalized"], "sum_normalized is for multi-label data"),
        (
            ["--output_dir", str(corpus / "table.csv" / "out")],
            r"out cannot be written, because .*table.csv is not a writable folder",
        ),
        (["--seed", "-1"], "Found --seed -1, expected 0 or more"),
        (["--calibrate", "temperature", "--calibrated_model", str(tmp_path / "new")], "cnn has 4 classes"),
        (["--model", str(model), str(other)], "other .* and .* share no class by name"),
        (["--metric", "WER"], "expected one of: accuracy, f1_macro, f1_micro"),
        (["--dataset", str(corpus), "--robustness", "gain="], "Found gain=, expected numbers, such as gain=20,10"),
        (["--dataset", str(corpus), "--robustness", "white_noize"], "Unknown degradation 'white_noize': did you mean"),
    ):
        with pytest.raises(InputError, match=sentence):
            evaluate.main([*flags, *more])
    assert not (tmp_path / "out").exists()
