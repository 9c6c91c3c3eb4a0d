from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.losses import class_weights_from_counts, loss_for, smooth_targets

SINGLE = LabelSpace(("bell", "hiss", "hum"), SINGLE_LABEL)
MULTI = LabelSpace(("bell", "hiss", "hum"), MULTI_LABEL)
WEIGHTS = np.array([0.5, 1.0, 4.0], dtype=np.float32)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(12, 3, generator=generator)
    single = functional.one_hot(torch.randint(3, (12,), generator=generator), 3).float()
    multi = (torch.rand(12, 3, generator=generator) > 0.5).float()
    return {SINGLE_LABEL: (logits, single), MULTI_LABEL: (logits, multi)}


def test_cross_entropy_of_one_hot_targets_is_that_of_class_indices(batch):
    logits, targets = batch[SINGLE_LABEL]
    expected = functional.cross_entropy(logits, targets.argmax(1))
    torch.testing.assert_close(loss_for(SINGLE)(logits, targets), expected)


def test_cross_entropy_weighs_terms_and_divides_by_the_batch(batch):
    logits, targets = batch[SINGLE_LABEL]
    soft = 0.7 * targets + 0.3 * targets.roll(1, 0)
    expected = -(soft * torch.tensor(WEIGHTS) * logits.log_softmax(1)).sum() / len(logits)
    torch.testing.assert_close(loss_for(SINGLE, WEIGHTS)(logits, soft), expected)


def test_binary_cross_entropy_weighs_positive_terms(batch):
    logits, targets = batch[MULTI_LABEL]
    positive, negative = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    expected = -(torch.tensor(WEIGHTS) * targets * positive + (1 - targets) * negative).mean()
    torch.testing.assert_close(loss_for(MULTI, WEIGHTS)(logits, targets), expected)


@pytest.mark.parametrize("labels", [SINGLE, MULTI], ids=["single", "multi"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_the_mean_of_equal_parts_is_the_mean_of_the_whole(batch, labels, weights):
    """What accumulation and several processes rely on. torch's own weighted mean over class indices breaks it."""
    logits, targets = batch[labels.problem_type]
    loss = loss_for(labels, weights)
    parts = [loss(*part) for part in zip(logits.split(4), targets.split(4), strict=True)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss(logits, targets))


def test_bf16_logits_are_scored_in_float32(batch):
    logits, targets = batch[MULTI_LABEL]
    assert loss_for(MULTI, WEIGHTS)(logits.bfloat16(), targets).dtype == torch.float32


def test_smoothing_keeps_a_distribution_where_there_is_one(batch):
    torch.testing.assert_close(smooth_targets(batch[SINGLE_LABEL][1], 0.1, SINGLE).sum(1), torch.ones(12))
    assert smooth_targets(batch[MULTI_LABEL][1], 0.1, MULTI).unique().tolist() == pytest.approx([0.05, 0.95])


def test_single_label_weights_are_1_on_average_over_samples():
    weights = class_weights_from_counts(np.array([60, 30, 10]), 100, SINGLE)
    assert weights == pytest.approx([100 / 180, 100 / 90, 100 / 30])
    assert (weights * [60, 30, 10]).sum() / 100 == pytest.approx(1)


def test_multi_label_weights_balance_positives_and_negatives():
    weights = class_weights_from_counts(np.array([50, 20, 1]), 100, MULTI)
    assert weights == pytest.approx([1, 4, 20])  # the last one capped


def test_bad_weights_are_one_sentence():
    with pytest.raises(InputError, match="No training clip carries hiss, hum"):
        class_weights_from_counts(np.array([5, 0, 0]), 5, SINGLE)
    with pytest.raises(InputError, match="2 class weights for 3 classes"):
        loss_for(SINGLE, WEIGHTS[:2])
