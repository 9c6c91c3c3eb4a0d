"""Partial labels: an unknown label is NaN, and changes neither the loss nor a score nor a plot.

See test_partial_corpus.py for a corpus of them, from its index to its report.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from augmenting import augmented
from sklearn.metrics import average_precision_score

from hf_audio.analysis.plots import confusion_shares, plot_roc_pr
from hf_audio.augment import Mixup, Normalization
from hf_audio.augment.mixup import mixup_numbers
from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.losses import class_weights_from_counts, loss_for, smooth_targets
from hf_audio.metrics import average_per_clip, choose_threshold, classification_metrics, validation_metrics

NAN = float("nan")
NAMES = ("flute", "trumpet", "voice")
THREE = LabelSpace(NAMES, MULTI_LABEL)
# Known: 3 labels of flute, 2 of trumpet, 1 of voice, which is absent. Where labels are unknown, scores are extreme.
TARGETS = np.array([[1, 0, NAN], [NAN, 1, 0], [0, NAN, NAN], [1, NAN, NAN]])
SCORES = np.array([[0.6, 0.65, 0.99], [0.99, 0.7, 0.2], [0.8, 0.1, 0.9], [0.3, 0.9, 0.1]])


# Loss and augmentation


def test_a_loss_worked_by_hand():
    logits, targets = torch.tensor([[2.0, -1.0, 5.0], [0.5, 3.0, -2.0]]), torch.tensor([[1, NAN, 0], [NAN, NAN, 1]])
    terms = [math.log1p(math.exp(-2)), math.log1p(math.exp(5)), 4 * math.log1p(math.exp(2))]
    weights = np.array([1, 1, 4], dtype=np.float32)
    assert loss_for(THREE, weights)(logits, targets).item() == pytest.approx(sum(terms) / 6)


@pytest.mark.parametrize("weights", [None, np.array([0.5, 2.0, 9.0], dtype=np.float32)], ids=["plain", "weighted"])
def test_logits_of_unknown_classes_change_neither_loss_nor_gradient(weights):
    random = torch.Generator().manual_seed(0)
    targets = (torch.rand(8, 3, generator=random) > 0.5).float()
    unknown = torch.rand(8, 3, generator=random) > 0.5
    targets[unknown] = NAN
    loss, logits = loss_for(THREE, weights), torch.randn(8, 3, generator=random)
    results = []
    for said in (0.0, 40.0, -math.inf, math.inf):
        given = logits.masked_fill(unknown, said).requires_grad_()
        value = loss(given, targets)
        value.backward()
        assert (given.grad[unknown] == 0).all() and (given.grad[~unknown] != 0).all()
        results.append((value.detach(), given.grad))
    assert all(torch.equal(value, results[0][0]) and torch.equal(grad, results[0][1]) for value, grad in results)


def test_micro_batches_with_uneven_known_labels_average_to_the_batch():
    random = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(12, 3, generator=random), torch.ones(12, 3)
    targets[:6], targets[7:, 1:], targets[:5] = 0, NAN, NAN  # in the first part almost nothing is known
    loss = loss_for(THREE)
    parts = [loss(*part) for part in zip(logits.split(4), targets.split(4), strict=True)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss(logits, targets))


def test_smoothing_keeps_unknown_targets_unknown():
    smooth = smooth_targets(torch.tensor([[1, 0, NAN]]), 0.1, THREE)
    torch.testing.assert_close(smooth, torch.tensor([[0.95, 0.05, NAN]]), equal_nan=True)


@pytest.mark.parametrize(
    ("kind", "share", "wanted"),
    [
        ("interpolate", 0.75, [[0.75, NAN, NAN, 0.25, NAN], [0.25, NAN, NAN, 0.75, NAN]]),
        ("interpolate", 1.0, [[1, 0, NAN, 0, 1], [0, NAN, NAN, 1, NAN]]),
        ("union", 0.75, [[1, NAN, NAN, 1, 1], [1, NAN, NAN, 1, 1]]),
        ("union", 0.98, [[1, 0, NAN, 0, 1], [0, NAN, NAN, 1, NAN]]),  # the partner is inaudible
    ],
)
def test_mixed_labels_are_known_where_both_are(kind, share, wanted):
    targets = torch.tensor([[1, 0, NAN, 0, 1], [0, NAN, NAN, 1, NAN]])
    drawn = mixup_numbers(np.full(2, share, dtype=np.float32), np.array([1, 0]))
    _, mixed, _ = augmented(Mixup(1.0, kind), Normalization(0.0, 0.5), torch.randn(2, 7, 4), targets, drawn)
    torch.testing.assert_close(mixed, torch.tensor(wanted), equal_nan=True)


def test_class_weights_compare_known_negatives_with_positives():
    weights = class_weights_from_counts(np.array([10, 5, 4]), np.array([20, 20, 5]), THREE)
    assert weights == pytest.approx([1, 3, 0.25])


# Scores


def test_metrics_worked_by_hand():
    found = classification_metrics(SCORES, TARGETS, THREE, threshold=0.5)
    # known: 2 hits (clip 0 flute, 1 trumpet), 2 false alarms (0 trumpet, 2 flute), 1 miss (3 flute), 1 true negative
    assert found["f1_micro"] == pytest.approx(4 / 7) and found["hamming_loss"] == pytest.approx(3 / 6)
    assert found["accuracy"] == pytest.approx(1 / 4), "all known labels are right in clip 1 only"
    assert found["f1_samples"] == pytest.approx((2 / 3 + 1 + 0 + 0) / 4)
    flute, trumpet, voice = (found["per_class"][name] for name in NAMES)
    wanted = {"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "average_precision": 7 / 12, "roc_auc": 0, "support": 2}
    assert flute == pytest.approx(wanted)
    wanted = {"precision": 1 / 2, "recall": 1, "f1": 2 / 3, "average_precision": 1, "roc_auc": 1, "support": 1}
    assert trumpet == pytest.approx(wanted)
    assert voice == dict.fromkeys(wanted) | {"support": 0}, "the only known label is an absence"
    assert found["f1_macro"] == pytest.approx(7 / 12) and found["roc_auc_macro"] == pytest.approx(1 / 2)
    assert found["mean_average_precision"] == pytest.approx((7 / 12 + 1) / 2)
    assert found["lrap"] == pytest.approx((1 / 2 + 1) / 2), "of clip 3 only the flute is known: nothing to rank"
    json.dumps(found, allow_nan=False)


def test_scores_of_unknown_classes_change_no_metric():
    random = np.random.default_rng(0)
    targets = (random.random((60, 5)) < 0.4).astype(np.float32)
    targets[random.random(targets.shape) < 0.5] = NAN
    labels, scores = LabelSpace(tuple("abcde"), MULTI_LABEL), random.random(targets.shape)
    others = np.where(np.isnan(targets), random.random(targets.shape), scores)
    assert validation_metrics(scores, targets, labels) == validation_metrics(others, targets, labels)
    assert classification_metrics(scores, targets, labels) == classification_metrics(others, targets, labels)
    known = ~np.isnan(targets)
    assert choose_threshold(scores, targets) == choose_threshold(scores[known][:, None], targets[known][:, None])
    complete = classification_metrics(scores, np.nan_to_num(targets), labels)
    assert complete["per_class"]["a"]["average_precision"] != pytest.approx(
        classification_metrics(scores, targets, labels)["per_class"]["a"]["average_precision"]
    )


@pytest.mark.filterwarnings("error")
def test_no_known_labels_at_all():
    found = classification_metrics(SCORES, np.full((4, 3), NAN), THREE)
    for name in ("accuracy", "f1_macro", "f1_samples", "hamming_loss", "mean_average_precision", "lrap"):
        assert found[name] is None, name
    assert choose_threshold(SCORES, np.full((4, 3), NAN)) == 0.5


def test_windows_of_a_clip_have_the_same_unknown_labels():
    clips = average_per_clip(
        np.arange(6.0).reshape(3, 2), np.array([[1, NAN], [NAN, 0], [1, NAN]]), np.array([4, 9, 4])
    )
    np.testing.assert_array_equal(clips.targets, [[1, NAN], [NAN, 0]])
    with pytest.raises(InputError, match="different labels"):
        average_per_clip(np.zeros((2, 2)), np.array([[1, NAN], [1, 0]]), np.array([1, 1]))


def test_plots_and_tables_use_known_labels():
    decisions = SCORES >= 0.5
    shares = confusion_shares(TARGETS, decisions)
    # flute is present in clips 0 and 3 and decided in one of them; of these two, trumpet is known in clip 0 only
    np.testing.assert_allclose(shares, [[1 / 2, 1, NAN], [NAN, 1, 0], [NAN, NAN, NAN]])
    scores = classification_metrics(SCORES, TARGETS, THREE)
    _, precision_recall = plot_roc_pr(SCORES, TARGETS, scores, "test").axes
    known = ~np.isnan(TARGETS)
    micro = average_precision_score(TARGETS[known], SCORES[known])
    assert f"micro, average {micro:.3f}" in [text.get_text() for text in precision_recall.get_legend().get_texts()]
