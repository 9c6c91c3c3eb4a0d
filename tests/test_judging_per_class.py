"""Curves and confusion per class: equal to scikit-learn's, with few points, and without unknown labels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from hf_audio.analysis.plots import confusion_shares
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.judging.per_class import MAX_POINTS, confused_pairs, confusion, curves

SINGLE, MULTI = (LabelSpace(("a", "b", "c"), task) for task in (SINGLE_LABEL, MULTI_LABEL))


def scores_and_targets(num_clips: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = (random.random((num_clips, 3)) < (0.5, 0.2, 0.02)).astype(np.float32)
    return 1 / (1 + np.exp(-random.normal(size=targets.shape) * 2 - 3 * targets + 1)), targets


def test_thinned_curves_are_those_of_scikit_learn():
    probabilities, targets = scores_and_targets(20_000)
    found = curves(probabilities, targets, MULTI)
    for index, name in enumerate("abc"):
        one = {key: np.array(points) for key, points in found["classes"][name].items()}
        assert all(len(points) <= MAX_POINTS for points in one.values())
        area = metrics.auc(*one["roc"].T)
        assert area == pytest.approx(metrics.roc_auc_score(targets[:, index], probabilities[:, index]), abs=2e-3)
        threshold, f1 = one["f1"][one["f1"][:, 1].argmax()]
        assert f1 == pytest.approx(metrics.f1_score(targets[:, index], probabilities[:, index] >= threshold), abs=2e-3)
        precision, recall, _ = metrics.precision_recall_curve(targets[:, index], probabilities[:, index])
        exact = set(zip(recall.round(5), precision.round(5), strict=True))
        assert {tuple(point) for point in one["precision_recall"]} <= exact
    assert np.array(found["micro"]["roc"])[[0, -1]].tolist() == [[0, 0], [1, 1]]


def test_curves_count_known_labels_and_a_class_without_positives_has_none():
    probabilities, targets = scores_and_targets(300)
    targets[:, 2] = 0
    partial = targets.copy()
    partial[200:, 0] = np.nan
    found = curves(probabilities, partial, MULTI)
    assert found["classes"]["c"] is None
    assert found["classes"]["a"] == curves(probabilities[:200], targets[:200], MULTI)["classes"]["a"]
    assert found["classes"]["b"] == curves(probabilities, targets, MULTI)["classes"]["b"]


def test_one_label_per_clip_gives_the_confusion_matrix_and_its_largest_mistakes():
    true = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2])
    said = np.array([0, 1, 1, 2, 1, 0, 2, 1, 1])
    probabilities = np.full((9, 3), 0.1)
    probabilities[np.arange(9), said] = (0.5, 0.6, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.7)
    decisions, targets = np.eye(3, dtype=np.int8)[said], np.eye(3, dtype=np.float32)[true]
    found = confusion(decisions, targets, SINGLE)
    assert found["counts"] == metrics.confusion_matrix(true, said).tolist()
    pairs = confused_pairs(probabilities, decisions, targets, SINGLE, [f"clip {n}" for n in range(9)], max_clips=1)
    assert [(one["true"], one["decided"], one["num"]) for one in pairs] == [
        *(("a", "b", 2), ("c", "b", 2), ("a", "c", 1), ("b", "a", 1))
    ]
    assert pairs[0]["clip_ids"] == ["clip 2"] and pairs[0]["share"] == 0.5


def test_several_labels_are_confused_where_one_is_decided_instead_of_another():
    targets = np.array([[1, 0, 0], [1, 0, 1], [1, np.nan, 0], [1, 0, 0]], dtype=np.float32)
    decisions = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0], [0, 0, 0]], dtype=np.int8)
    found = confusion(decisions, targets, MULTI)
    shares = np.array(found["counts"]) / np.maximum(found["clips"], 1)
    assert np.allclose(shares, np.nan_to_num(confusion_shares(targets, decisions)))
    pairs = confused_pairs(np.zeros((4, 3)), decisions, targets, MULTI, list("wxyz"))
    # in x nothing was missed, in y b is unknown, in z nothing was decided instead
    assert pairs == [{"true": "a", "decided": "b", "num": 1, "share": 0.25, "clip_ids": ["w"]}]
