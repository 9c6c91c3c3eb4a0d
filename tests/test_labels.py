"""LabelSpace: order of classes, problem type, targets, probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hf_audio import Clip, InputError, LabelSpace
from hf_audio.data.index.table import index_of


def clip(*labels: str) -> Clip:
    return Clip(path=Path("a.wav"), labels=labels, group="g", clip_id="a.wav")


def test_problem_type_follows_the_labels():
    assert LabelSpace.of_clips(index_of([clip("b"), clip("a")])) == LabelSpace(
        ("a", "b"), "single_label_classification"
    )
    assert LabelSpace.of_clips(index_of([clip("b"), clip("a", "b")])).is_multi_label
    assert LabelSpace.of_clips(index_of([clip("b"), clip()])).is_multi_label, (
        "a clip without labels makes the task multi-label"
    )
    assert LabelSpace.of_clips(
        index_of([clip("b"), clip("a")]), problem_type="multi_label_classification"
    ).is_multi_label


def test_targets_are_float32_multi_hot():
    labels = LabelSpace(("a", "b", "c"), "multi_label_classification")
    target = labels.multi_hot(labels.indices(["c", "a"]))
    assert target.dtype == np.float32 and target.tolist() == [1, 0, 1]
    with pytest.raises(InputError, match="Unknown label 'cc': did you mean 'c'"):
        labels.indices(["cc"])


def test_probabilities_are_those_of_stock_pipelines():
    logits = np.random.default_rng(0).normal(size=(5, 3)) * 30
    single = LabelSpace(("a", "b", "c"), "single_label_classification").probabilities(logits)
    multi = LabelSpace(("a", "b", "c"), "multi_label_classification").probabilities(logits)
    np.testing.assert_allclose(single, torch.from_numpy(logits).softmax(-1).numpy(), atol=1e-12)
    np.testing.assert_allclose(multi, torch.from_numpy(logits).sigmoid().numpy(), atol=1e-12)


def test_two_classes_with_the_same_name_are_refused():
    with pytest.raises(InputError, match="appears twice"):
        LabelSpace(("a", "a"), "single_label_classification")
