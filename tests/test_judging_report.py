"""Reports: numbers equal those of the metrics, thresholds come from validation, and bad input is refused."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from judged_models import judged_model

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL
from hf_audio.errors import InputError
from hf_audio.judging.aggregation import clip_probabilities, fitted_settings
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.report import judge
from hf_audio.metrics import choose_threshold, classification_metrics


def report_of(*models: JudgedClips, **asked) -> dict:
    return judge(models, split="test", data={"name": "Songs"}, num_draws=80, **asked)


@pytest.mark.parametrize(("task", "unknown_share"), [(SINGLE_LABEL, 0.0), (MULTI_LABEL, 0.0), (MULTI_LABEL, 0.3)])
def test_a_report_has_the_numbers_of_the_metrics(task, unknown_share):
    model = judged_model(task=task, unknown_share=unknown_share)
    report = report_of(model)
    test, validation = model.of_split("test"), model.of_split("validation")
    threshold = 0.5
    if task == MULTI_LABEL:
        threshold = choose_threshold(clip_probabilities(validation), validation.targets)
        assert set(report["models"]["model"]["thresholds"].values()) == {threshold}
    wanted = classification_metrics(clip_probabilities(test), test.targets, model.labels, threshold)
    found = report["models"]["model"]
    for name, interval in found["metrics"].items():
        assert interval["value"] == pytest.approx(wanted[name], abs=1e-9), name
        assert interval["low"] <= interval["value"] <= interval["high"], name
    for name, facts in found["per_class"].items():
        assert facts["support"] == wanted["per_class"][name]["support"]
        assert facts["f1"]["value"] == pytest.approx(wanted["per_class"][name]["f1"], abs=1e-9)
    assert report["data"]["num_clips"] == len(test) and report["data"]["drawn_by"] == "group"
    assert report["data"]["support"] == {name: facts["support"] for name, facts in found["per_class"].items()}
    assert (f"{np.isnan(test.targets).mean():.1%}" in " ".join(report["notes"])) == bool(unknown_share)
    json.dumps(report, allow_nan=False)


def test_thresholds_come_from_validation_or_the_model_and_the_report_says_which():
    model = judged_model()
    alone = model.of_split("test")
    own = report_of(alone, own_thresholds={"model": 0.3})["models"]["model"]
    assert set(own["thresholds"].values()) == {0.3} and own["thresholds_from"] == "the model's own threshold"
    assert "no validation" in own["scaled"]["reason"] and own["answered"] is None
    nobody = report_of(alone)
    assert "is 0.5, since there is no validation split" in " ".join(nobody["notes"])
    assert len(set(report_of(model, thresholds="per_class")["models"]["model"]["thresholds"].values())) > 1
    with pytest.raises(InputError, match="need a validation split, which these data lack"):
        report_of(alone, thresholds="per_class")
    with pytest.raises(InputError, match="chosen on a validation split, which these data lack"):
        report_of(alone, risk=0.1)


def test_a_model_abstains_below_a_confidence_chosen_on_validation():
    found = report_of(judged_model(num_clips=300, skill=1.0, task=SINGLE_LABEL), coverage=0.5)["models"]["model"]
    answered = found["answered"]
    assert answered["asked_coverage"] == 0.5 and 0.3 < answered["coverage"] < 0.7
    assert answered["risk"] < answered["risk_of_all"]
    assert found["scaled"]["calibration"]["num"] == found["calibration"]["num"] == 200


def test_calibration_is_not_reported_of_scores_that_are_no_probabilities():
    found = report_of(judged_model(), aggregation="sum_normalized")["models"]["model"]
    assert found["calibration"] is None and "sum_normalized" in found["scaled"]["reason"]


def test_settings_of_an_aggregation_are_fitted_on_validation():
    model = judged_model(windows_each=4)
    told = report_of(model, aggregation="attention")["models"]["model"]["aggregation_told"]
    assert told == fitted_settings("attention", model.of_split("validation")) and told["sharpness"] >= 0
    assert report_of(model.of_split("test"), aggregation="attention")["models"]["model"]["aggregation_told"] == {}


def test_the_confidence_level_applies_to_all_intervals():
    narrow, wide = (report_of(judged_model(), confidence=one)["models"]["model"] for one in (0.8, 0.95))
    for find in (
        lambda facts: facts["metrics"]["f1_micro"],
        lambda facts: facts["slices"][0]["metrics"]["f1_micro"],
        lambda facts: facts["durations"][0]["metrics"]["f1_micro"],
    ):
        assert find(narrow)["low"] > find(wide)["low"] and find(narrow)["high"] <= find(wide)["high"]


def test_several_models_are_compared_and_the_better_one_is_named():
    report = report_of(judged_model("good", 240), judged_model("bad", 240, skill=0.2))
    assert report["comparison"]["pairs"][0]["better"] == "good"
    worst = report["models"]["good"]["slices"][0]
    assert (worst["column"], worst["value"]) == ("device", "phone") and worst["rest"] > 0.9
    assert report_of(judged_model())["comparison"] is None


def test_without_groups_clips_are_resampled_and_the_report_says_so():
    report = report_of(judged_model(clips_each_group=1))
    assert report["data"]["drawn_by"] == "clip" and "resampling clips" in report["notes"][0]
    assert report["models"]["model"]["worst_groups"] == []
    assert "There are only 4 groups" in " ".join(report_of(judged_model(clips_each_group=30))["notes"])
    single = report_of(judged_model(clips_each_group=200))
    assert "All clips are in one group" in " ".join(single["notes"])
    assert single["models"]["model"]["metrics"]["f1_micro"]["low"] is None


def test_a_class_without_clips_has_no_score_and_is_named():
    model = judged_model(classes=("cello", "flute", "kazoo"))
    targets = model.targets.copy()
    targets[:, 2] = 0
    report = report_of(dataclasses.replace(model, targets=targets))
    assert report["models"]["model"]["per_class"]["kazoo"]["f1"]["value"] is None
    assert "No clip is known to have kazoo" in " ".join(report["notes"])
    json.dumps(report, allow_nan=False)


def test_what_cannot_be_evaluated_is_one_sentence():
    model = judged_model()
    other = dataclasses.replace(judged_model("other"), clips=model.clips.slice(0))
    fewer = judged_model("fewer").take(np.arange(60))
    refused = {
        "There is no model to evaluate": (),
        "Two models have the same name": (model, model),
        "fewer and model were not scored on the same clips": (model, fewer),
        "There is only one class, 'cello'": (judged_model(classes=("cello",)),),
        "has a known label": (dataclasses.replace(model, targets=np.zeros_like(model.targets)),),
    }
    for said, models in refused.items():
        with pytest.raises(InputError, match=said):
            report_of(*models)
    with pytest.raises(InputError, match="There are no clips in split 'train'; found splits: test, validation"):
        judge([model], split="train")
    with pytest.raises(InputError, match="did you mean 'f1_micro'"):
        report_of(model, other, metric="f1_mikro")
    with pytest.raises(InputError, match="Unknown source of thresholds"):
        report_of(model, thresholds="test")
