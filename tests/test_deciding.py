"""Thresholds from validation: one for all classes or one per class, and classes with too few clips."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.deciding import choose_thresholds, decisions_of, sharing_a_threshold
from hf_audio.metrics import choose_threshold, decide

NAMES = ("common", "quiet", "rare", "everywhere")
MULTI, SINGLE = LabelSpace(NAMES, MULTI_LABEL), LabelSpace(NAMES, SINGLE_LABEL)


def validation() -> tuple[np.ndarray, np.ndarray]:
    """Scores and targets of 200 clips: two classes with different score ranges, one with 3 clips, one in all clips."""
    random = np.random.default_rng(0)
    targets = (random.random((200, 4)) < [0.5, 0.3, 0.0, 1.0]).astype(np.float32)
    targets[:3, 2] = 1
    heard = np.array([0.8, 0.2, 0.7, 0.6])
    scores = np.clip(heard * (0.4 + 0.6 * targets) + random.normal(scale=0.05, size=targets.shape), 0, 1)
    targets[150:, 1] = np.nan
    return scores, targets


def test_thresholds_per_class_maximize_each_f1() -> None:
    scores, targets = validation()
    one, each = (choose_thresholds(scores, targets, MULTI, per_class=per_class) for per_class in (False, True))
    assert one.tolist() == [choose_threshold(scores, targets)] * 4
    assert sharing_a_threshold(targets, MULTI) == ("rare", "everywhere")
    assert each[2:].tolist() == one[2:].tolist()
    for place in (0, 1):
        known = ~np.isnan(targets[:, place])
        true, said = targets[known, place], scores[known, place]
        tried = [f1_score(true, said >= threshold) for threshold in np.unique(said)]
        assert f1_score(true, said >= each[place]) == max(tried)
    assert each[1] < 0.25 < each[0]
    decided = decisions_of(scores, MULTI, each)
    assert decided.dtype == np.int8 and (decided == (scores >= each)).all()


def test_single_label_decisions_are_the_largest_score_without_thresholds() -> None:
    scores, targets = validation()
    thresholds = choose_thresholds(scores, targets, SINGLE)
    assert thresholds.tolist() == [0.5] * 4
    assert (decisions_of(scores, SINGLE, thresholds) == decide(scores, SINGLE)).all()
    with pytest.raises(InputError, match="have no effect on single-label data"):
        choose_thresholds(scores, targets, SINGLE, per_class=True)


@pytest.mark.parametrize("thresholds", [[0.5] * 3, [0.5, 0.5, np.nan, 0.5], [0.5, 0.5, 1.5, 0.5], 0.5])
def test_each_class_needs_a_threshold(thresholds: list[float]) -> None:
    with pytest.raises(InputError, match="4 classes; each class needs one from 0 to 1"):
        decisions_of(validation()[0], MULTI, thresholds)
