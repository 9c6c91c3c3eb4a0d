"""Calibration errors and scaling, compared with plain loops, scikit-learn and planted temperatures."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit, log_softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.calibration import calibration_facts
from hf_audio.judging.scaling import MIN_RISE, SCALINGS, fit_scaling

TASKS = (SINGLE_LABEL, MULTI_LABEL)
KINDS = [(kind, task) for kind in SCALINGS for task in TASKS]


def space(task: str, size: int = 4) -> LabelSpace:
    return LabelSpace(tuple("abcdefgh"[:size]), task)


def drawn(task: str, num_clips: int = 4000, seed: int = 0, size: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and targets drawn with their probabilities."""
    random = np.random.default_rng(seed)
    logits = random.normal(-0.5, 1.5, (num_clips, size))
    labels = space(task, size)
    probabilities = labels.probabilities(logits)
    if labels.is_multi_label:
        return logits, (random.random(probabilities.shape) < probabilities).astype(np.float32)
    chosen = (random.random(num_clips)[:, None] < probabilities.cumsum(axis=1)).argmax(axis=1)
    return logits, np.eye(size, dtype=np.float32)[chosen]


def plain_ece(confidence: list[float], right: list[float], edges: list[float]) -> float:
    found = 0.0
    for low, high in pairwise(edges):
        inside = [k for k, one in enumerate(confidence) if low < one <= high or (low == edges[0] and one == low)]
        if inside:
            gap = np.mean([confidence[k] for k in inside]) - np.mean([right[k] for k in inside])
            found += len(inside) / len(confidence) * abs(gap)
    return found


@pytest.mark.parametrize("task", TASKS)
def test_calibration_errors_equal_a_plain_loop_and_scikit_learn(task):
    labels = space(task)
    logits, targets = drawn(task, 300)
    probabilities = labels.probabilities(3 * logits)
    facts = calibration_facts(probabilities, targets, labels, num_bins=10)
    if labels.is_multi_label:
        confidence, right = probabilities.ravel(), targets.ravel()
        assert facts["brier"] == pytest.approx(brier_score_loss(right, confidence))
        assert facts["log_loss"] == pytest.approx(log_loss(right, confidence))
    else:
        confidence = probabilities.max(axis=1)
        right = targets[np.arange(300), probabilities.argmax(axis=1)]
        of_classes = [brier_score_loss(targets[:, index], probabilities[:, index]) for index in range(4)]
        assert facts["brier"] == pytest.approx(sum(of_classes))
        assert facts["log_loss"] == pytest.approx(log_loss(targets, probabilities))
    assert facts["ece"] == pytest.approx(plain_ece(confidence, right, [k / 10 for k in range(11)]))
    ordered = np.sort(confidence)
    edges = [ordered[0], *(part[-1] for part in np.array_split(ordered, 10))]
    assert facts["adaptive_ece"] == pytest.approx(plain_ece(confidence, right, edges))
    assert facts["overconfidence"] == pytest.approx(confidence.mean() - right.mean())
    assert facts["num"] == len(confidence) == sum(one["num"] for one in facts["bins"])
    for index, name in enumerate(labels.names):
        assert facts["per_class"][name]["brier"] == pytest.approx(
            brier_score_loss(targets[:, index], probabilities[:, index])
        )


@pytest.mark.parametrize("task", TASKS)
def test_unknown_labels_do_not_count(task):
    labels = space(task)
    logits, targets = drawn(task, 50)
    probabilities = labels.probabilities(logits)
    more = np.full((3, 4), np.nan, dtype=np.float32)
    facts = calibration_facts(probabilities, targets, labels)
    with_more = calibration_facts(np.concatenate([probabilities, probabilities[:3]]), [*targets, *more], labels)
    assert with_more == facts
    nothing = calibration_facts(probabilities[:3], more, labels)
    assert nothing["num"] == 0 and nothing["bins"] == []
    assert {nothing[name] for name in ("ece", "adaptive_ece", "brier", "log_loss", "overconfidence")} == {None}
    targets[:, 1] = np.nan if labels.is_multi_label else 0
    assert calibration_facts(probabilities, targets, labels)["per_class"]["b"] == {"ece": None, "brier": None}
    for kind in SCALINGS:
        one, two = (fit_scaling(kind, *both, labels) for both in ((logits, targets), with_unknown(logits, targets)))
        np.testing.assert_allclose(two.logits(logits), one.logits(logits), atol=1e-6)


