from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from hf_audio.config import LossConfig
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.losses import TaskLoss, class_weights_from_counts, loss_for, smooth_targets

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
def test_the_mean_loss_of_equal_parts_is_the_loss_of_the_batch(batch, labels, weights):
    """Accumulation and several processes rely on it. torch's own weighted mean over class indices breaks it."""
    logits, targets = batch[labels.problem_type]
    loss = loss_for(labels, weights)
    parts = [loss(*part) for part in zip(logits.split(4), targets.split(4), strict=True)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss(logits, targets))


def test_the_loss_of_bf16_logits_is_float32(batch):
    logits, targets = batch[MULTI_LABEL]
    assert loss_for(MULTI, WEIGHTS)(logits.bfloat16(), targets).dtype == torch.float32


def test_smoothed_single_label_targets_still_sum_to_1(batch):
    torch.testing.assert_close(smooth_targets(batch[SINGLE_LABEL][1], 0.1, SINGLE).sum(1), torch.ones(12))
    assert smooth_targets(batch[MULTI_LABEL][1], 0.1, MULTI).unique().tolist() == pytest.approx([0.05, 0.95])


def test_single_label_weights_are_1_on_average_over_samples():
    weights = class_weights_from_counts(np.array([60, 30, 10]), 100, SINGLE)
    assert weights == pytest.approx([100 / 180, 100 / 90, 100 / 30])
    assert (weights * [60, 30, 10]).sum() / 100 == pytest.approx(1)


def test_multi_label_weights_balance_positives_and_negatives():
    weights = class_weights_from_counts(np.array([50, 20, 1]), 100, MULTI)
    assert weights == pytest.approx([1, 4, 20])  # the last one is capped


def test_bad_weights_are_one_sentence():
    with pytest.raises(InputError, match="No training clip has hiss, hum"):
        class_weights_from_counts(np.array([5, 0, 0]), 5, SINGLE)
    with pytest.raises(InputError, match="2 class weights for 3 classes"):
        loss_for(SINGLE, WEIGHTS[:2])


FOCAL, ASYMMETRIC = LossConfig(loss="focal", focal_gamma=1.5), LossConfig(loss="asymmetric")


def plain_losses(settings, labels, logits, targets, weights):
    """The same losses, written as formulas of probabilities, in NumPy float64."""
    logits, targets = logits.numpy().astype(np.float64), targets.numpy().astype(np.float64)
    weights = np.ones(len(labels)) if weights is None else weights
    if not labels.is_multi_label:
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return (-weights * targets * (1 - p) ** settings.focal_gamma * np.log(p)).sum(1)
    p = 1 / (1 + np.exp(-logits))
    if settings.loss == "focal":
        positive, negative, margin = settings.focal_gamma, settings.focal_gamma, 0.0
    else:
        positive, negative, margin = settings.positive_gamma, settings.negative_gamma, settings.negative_margin
    shifted = np.maximum(p - margin, 0)
    terms = -weights * targets * (1 - p) ** positive * np.log(p)
    terms -= (1 - targets) * shifted**negative * np.log(1 - shifted)
    return np.where(np.isnan(targets), 0, terms).mean(1)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("settings", "labels"),
    [(FOCAL, SINGLE), (FOCAL, MULTI), (ASYMMETRIC, MULTI)],
    ids=["focal", "binary", "asymmetric"],
)
def test_focusing_losses_are_those_of_the_papers(batch, settings, labels, weights):
    logits, targets = batch[labels.problem_type]
    targets = 0.8 * targets + 0.2 * targets.roll(1, 0)  # as after mixup
    if labels.is_multi_label:
        targets[2, 1], logits[2, 1] = torch.nan, torch.inf
    losses = TaskLoss(labels, settings, class_weights=weights)
    expected = plain_losses(settings, labels, logits.nan_to_num(posinf=0), targets, weights)
    torch.testing.assert_close(losses(logits, targets), torch.from_numpy(expected).float(), rtol=1e-5, atol=1e-6)
    finite = logits.nan_to_num(posinf=9).double().requires_grad_()
    losses(finite, targets).sum().backward()
    assert finite.grad.isfinite().all() and (not labels.is_multi_label or finite.grad[2, 1] == 0)


def test_focal_loss_of_independent_classes_is_torchvisions(batch):
    from torchvision.ops import sigmoid_focal_loss

    logits, targets = batch[MULTI_LABEL]
    expected = sigmoid_focal_loss(logits, targets, alpha=-1, gamma=1.5).mean(1)
    torch.testing.assert_close(TaskLoss(MULTI, FOCAL)(logits, targets), expected)


