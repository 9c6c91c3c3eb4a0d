"""Metrics against hand-computed cases and scikit-learn; averaging and thresholds against a plain loop."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import metadata_load
from sklearn import metrics as sklearn_metrics

import hf_audio.metrics
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.metrics import (
    average_per_clip,
    choose_threshold,
    classification_metrics,
    decide,
    load_metric,
    main_metrics,
    validation_metrics,
)

MODULES = ("decision_scores", "ranking_scores")
THREE = LabelSpace(("bell", "hiss", "hum"), MULTI_LABEL)


def random_case(seed: int, num_clips: int = 80, num_classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = (random.random((num_clips, num_classes)) < 0.3).astype(np.float32)
    scores = np.clip(0.4 * targets + 0.6 * random.random(targets.shape), 0, 1).round(2)  # rounding makes ties
    return scores, targets


def test_windows_are_averaged_per_clip_in_order_of_first_appearance():
    keys = np.array([7, -3, 7, 5, -3, 7])
    logits = np.array([[1.0, 0], [10, 1], [2, 0], [4, 4], [20, 2], [6, 3]])
    targets = np.array([[1.0, 0], [0, 1], [1, 0], [1, 1], [0, 1], [1, 0]])
    clips = average_per_clip(logits, targets, keys)
    assert clips.clip_keys.tolist() == [7, -3, 5]
    assert clips.logits.tolist() == [[3.0, 1.0], [15.0, 1.5], [4.0, 4.0]]
    assert clips.targets.tolist() == [[1, 0], [0, 1], [1, 1]]
    assert len(clips) == 3


def test_averaging_many_windows_equals_a_loop():
    random = np.random.default_rng(0)
    keys = random.integers(0, 2**62, 40)[random.integers(0, 40, 500)]
    logits, target_of = random.normal(size=(500, 3)), {key: random.integers(0, 2, 3) for key in keys}
    clips = average_per_clip(logits, np.array([target_of[key] for key in keys]), keys)
    assert clips.clip_keys.tolist() == list(dict.fromkeys(keys.tolist()))
    for key, mean, target in zip(clips.clip_keys, clips.logits, clips.targets, strict=True):
        np.testing.assert_allclose(mean, logits[keys == key].mean(axis=0), atol=1e-12)
        assert target.tolist() == target_of[key].tolist()


def test_averaging_refuses_inconsistent_input():
    with pytest.raises(InputError, match="different labels"):
        average_per_clip(np.zeros((2, 2)), np.eye(2), np.array([1, 1]))
    with pytest.raises(InputError, match="3 window logits, 2 targets and 3 clip keys"):
        average_per_clip(np.zeros((3, 2)), np.eye(2), np.arange(3))


def test_hand_computed_decisions():
    # bell: tp 1 fp 1 fn 1; hiss: tp 1 fp 0 fn 1; hum never occurs and is predicted once
    decided = [[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0]]
    true = [[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]]
    scores = load_metric("decision_scores").compute(predictions=decided, references=true)
    assert scores["accuracy"] == 2 / 4
    assert scores["f1_micro"] == pytest.approx(2 * 2 / (4 + 4))
    assert scores["f1_per_class"] == [pytest.approx(0.5), pytest.approx(2 / 3), None]
    assert scores["f1_macro"] == pytest.approx((0.5 + 2 / 3) / 2)
    assert scores["f1_samples"] == pytest.approx((1 + 0 + 1 + 2 / 3) / 4)
    assert scores["hamming_loss"] == pytest.approx(4 / 12)
    assert scores["precision_per_class"] == [0.5, 1.0, None]
    assert scores["recall_per_class"] == [0.5, 0.5, None]
    assert scores["support_per_class"] == [2, 2, 0]


@pytest.mark.parametrize("seed", range(3))
def test_multi_label_metrics_equal_scikit_learn(seed):
    scores, targets = random_case(seed)
    labels = LabelSpace(tuple("abcde"), MULTI_LABEL)
    found = classification_metrics(scores, targets, labels, threshold=0.5)
    true, decided = targets.astype(int), (scores >= 0.5).astype(int)
    for average in ("micro", "macro", "samples"):
        zero = 1.0 if average == "samples" else 0.0
        wanted = sklearn_metrics.f1_score(true, decided, average=average, zero_division=zero)
        assert found[f"f1_{average}"] == pytest.approx(wanted), average
    labeled = true.any(axis=1)
    wanted = sklearn_metrics.label_ranking_average_precision_score(true[labeled], scores[labeled])
    assert found["lrap"] == pytest.approx(wanted)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(true, decided))
    assert found["hamming_loss"] == pytest.approx(sklearn_metrics.hamming_loss(true, decided))
    assert found["roc_auc_macro"] == pytest.approx(sklearn_metrics.roc_auc_score(true, scores, average="macro"))
    wanted = sklearn_metrics.average_precision_score(true, scores, average="macro")
    assert found["mean_average_precision"] == pytest.approx(wanted)
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(true, decided, zero_division=0)
    for index, name in enumerate("abcde"):
        one = found["per_class"][name]
        values = [one[key] for key in ("precision", "recall", "f1", "support")]
        assert values == pytest.approx([precision[index], recall[index], f1[index], support[index]])


def test_single_label_metrics_decide_by_the_largest_score():
    labels = LabelSpace(("bell", "hiss", "hum"), SINGLE_LABEL)
    scores = np.array([[0.4, 0.3, 0.3], [0.2, 0.5, 0.3], [0.1, 0.5, 0.4], [0.2, 0.2, 0.6]])
    found = classification_metrics(scores, np.eye(3)[[0, 1, 2, 2]], labels)
    assert found["accuracy"] == found["f1_micro"] == 0.75
    assert found["f1_macro"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert found["lrap"] == pytest.approx((1 + 1 + 1 / 2 + 1) / 4)  # with one label: mean reciprocal rank
    assert "threshold" not in found
    assert decide(scores, labels).tolist() == np.eye(3)[[0, 1, 1, 2]].tolist()


@pytest.mark.filterwarnings("error")
def test_undefined_metrics_are_none_and_excluded_from_averages():
    scores = np.array([[0.9, 0.2, 0.1], [0.8, 0.7, 0.4], [0.7, 0.1, 0.2]])
    always_and_never = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0]])
    found = classification_metrics(scores, always_and_never, THREE)
    assert [found["per_class"][name]["roc_auc"] for name in THREE.names] == [None, 1.0, None]
    assert found["per_class"]["hum"] == dict.fromkeys(
        ("precision", "recall", "f1", "average_precision", "roc_auc"), None
    ) | {"support": 0}
    assert found["roc_auc_macro"] == found["f1_macro"] == found["mean_average_precision"] == 1.0
    nothing = classification_metrics(scores, np.zeros((3, 3)), THREE)
    assert (
        nothing["f1_macro"] is nothing["mean_average_precision"] is nothing["roc_auc_macro"] is nothing["lrap"] is None
    )
    for one in (found, nothing):
        json.dumps(one, allow_nan=False)


def test_a_single_class_can_be_detected():
    labels = LabelSpace(("alarm",), MULTI_LABEL)
    found = classification_metrics(np.array([[0.9], [0.2], [0.7]]), np.array([[1], [0], [0]]), labels)
    assert (found["accuracy"], found["f1_micro"], found["f1_macro"]) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert found["mean_average_precision"] == found["roc_auc_macro"] == 1.0


def test_a_class_that_is_never_predicted_scores_zero():
    found = classification_metrics(np.full((2, 3), 0.1), np.array([[1, 0, 0], [0, 1, 1]]), THREE)
    assert found["per_class"]["bell"]["f1"] == found["per_class"]["bell"]["precision"] == 0.0
    assert found["f1_macro"] == 0.0


def test_scores_that_are_not_finite_get_one_sentence():
    with pytest.raises(InputError, match="not finite"):
        classification_metrics(np.array([[np.nan, 0.1, 0.2]]), np.eye(3)[:1], THREE)
    with pytest.raises(InputError, match=r"\(0, 3\)"):
        classification_metrics(np.zeros((0, 3)), np.zeros((0, 3)), THREE)


def micro_f1(scores: np.ndarray, targets: np.ndarray, threshold: float) -> float:
    return sklearn_metrics.f1_score(targets, scores >= threshold, average="micro", zero_division=0)


@pytest.mark.parametrize("seed", range(6))
def test_no_other_threshold_has_a_better_f1(seed):
    scores, targets = random_case(seed, num_clips=30)
    threshold = choose_threshold(scores, targets)
    candidates = np.concatenate([np.unique(scores) - 1e-9, np.unique(scores) + 1e-9])
    assert micro_f1(scores, targets, threshold) == pytest.approx(max(micro_f1(scores, targets, c) for c in candidates))
    assert choose_threshold(scores[::-1], targets[::-1]) == threshold, "it must not depend on the order of clips"
    assert np.abs(scores - threshold).min() > 1e-6, "it must lie between scores, not on one"


def test_threshold_is_halfway_between_scores_and_nearest_to_one_half():
    assert choose_threshold(np.array([[0.9], [0.2]]), np.array([[1], [0]])) == pytest.approx(0.55)
    # Both clips are positive: every threshold up to 0.8 is perfect, and half of the minimum score is taken.
    assert choose_threshold(np.array([[0.9], [0.8]]), np.array([[1], [1]])) == pytest.approx(0.4)
    # Cutting after the first or the second score is equally good (F1 2/3): 0.5 is nearer to the second cut.
    scores, targets = np.array([[0.96, 0.9, 0.3, 0.2]]), np.array([[1, 0, 1, 0]])
    assert micro_f1(scores, targets, 0.25) > micro_f1(scores, targets, 0.93)
    assert choose_threshold(scores, targets) == pytest.approx(0.25)


def test_threshold_where_all_scores_are_equal():
    assert choose_threshold(np.full((4, 2), 0.3), np.zeros((4, 2))) == 0.5
    same = choose_threshold(np.full((4, 2), 0.3), np.array([[1, 0]] * 4))
    assert same <= 0.3, "equal scores cannot be separated, so all are positive"
    next_to_each_other = np.array([[np.nextafter(0.5, 1)], [0.5]])
    threshold = choose_threshold(next_to_each_other, np.array([[1], [0]]))
    assert ((next_to_each_other >= threshold) == [[True], [False]]).all()


def test_validation_metrics_can_be_logged():
    scores, targets = random_case(1)
    targets[:, 2] = 0
    found = validation_metrics(scores, targets, LabelSpace(tuple("abcde"), MULTI_LABEL))
    assert all(isinstance(value, float) and math.isfinite(value) for value in found.values())
    assert found["f1_micro"] == pytest.approx(micro_f1(scores, targets, found["threshold"]))
    assert set(main_metrics(MULTI_LABEL)) | set(main_metrics(SINGLE_LABEL)) <= found.keys() | {"accuracy"}


@pytest.mark.parametrize("name", MODULES)
def test_modules_load_without_the_hub_and_can_be_pushed(name, hub):
    folder = Path(hf_audio.metrics.__file__).parent / name
    load_metric.cache_clear()
    assert "Args" in load_metric(name).inputs_description
    assert not hub.log.matching(), "loading from a path must send no request to the Hub"
    card = metadata_load(folder / "README.md")
    assert {"evaluate", "metric"} <= set(card["tags"]) and card["sdk"]
    from evaluate.loading import get_imports

    for kind, library, _, _ in get_imports(str(folder / f"{name}.py")):
        assert kind == "library" and importlib.util.find_spec(library), library
    assert "hf_audio" not in (folder / f"{name}.py").read_text(), "a Space has no hf_audio"
    assert (folder / "__init__.py").exists(), "without it setuptools omits the folder from a wheel"
