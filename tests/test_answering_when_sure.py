"""Risk-coverage curves, thresholds to abstain, and telling known from unknown sounds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.out_of_class import in_class_scores, known_against_unknown
from hf_audio.judging.selective import answered_facts, choose_confidence, confidence_of, risk_coverage

ONE, SEVERAL = LabelSpace(("a", "b"), SINGLE_LABEL), LabelSpace(("a", "b"), MULTI_LABEL)
# Clips by decreasing confidence; the decisions are right, right, wrong, right, wrong
SURE = np.array([0.9, 0.8, 0.7, 0.6, 0.55])
PROBABILITIES = np.stack([SURE, 1 - SURE], axis=1)
TARGETS = np.eye(2, dtype=np.float32)[[0, 0, 1, 0, 1]]
DECISIONS = np.eye(2, dtype=np.int8)[[0] * 5]
CLIPS = (PROBABILITIES, DECISIONS, TARGETS, ONE)


def test_the_curve_starts_with_the_most_confident_clip():
    found = risk_coverage(*CLIPS)
    assert found["coverage"] == [0.2, 0.4, 0.6, 0.8, 1.0] and found["threshold"] == SURE.tolist()
    assert found["risk"] == pytest.approx([0, 0, 1 / 3, 1 / 4, 2 / 5])
    assert found["aurc"] == pytest.approx(np.mean([0, 0, 1 / 3, 1 / 4, 2 / 5]))
    assert found["best_aurc"] == pytest.approx((3 * 0 + 2 * 2 / 5) / 5) and found["num"] == 5  # all errors last
    order = [3, 1, 4, 0, 2]
    assert risk_coverage(PROBABILITIES[order], DECISIONS, TARGETS[order], ONE) == found


def test_ties_are_one_point_and_unlabeled_clips_do_not_count():
    probabilities = np.array([[0.8, 0.2]] * 4 + [[0.6, 0.4]])
    targets = np.concatenate([TARGETS[:4], np.full((1, 2), np.nan, dtype=np.float32)])
    found = risk_coverage(probabilities, DECISIONS, targets, ONE)
    assert found["coverage"] == [1.0] and found["risk"] == [0.25] and found["num"] == 4
    assert risk_coverage(probabilities[4:], DECISIONS[4:], targets[4:], ONE) == {
        "coverage": [],
        "risk": [],
        "threshold": [],
        "aurc": None,
        "best_aurc": None,
        "num": 0,
    }


def test_multi_label_risk_is_the_share_of_wrong_decisions():
    probabilities = np.array([[0.9, 0.4], [0.2, 0.1]])
    decisions = np.array([[1, 1], [0, 0]])  # at a threshold of 0.3
    assert confidence_of(probabilities, decisions, SEVERAL).tolist() == pytest.approx([0.65, 0.85])
    targets = np.array([[1, 0], [0, np.nan]], dtype=np.float32)
    found = risk_coverage(probabilities, decisions, targets, SEVERAL)
    assert found["risk"] == [0, 0.25] and found["coverage"] == [0.5, 1]


def test_long_curves_are_thinned_but_keep_their_ends():
    random = np.random.default_rng(0)
    probabilities = random.random((5000, 2))
    decisions, targets = (probabilities > 0.5).astype(np.int8), (random.random((5000, 2)) < probabilities)
    found = risk_coverage(probabilities, decisions, targets, SEVERAL)
    assert len(found["coverage"]) == 200 and found["coverage"][-1] == 1 and found["coverage"][0] < 0.001
    assert found["risk"][-1] == pytest.approx((decisions != targets).mean())
    assert found["best_aurc"] < found["aurc"] < found["risk"][-1]


def test_a_threshold_reaches_the_requested_risk_or_coverage_on_validation():
    assert choose_confidence(*CLIPS, risk=0.25) == pytest.approx(((0.6 + 0.55) / 2, 0.8, 0.25))
    assert choose_confidence(*CLIPS, risk=0.0) == pytest.approx((0.75, 0.4, 0.0))
    assert choose_confidence(*CLIPS, coverage=0.5) == pytest.approx((0.575, 0.8, 0.25))  # 0.6 has more risk
    assert choose_confidence(*CLIPS, coverage=0.1) == pytest.approx((0.75, 0.4, 0.0))
    assert choose_confidence(*CLIPS, coverage=1.0) == pytest.approx((0.275, 1.0, 0.4))
    facts = answered_facts(*CLIPS, threshold=0.75)
    assert facts == pytest.approx(
        {"threshold": 0.75, "num": 5, "num_answered": 2, "coverage": 0.4, "risk": 0.0, "risk_of_all": 0.4}
    )
    assert answered_facts(*CLIPS, threshold=0.95)["risk"] is None


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "found risk None and coverage None: give one"),
        ({"risk": 0.1, "coverage": 0.5}, "give one of the two"),
        ({"risk": 1.1}, "found risk 1.1"),
        ({"coverage": 0}, "a coverage above 0 up to 1"),
        (
            {"risk": 0.0},
            r"keeps the risk on validation at 0: the lowest risk is 0.250, with 100.0% of 4 clips",
        ),
    ],
)
def test_impossible_choices_are_refused(asked, sentence):
    probabilities = np.array([[0.8, 0.2]] * 4)
    with pytest.raises(InputError, match=sentence):
        choose_confidence(probabilities, DECISIONS[:4], TARGETS[:4], ONE, **asked)


def test_a_threshold_needs_labeled_clips():
    with pytest.raises(InputError, match="No validation clip has a known label"):
        choose_confidence(PROBABILITIES, DECISIONS, np.full_like(TARGETS, np.nan), ONE, risk=0.1)
    with pytest.raises(InputError, match="decisions of shape"):
        risk_coverage(PROBABILITIES, DECISIONS[:, :1], TARGETS, ONE)


@pytest.mark.parametrize("labels", [ONE, SEVERAL])
def test_metrics_of_known_against_unknown_equal_scikit_learns(labels):
    random = np.random.default_rng(0)
    known, unknown = random.normal([2, 0], 3, (200, 2)), random.normal([-2, 0], 1, (150, 2))
    found = known_against_unknown(known, unknown, labels)
    assert found["num_known"] == 200 and found["num_unknown"] == 150
    assert list(found["scores"]) == ["max_probability", "entropy", "max_logit", "energy"]
    of_known, of_unknown = in_class_scores(known, labels), in_class_scores(unknown, labels)
    for name, facts in found["scores"].items():
        scores = np.concatenate([of_known[name], of_unknown[name]])
        assert facts["roc_auc"] == pytest.approx(roc_auc_score([1] * 200 + [0] * 150, scores))
        kept = of_known[name] >= facts["threshold"]
        assert kept.mean() == 0.95 and (of_known[name] > facts["threshold"]).mean() < 0.95
        assert facts["fpr_at_95_tpr"] == (of_unknown[name] >= facts["threshold"]).mean()
    assert found["scores"]["max_logit"]["roc_auc"] > 0.8
    of_probabilities = known_against_unknown(*map(labels.probabilities, (known, unknown)), labels, are_logits=False)
    assert of_probabilities["scores"] == {name: found["scores"][name] for name in ("max_probability", "entropy")}


def test_known_scores_equal_their_formulas():
    logits = np.array([[2.0, -1.0]])
    several, one = in_class_scores(logits, SEVERAL), in_class_scores(logits, ONE)
    assert one["energy"] == pytest.approx(np.log(np.exp(2) + np.exp(-1)))
    assert several["energy"] == pytest.approx(np.log1p(np.exp(2)) + np.log1p(np.exp(-1)))
    p = np.exp(2) / (np.exp(2) + np.exp(-1))
    assert one["max_probability"] == pytest.approx(p)
    assert one["entropy"] == pytest.approx(p * np.log(p) + (1 - p) * np.log(1 - p))


def test_missing_unknown_sounds_and_invalid_scores_are_refused():
    with pytest.raises(InputError, match=r"Found unknown sounds of shape \(0, 2\)"):
        known_against_unknown(np.zeros((3, 2)), np.zeros((0, 2)), ONE)
    with pytest.raises(InputError, match="The model's scores for known sounds are not finite"):
        known_against_unknown(np.full((3, 2), np.nan), np.zeros((2, 2)), ONE)