@pytest.mark.parametrize("labels", [SINGLE, MULTI], ids=["single", "multi"])
def test_a_focal_loss_with_gamma_0_is_cross_entropy_and_gradcheck_passes(batch, labels):
    logits, targets = batch[labels.problem_type]
    none = LossConfig(loss="focal", focal_gamma=0.0)
    expected = loss_for(labels, WEIGHTS)(logits, targets)
    torch.testing.assert_close(loss_for(labels, WEIGHTS, none)(logits, targets), expected)
    for settings in (FOCAL, ASYMMETRIC) if labels.is_multi_label else (FOCAL,):
        loss = TaskLoss(labels, settings, class_weights=WEIGHTS)
        assert torch.autograd.gradcheck(lambda x, loss=loss: loss(x, targets), logits.double().requires_grad_())


@pytest.mark.parametrize("size", [60.0, 20.0, -60.0])
def test_confident_logits_have_finite_losses_and_gradients(size):
    mild = LossConfig(loss="focal", focal_gamma=0.5)  # a power below 1 has an infinite slope at 0
    mild_asymmetric = LossConfig(loss="asymmetric", positive_gamma=0.5, negative_gamma=0.5)
    tiny_margin = LossConfig(loss="asymmetric", negative_margin=1e-9)
    for settings, labels in (
        (tiny_margin, MULTI),
        *((FOCAL, SINGLE), (FOCAL, MULTI), (ASYMMETRIC, MULTI)),
        *((mild, SINGLE), (mild, MULTI), (mild_asymmetric, MULTI)),
    ):
        logits = torch.tensor([[size, -size, 0.0]], requires_grad=True)
        loss = loss_for(labels, None, settings)(logits, torch.tensor([[1.0, 0.0, 0.0]]))
        loss.backward()
        assert loss.isfinite() and logits.grad.isfinite().all()


def test_effective_weights_are_those_of_the_paper_and_closer_to_1():
    counts = np.array([5000, 500, 50])
    weights = class_weights_from_counts(counts, counts.sum(), SINGLE, "effective")
    expected = np.array([(1 - 0.999) / (1 - 0.999**n) for n in counts])
    assert weights == pytest.approx(expected / expected.mean(), rel=1e-5)
    balanced = class_weights_from_counts(counts, counts.sum(), SINGLE)
    assert weights[2] / weights[0] < balanced[2] / balanced[0]


def test_logit_adjustment_of_several_labels_adds_the_log_odds_of_each(batch):
    logits, targets = batch[MULTI_LABEL]
    frequencies = np.array([0.7, 0.2, 0.5])
    losses = TaskLoss(MULTI, LossConfig(logit_adjustment=1), frequencies=frequencies)
    adjusted = logits + torch.tensor(np.log(frequencies / (1 - frequencies)), dtype=torch.float32)
    torch.testing.assert_close(losses(logits, targets), TaskLoss(MULTI)(adjusted, targets))


def test_bad_loss_settings_are_one_sentence():
    with pytest.raises(InputError, match="--loss asymmetric is for multi-label tasks"):
        loss_for(SINGLE, None, ASYMMETRIC)
    with pytest.raises(InputError, match="Unknown --loss 'focl': did you mean 'focal'"):
        LossConfig(loss="focl")
    with pytest.raises(InputError, match="Unknown --class_weights 'ballanced': did you mean 'balanced'"):
        LossConfig(class_weights="ballanced")


def test_logit_adjustment_adds_log_frequencies_in_training_only(batch):
    logits, targets = batch[SINGLE_LABEL]
    frequencies = np.array([0.7, 0.2, 0.1])
    losses = TaskLoss(SINGLE, LossConfig(logit_adjustment=0.5), frequencies=frequencies)
    adjusted = logits + 0.5 * torch.tensor(frequencies, dtype=torch.float32).log()
    expected = functional.cross_entropy(adjusted, targets, reduction="none")
    torch.testing.assert_close(losses(logits, targets), expected)
    plain = functional.cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(losses.of_logits(logits, targets), plain)
    assert losses.settings()["logit_adjustment"] == 0.5 and "logit_adjustment" not in TaskLoss(SINGLE).settings()
    with pytest.raises(InputError, match="needs the frequency of each class"):
        TaskLoss(SINGLE, LossConfig(logit_adjustment=1))
