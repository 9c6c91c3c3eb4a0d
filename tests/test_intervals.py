"""Intervals of metrics: each draw equals scikit-learn on copied clips, and intervals have their nominal coverage."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as sk

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging import redrawn_metrics
from hf_audio.judging.deciding import decisions_of
from hf_audio.judging.intervals import Interval, interval, intervals
from hf_audio.judging.redrawn_metrics import RedrawnMetrics, drawn_counts
from hf_audio.metrics import classification_metrics

LABELS = {
    "single": LabelSpace(("a", "b", "c", "d"), SINGLE_LABEL),
    "multi": LabelSpace(("a", "b", "c", "d"), MULTI_LABEL),
}


def scored_clips(task: str, *, num_clips: int = 60, unknown: float = 0.0, seed: int = 0):
    """Probabilities with ties, decisions, targets without class d, and groups."""
    random, labels = np.random.default_rng(seed), LABELS[task]
    if labels.is_multi_label:
        targets = (random.random((num_clips, 4)) < [0.5, 0.3, 0.1, 0.0]).astype(np.float32)
    else:
        targets = np.eye(4, dtype=np.float32)[random.integers(3, size=num_clips)]
    logits = random.normal(size=targets.shape) + 1.5 * targets
    probabilities = labels.probabilities(logits).round(1)
    targets[random.random(targets.shape) < unknown] = np.nan
    groups = random.permutation(np.arange(num_clips) % 17)
    return probabilities, decisions_of(probabilities, labels, [0.5, 0.4, 0.3, 0.5]), targets, groups


@pytest.mark.parametrize(("task", "unknown"), [("single", 0.0), ("multi", 0.0), ("multi", 0.3)])
def test_metrics_of_redrawn_groups_equal_those_of_copied_clips(task: str, unknown: float) -> None:
    labels = LABELS[task]
    probabilities, _, targets, groups = scored_clips(task, unknown=unknown)
    decisions = decisions_of(probabilities, labels, [0.4] * 4)
    redrawn = RedrawnMetrics(probabilities, decisions, targets, labels, groups)
    counts = np.concatenate([np.ones((1, 17), dtype=int), next(drawn_counts(17, 4, 4, seed=3)), np.eye(17, dtype=int)])
    found = redrawn.of(counts)
    for row, times in enumerate(counts):
        copied = np.repeat(np.arange(len(groups)), times[groups])
        expected = classification_metrics(probabilities[copied], targets[copied], labels, 0.4)
        for name, values in found.metrics.items():
            assert values[row] == pytest.approx(as_nan(expected[name]), abs=1e-12, nan_ok=True), name
        for place, one in enumerate(expected["per_class"].values()):
            for name, values in found.per_class.items():
                assert values[row, place] == pytest.approx(as_nan(one[name]), abs=1e-12, nan_ok=True), name
    assert set(found.metrics) == set(redrawn_metrics.METRICS) == set(expected) - {"threshold", "per_class"}


def test_intervals_equal_those_of_a_plain_loop_over_draws() -> None:
    labels = LABELS["multi"]
    probabilities, decisions, targets, groups = scored_clips("multi")
    found = intervals(probabilities, decisions, targets, labels, groups, num_draws=200, seed=5)
    random, plain = np.random.default_rng(5), []
    for _ in range(200):
        rows = np.concatenate([np.flatnonzero(groups == group) for group in random.integers(17, size=17)])
        plain.append(
            (
                sk.f1_score(targets[rows, 1], decisions[rows, 1]),
                sk.average_precision_score(targets[rows, 0], probabilities[rows, 0]),
                sk.roc_auc_score(targets[rows, 0], probabilities[rows, 0]),
            )
        )
    f1, precision, area = np.array(plain).T
    value = sk.average_precision_score(targets[:, 0], probabilities[:, 0])
    with_a, with_b = (len(np.unique(groups[targets[:, one] > 0])) for one in (0, 1))
    of_a, of_b = found["per_class"]["a"], found["per_class"]["b"]
    assert list(of_a["average_precision"]) == pytest.approx(list(interval(value, precision, with_a, 0.95)))
    assert of_a["roc_auc"].low == pytest.approx(interval(0.5, area, with_a, 0.95).low)
    assert of_b["f1"].high == pytest.approx(interval(0.5, f1, with_b, 0.95).high)
    assert (found["by"], found["num_groups"], found["num_draws"]) == ("group", 17, 200)
    assert all(one.low <= one.value <= one.high for one in found["metrics"].values())


def test_draws_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = (*scored_clips("single")[:3], LABELS["single"], scored_clips("single")[3])
    whole = intervals(*arguments, num_draws=100)
    monkeypatch.setattr(redrawn_metrics, "CHUNK_BYTES", 1)  # one draw and one clip at a time
    chunked = intervals(*arguments, num_draws=100)
    for name, one in whole["metrics"].items():
        assert list(chunked["metrics"][name]) == pytest.approx(list(one), abs=1e-12)
    for name in redrawn_metrics.OF_CLASSES:
        one = whole["per_class"]["a"][name]
        assert list(chunked["per_class"]["a"][name]) == pytest.approx(list(one), abs=1e-12)
    assert intervals(*arguments, num_draws=100, seed=1)["metrics"]["accuracy"] != whole["metrics"]["accuracy"]


def test_memory_does_not_grow_with_the_number_of_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrawn_metrics, "CHUNK_BYTES", 4 << 20)
    arguments = (*scored_clips("multi", num_clips=2_000)[:3], LABELS["multi"], np.arange(2_000))
    peaks = []
    for num_draws in (100, 800):
        tracemalloc.start()
        intervals(*arguments, num_draws=num_draws)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 12 << 20


def accuracy_interval(
    decisions: np.ndarray, targets: np.ndarray, labels: LabelSpace, groups: np.ndarray, seed: int
) -> Interval:
    """The interval of accuracy, which is much faster than those of all metrics."""
    redrawn = RedrawnMetrics(decisions, decisions, targets, labels, groups, ranked=False)
    draws = drawn_counts(redrawn.num_groups, 200, redrawn.chunk(), seed)
    drawn = np.concatenate([redrawn.of(counts).metrics["accuracy"] for counts in draws])
    return interval(redrawn.of_all().metrics["accuracy"][0], drawn, redrawn.num_groups, 0.95)


def test_intervals_over_groups_have_their_nominal_coverage_unlike_those_over_clips() -> None:
    random, labels = np.random.default_rng(0), LabelSpace(("no", "yes"), SINGLE_LABEL)
    num_groups, size, held = 12, 10, {"group": 0, "clip": 0}
    for _ in range(200):
        rates = random.beta(2, 1, size=num_groups)  # true accuracy 2/3, with correlated clips in a group
        right = random.random((num_groups, size)) < rates[:, None]
        targets = np.eye(2)[random.integers(2, size=num_groups * size)]
        decisions = np.where(right.reshape(-1, 1), targets, 1 - targets)
        groups = np.repeat(np.arange(num_groups), size)
        for by, drawn in (("group", groups), ("clip", np.arange(len(groups)))):
            found = accuracy_interval(decisions, targets, labels, drawn, seed=int(random.integers(99)))
            held[by] += found.low <= 2 / 3 <= found.high
    assert 0.90 <= held["group"] / 200 <= 0.99
    assert held["clip"] / 200 < 0.85
    whole = intervals(decisions, decisions, targets, labels, groups, num_draws=200, seed=7)["metrics"]["accuracy"]
    assert accuracy_interval(decisions, targets, labels, groups, seed=7) == whole


def test_undefined_metrics_and_single_groups_have_no_interval() -> None:
    labels = LABELS["multi"]
    probabilities, decisions, targets, groups = scored_clips("multi")
    targets[:, 2], targets[:, 3] = groups == 3, np.nan
    found = intervals(probabilities, decisions, targets, labels, groups, num_draws=100)["per_class"]
    assert found["d"] == {**dict.fromkeys(redrawn_metrics.OF_CLASSES, Interval(None, None, None)), "support": 0}
    assert found["c"]["recall"].value is not None and found["c"]["recall"][1:] == (None, None)
    one_group = intervals(probabilities, decisions, targets, labels, np.zeros(60, dtype=int), num_draws=100)
    assert one_group["metrics"]["f1_micro"].value > 0 and one_group["metrics"]["f1_micro"][1:] == (None, None)
    each_alone = intervals(probabilities, decisions, targets, labels, 5 * np.arange(60) + 2, num_draws=100)
    assert (each_alone["by"], each_alone["num_groups"]) == ("clip", 60)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"num_draws": 20}, "Found 20 draws; a confidence of 0.95 needs at least 80"),
        ({"confidence": 95}, "A confidence must be at least 0.5 and below 1"),
        ({"decisions": np.zeros((60, 3))}, r"shapes \(60, 4\), \(60, 3\) and \(60, 4\) with 60 groups"),
        ({"probabilities": np.full((60, 4), np.nan)}, "not finite"),
    ],
)
def test_invalid_inputs_are_refused(changed: dict, said: str) -> None:
    probabilities, decisions, targets, groups = scored_clips("multi")
    arguments = {"probabilities": probabilities, "decisions": decisions, "targets": targets, **changed}
    with pytest.raises(InputError, match=said):
        intervals(**arguments, labels=LABELS["multi"], groups=groups)


def as_nan(value: float | None) -> float:
    return np.nan if value is None else value
