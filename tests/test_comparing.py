"""Comparing models: paired draws, significance tests against the binomial test and enumeration, Demšar's ranks."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.comparing import compare, mean_ranks
from hf_audio.judging.intervals import interval, intervals
from hf_audio.judging.paired_tests import bootstrap_p, holm, mcnemar, sign_flip_p
from hf_audio.metrics import decide

LABELS = LabelSpace(("a", "b", "c"), SINGLE_LABEL)


def models_of(skills: dict[str, float], num_groups: int = 40, size: int = 5, labels: LabelSpace = LABELS):
    """Correlated scores of models that differ in skill; targets and groups."""
    random = np.random.default_rng(0)
    targets = np.eye(3, dtype=np.float32)[random.integers(3, size=num_groups * size)]
    shared, groups = random.normal(size=targets.shape), np.repeat(np.arange(num_groups), size)
    models = {}
    for name, skill in skills.items():
        own = random.normal(size=targets.shape)
        probabilities = labels.probabilities(skill * (targets - 0.5) + shared + 0.5 * own)
        models[name] = (probabilities, decide(probabilities, labels))
    return models, targets, groups


def test_a_pair_is_compared_on_the_same_draws() -> None:
    models, targets, groups = models_of({"good": 2.0, "weak": 1.0})
    found = compare(models, targets, LABELS, groups, metric="mean_average_precision", num_draws=150, seed=2)
    random, plain = np.random.default_rng(2), []
    for _ in range(150):
        rows = np.concatenate([np.flatnonzero(groups == one) for one in random.integers(40, size=40)])
        good, weak = (average_precision_score(targets[rows], scores[rows]) for scores, _ in models.values())
        plain.append(good - weak)
    whole = [average_precision_score(targets, scores) for scores, _ in models.values()]
    (pair,) = found["pairs"]
    assert list(pair["difference"]) == pytest.approx(list(interval(whole[0] - whole[1], np.array(plain), 40, 0.95)))
    alone = intervals(*models["good"], targets, LABELS, groups, num_draws=150, seed=2)["metrics"]
    assert list(found["models"]["good"]) == pytest.approx(list(alone["mean_average_precision"]))
    assert pair["better"] == "good" and pair["p"] == pair["p_holm"] < 0.05
    reach = pair["difference"].high - pair["difference"].low  # narrower than both models' intervals together
    assert reach < sum(one.high - one.low for one in found["models"].values())
    assert found["ranks"] is None and (found["by"], found["num_groups"]) == ("group", 40)


def test_a_smaller_loss_is_better_and_equal_models_are_not() -> None:
    labels = LabelSpace(LABELS.names, MULTI_LABEL)
    models, targets, groups = models_of({"good": 3.0, "weak": 1.0}, labels=labels)
    models["same"] = models["good"]
    targets[::7, 1] = np.nan
    found = compare(models, targets, labels, groups, metric="hamming_loss", num_draws=200)
    pairs = {(one["first"], one["second"]): one for one in found["pairs"]}
    assert pairs["good", "weak"]["difference"].high < 0 and pairs["good", "weak"]["better"] == "good"
    assert pairs["good", "same"]["difference"] == (0, 0, 0) and pairs["good", "same"]["better"] is None
    assert pairs["good", "same"]["p"] == pairs["good", "same"]["mcnemar"]["p_groups_holm"] == 1
    assert found["ranks"]["mean_ranks"]["good"] == found["ranks"]["mean_ranks"]["same"] < 2
    assert found["ranks"]["together"] == [["good", "same"]]


def test_many_pairs_can_differ_without_more_draws() -> None:
    models, targets, groups = models_of({"good": 9.0, **{f"weak {number}": 0.0 for number in range(7)}})
    pairs = compare(models, targets, LABELS, groups, metric="accuracy", num_draws=100)["pairs"]
    assert [pair["better"] for pair in pairs] == ["good"] * 7 + [None] * 21
    assert 0 < pairs[0]["p"] * 28 < 1e-6 and pairs[0]["p_holm"] == pytest.approx(28 * min(one["p"] for one in pairs))


def test_p_values_agree_with_intervals() -> None:
    random = np.random.default_rng(0)
    for shift, num_groups in product(np.linspace(0, 4, 41), (5, 30, 1000)):
        drawn = random.normal(shift, size=9_999)
        low, p = interval(shift, drawn, num_groups, 0.95).low, bootstrap_p(drawn, num_groups)
        assert (low > 0) == (p < 0.05) or abs(low) < 0.05
    assert bootstrap_p(np.zeros(99), 9) == 1 and bootstrap_p(np.ones(99), 1) is None
    assert bootstrap_p(np.ones(99), 2) > 0.1  # two groups are never significant


def test_false_positives_are_as_rare_as_p_values_claim() -> None:
    random, found = np.random.default_rng(1), []
    for _ in range(150):
        right = random.random((2, 15, 6)) < random.beta(2, 1, size=(1, 15, 1))  # equal skill of both models per group
        scores = {
            name: (np.stack([~r, r], axis=1).astype(int),) * 2
            for name, r in zip("xy", right.reshape(2, -1), strict=True)
        }
        targets, labels = np.tile([0.0, 1.0], (90, 1)), LabelSpace(("no", "yes"), SINGLE_LABEL)
        groups = np.repeat(np.arange(15), 6)
        pair = compare(scores, targets, labels, groups, metric="accuracy", num_draws=200)["pairs"][0]
        found.append((pair["p"], pair["mcnemar"]["p_groups"]))
    assert (np.mean(np.array(found) < 0.1, axis=0) < 0.16).all()


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"), [(1, 8, 0.0390625), (3, 3, 1.0), (0, 0, 1.0), (70, 41, None)]
)
def test_mcnemar_over_clips_is_the_binomial_test(only_first: int, only_second: int, p: float | None) -> None:
    first = np.array([True] * only_first + [False] * only_second + [True] * 5 + [False] * 4)
    second = np.array([False] * only_first + [True] * only_second + [True] * 5 + [False] * 4)
    found = mcnemar(first, second, np.arange(len(first)))
    p = stats.binomtest(only_first, only_first + only_second).pvalue if p is None else p
    assert found == {
        **{"only_first": only_first, "only_second": only_second},
        **dict.fromkeys(("p_clips", "p_groups"), pytest.approx(p)),
    }


def test_mcnemar_over_groups_counts_a_group_as_one_draw() -> None:
    differences = np.array([3, -1, 2, 2, 0, 5, -2, 1])
    sums = [np.dot(signs, differences) for signs in product((-1, 1), repeat=len(differences))]
    assert sign_flip_p(differences) == pytest.approx(np.mean(np.abs(sums) >= differences.sum()))
    copies = mcnemar(np.repeat([True] * 4 + [False], 9), np.zeros(45, dtype=bool), np.repeat(np.arange(5), 9))
    assert copies["p_clips"] < 1e-9 and copies["p_groups"] == pytest.approx(2 / 2**4)


def test_holm_correction_equals_a_hand_calculation() -> None:
    assert holm([0.01, 0.04, None, 0.03, 0.5]) == pytest.approx([0.04, 0.09, None, 0.09, 0.5])
    assert holm([None]) == [None] and holm([0.6, 0.7]) == [1.0, 1.0]


def test_ranks_and_critical_differences_equal_demsars() -> None:
    models, targets, groups = models_of({"a": 2.0, "b": 1.9, "c": 0.3, "d": 0.2}, num_groups=60)
    found = mean_ranks(models, targets, LABELS, groups, metric="accuracy")
    right = np.array([(decisions == targets).all(axis=1) for _, decisions in models.values()])
    accuracies = right.reshape(4, 60, 5).mean(axis=2)
    ranks = np.mean([stats.rankdata(-one) for one in accuracies.T], axis=0)
    assert list(found["mean_ranks"].values()) == pytest.approx(ranks)
    assert found["critical_difference"] == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 60)), abs=1e-3)  # Demšar, table 5
    assert found["friedman_p"] == pytest.approx(stats.friedmanchisquare(*accuracies).pvalue)
    assert found["together"] == [["a", "b"], ["c", "d"]] or found["together"] == [["b", "a"], ["c", "d"]]
    assert mean_ranks(models, targets, LABELS, groups, metric="roc_auc_macro")["metric"] == "lrap"


def test_what_cannot_be_compared_is_refused() -> None:
    models, targets, groups = models_of({"a": 1.0, "b": 1.0})
    with pytest.raises(InputError, match=r"Found 1 models \(a\); a comparison needs 2 or more"):
        compare({"a": models["a"]}, targets, LABELS, groups, metric="accuracy")
    with pytest.raises(InputError, match=r"Found 2 models \(a, b\); a comparison needs 3 or more"):
        mean_ranks(models, targets, LABELS, groups, metric="accuracy")
    with pytest.raises(InputError, match="did you mean 'f1_macro'"):
        compare(models, targets, LABELS, groups, metric="f1_makro")