def with_unknown(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([logits, 99 * logits[:2]]), np.concatenate([targets, np.full_like(targets[:2], np.nan)])


def test_equal_confidences_share_a_bin_in_any_order():
    labels = space(MULTI_LABEL, 1)
    probabilities = np.array([[0.5]] * 6 + [[0.9]] * 2)
    targets = np.array([[1]] * 3 + [[0]] * 3 + [[1], [0]])
    turned = calibration_facts(probabilities[::-1], targets[::-1], labels, num_bins=4)
    assert calibration_facts(probabilities, targets, labels, num_bins=4)["adaptive_ece"] == turned["adaptive_ece"]
    assert turned["adaptive_ece"] == pytest.approx(2 / 8 * 0.4)


@pytest.mark.parametrize("task", TASKS)
def test_a_planted_temperature_is_found(task):
    logits, targets = drawn(task)
    found = fit_scaling("temperature", 2.5 * logits, targets, space(task))
    assert found.temperature == pytest.approx(2.5, rel=0.05)
    np.testing.assert_allclose(found.logits(2.5 * logits), 2.5 * logits / found.temperature)
    again = fit_scaling("temperature", found.logits(2.5 * logits), targets, space(task))
    assert again.temperature == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_planted_slopes_and_biases_are_found(task):
    slopes, biases = np.array([2.0, 0.5, 1.0, 3.0]), np.array([1.0, -1.0, 0.0, 0.5])
    logits, targets = drawn(task, 20_000)
    found = fit_scaling("vector", logits * slopes + biases, targets, space(task))
    np.testing.assert_allclose(found.slopes, 1 / slopes, rtol=0.12)
    missing = found.logits(logits * slopes + biases) - logits
    if task == SINGLE_LABEL:
        missing -= missing.mean(axis=1, keepdims=True)  # softmax ignores a constant added to all classes
    assert np.abs(missing).mean() < 0.08


@pytest.mark.parametrize(("kind", "task"), KINDS)
def test_scaled_probabilities_of_other_clips_are_calibrated(kind, task):
    labels = space(task)
    logits, targets = drawn(task)
    others, their_targets = drawn(task, seed=1)
    found = fit_scaling(kind, 3 * logits, targets, labels)
    before = calibration_facts(labels.probabilities(3 * others), their_targets, labels)
    after = calibration_facts(found.probabilities(3 * others), their_targets, labels)
    assert after["ece"] < 0.03 < 0.1 < before["ece"]
    assert after["log_loss"] < before["log_loss"] and after["brier"] < before["brier"]
    assert found.facts()["kind"] == kind and found.num_clips == len(logits)


@pytest.mark.parametrize("task", TASKS)
def test_isotonic_scaling_equals_scikit_learn(task):
    labels = space(task)
    logits, targets = drawn(task, 800)
    found = fit_scaling("isotonic", logits, targets, labels)
    scaled = logits * found.slopes
    if labels.is_multi_label:
        columns = [IsotonicRegression().fit(one, y).predict(one) for one, y in zip(scaled.T, targets.T, strict=True)]
        wanted, rise = np.clip(np.stack(columns, axis=1), 0.5 / 800, 1 - 0.5 / 800), MIN_RISE * scaled
        shares = expit(found.logits(logits) - rise)
    else:
        scores = log_softmax(scaled, axis=1)
        pooled = IsotonicRegression().fit(scores.ravel(), targets.ravel()).predict(scores.ravel())
        wanted = np.clip(pooled.reshape(scores.shape), 0.5 / 3200, 1 - 0.5 / 3200)
        shares = np.exp(found.logits(logits) - MIN_RISE * scores)
    np.testing.assert_allclose(shares, wanted, atol=1e-9)


@pytest.mark.parametrize(("kind", "task"), KINDS)
def test_scaling_keeps_order_and_decisions(kind, task):
    labels = space(task)
    logits, targets = drawn(task, 500)
    found = fit_scaling(kind, logits, targets, labels)
    new = found.logits(logits)
    if task == SINGLE_LABEL:
        if kind != "vector":  # biases may change decisions
            np.testing.assert_array_equal(new.argmax(axis=1), logits.argmax(axis=1))
        return
    np.testing.assert_array_equal(np.argsort(new, axis=0, kind="stable"), np.argsort(logits, axis=0, kind="stable"))
    thresholds = np.array([0.3, 0.5, 0.7, 0.2])
    moved = found.thresholds(thresholds)
    np.testing.assert_array_equal(found.probabilities(logits) >= moved, labels.probabilities(logits) >= thresholds)
    if kind == "temperature":
        one = found.thresholds(0.25)
        assert (one == one[0]).all() and one[0] == pytest.approx(expit(np.log(1 / 3) / found.temperature))
    assert found.thresholds(np.array([0, 1, 0, 1])).tolist() == [0, 1, 0, 1]


def test_classes_without_both_outcomes_get_only_the_temperature():
    labels = space(MULTI_LABEL)
    logits, targets = drawn(MULTI_LABEL, 400)
    targets[:, 1], targets[:, 3] = 0, np.nan
    temperature = fit_scaling("temperature", logits, targets, labels)
    for kind in ("vector", "isotonic"):
        found = fit_scaling(kind, logits, targets, labels)
        assert found.as_temperature == ("b", "d") and found.facts()["as_temperature"] == ["b", "d"]
        np.testing.assert_allclose(found.logits(logits)[:, [1, 3]], temperature.logits(logits)[:, [1, 3]])
        assert np.isfinite(found.logits(logits)).all()


def test_perfectly_separated_classes_get_finite_scaling():
    labels = space(MULTI_LABEL)
    logits, targets = drawn(MULTI_LABEL, 60)
    targets[:, 2] = logits[:, 2] > 0.2
    vector = fit_scaling("vector", logits, targets, labels)
    assert 1 < vector.slopes[2] < 10 and abs(vector.biases[2]) < 3
    shares = fit_scaling("isotonic", logits, targets, labels).probabilities(logits)[:, 2]
    assert shares.min() > 0.005 and shares.max() < 0.995


def test_impossible_scaling_is_refused():
    labels = space(SINGLE_LABEL)
    logits, targets = drawn(SINGLE_LABEL, 40)
    with pytest.raises(InputError, match="Unknown scaling 'temprature': did you mean 'temperature'"):
        fit_scaling("temprature", logits, targets, labels)
    with pytest.raises(InputError, match=r"No temperature .* 40 validation clips .* correctly"):
        fit_scaling("temperature", 10 * targets + 0.1 * logits, targets, labels)
    with pytest.raises(InputError, match="no better than by chance"):
        fit_scaling("vector", -logits, targets, labels)
    with pytest.raises(InputError, match="all validation clips have the same score for all classes"):
        fit_scaling("temperature", 0 * logits + 3, targets, labels)
    with pytest.raises(InputError, match="No validation clip has a known label"):
        fit_scaling("isotonic", logits, np.full_like(targets, np.nan), labels)
    with pytest.raises(InputError, match=r"logits of shape \(40, 3\) and targets of shape \(40, 4\)"):
        fit_scaling("vector", logits[:, :3], targets, labels)
    with pytest.raises(InputError, match="Found values below 0 or above 1"):
        calibration_facts(logits, targets, labels)
    with pytest.raises(InputError, match=r"shape \(40, 4\) and targets of shape \(39, 4\)"):
        calibration_facts(labels.probabilities(logits), targets[1:], labels)
