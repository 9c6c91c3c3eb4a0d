"""Triplet and center loss: compared with NumPy and a maintained library, and that they make classes more compact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from hf_audio import parse_recipe
from hf_audio.config import LossConfig
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.losses import TaskLoss
from hf_audio.losses.of_embeddings import CenterLoss, batch_hard_triplet

LABELS = LabelSpace(("bell", "hiss", "hum"), SINGLE_LABEL)
CLASSES = torch.tensor([0, 0, 1, 1, 2, 0, 1, 2, 2, 2])
TARGETS = functional.one_hot(CLASSES, 3).float()


@pytest.fixture
def embedding() -> torch.Tensor:
    return torch.randn(10, 4, generator=torch.Generator().manual_seed(3))


def plain_triplet(embedding, classes, margin):
    """The loss of every window by plain loops. A class of -1 is none."""
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    found = []
    for one in range(len(unit)):
        others = [other for other in range(len(unit)) if other != one and classes[other] >= 0 and classes[one] >= 0]
        distance = {other: np.linalg.norm(unit[one] - unit[other]) for other in others}
        same = [distance[other] for other in others if classes[other] == classes[one]]
        rest = [distance[other] for other in others if classes[other] != classes[one]]
        found.append(max(0.0, margin + max(same) - min(rest)) if same and rest else 0.0)
    return np.array(found)


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0])
def test_the_triplet_loss_uses_the_hardest_partners(embedding, margin):
    found = batch_hard_triplet(embedding, TARGETS, margin)
    np.testing.assert_allclose(found, plain_triplet(embedding.numpy(), CLASSES.numpy(), margin), atol=1e-6)
    assert (found > 0).any()
    losses = pytest.importorskip("pytorch_metric_learning.losses", reason="the extra test has pytorch-metric-learning")
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    peer = losses.TripletMarginLoss(margin=margin, reducer=MeanReducer())  # also normalizes embeddings to length 1
    expected = peer(embedding, CLASSES, BatchHardMiner()(embedding, CLASSES))
    torch.testing.assert_close(found.mean(), expected, rtol=1e-5, atol=1e-6)


def test_mixed_windows_and_those_alone_in_their_class_have_no_triplets(embedding):
    targets = TARGETS.clone()
    targets[2], targets[6] = torch.tensor([0.3, 0.7, 0.0]), torch.tensor([0.0, 0.5, 0.5])
    classes = CLASSES.numpy().copy()
    classes[[2, 6]] = -1
    found = batch_hard_triplet(embedding, targets, 0.5)
    np.testing.assert_allclose(found, plain_triplet(embedding.numpy(), classes, 0.5), atol=1e-6)
    assert found[2] == found[6] == found[3] == 0, "two windows are mixed, and one is alone in its class"
    for alone in (TARGETS[:1], TARGETS[:2], TARGETS[[0, 2, 4]], torch.full((3, 3), 1 / 3)):
        values = embedding[: len(alone)].clone().requires_grad_()
        batch_hard_triplet(values, alone, 0.5).sum().backward()
        assert not values.grad.any() and values.grad.isfinite().all()


def test_equal_embeddings_have_finite_gradients():
    values = torch.ones(4, 3, requires_grad=True)
    batch_hard_triplet(values, TARGETS[:4], 0.2).sum().backward()
    assert values.grad.isfinite().all()


def test_the_center_loss_is_half_the_squared_distance_weighted_by_shares(embedding):
    loss = CenterLoss(3, 4)
    loss.centers.data = torch.randn(3, 4, generator=torch.Generator().manual_seed(4))
    targets = 0.8 * TARGETS + 0.2 * TARGETS.roll(1, 0)
    values, centers = embedding.numpy(), loss.centers.detach().numpy()
    expected = [
        sum(targets[row, one].item() * 0.5 * ((values[row] - centers[one]) ** 2).sum() for one in range(3))
        for row in range(10)
    ]
    np.testing.assert_allclose(loss(embedding, targets).detach(), expected, rtol=1e-5)


def test_losses_do_not_change_under_autocast(embedding, tmp_path):
    (tmp_path / "families.yaml").write_text("{soft: [hiss, hum], loud: [bell]}")
    family = {"loss": "family", "families": str(tmp_path / "families.yaml"), "within_family": 0.3}
    settings = LossConfig(**family, triplet_weight=0.5, center_weight=0.1)
    loss = TaskLoss(LABELS, settings, class_weights=np.array([0.3, 1.0, 2.1]), label_smoothing=0.1)
    loss.learned(4)
    logits = 3 * torch.randn(10, 3, generator=torch.Generator().manual_seed(5))
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(logits, TARGETS, embedding)
    torch.testing.assert_close(found, loss(logits, TARGETS, embedding), rtol=1e-6, atol=1e-6)


def test_gradients_equal_numerical_ones(embedding):
    settings = LossConfig(triplet_weight=0.5, triplet_margin=0.9, center_weight=0.1)
    loss = TaskLoss(LABELS, settings, class_weights=np.array([0.5, 1.0, 2.0]), label_smoothing=0.1)
    loss.learned(4).double()
    logits = torch.randn(10, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    inputs = (logits.requires_grad_(), embedding.double().requires_grad_())
    assert torch.autograd.gradcheck(lambda x, y: loss(x, TARGETS, y), inputs)


def test_class_weights_apply_to_all_losses_and_smoothing_only_to_cross_entropy(embedding):
    logits = torch.randn(10, 3, generator=torch.Generator().manual_seed(5))
    settings = LossConfig(triplet_weight=0.5, triplet_margin=0.9, center_weight=0.1)
    weights = np.array([0.5, 1.0, 2.0], dtype=np.float32)
    plain, weighted = TaskLoss(LABELS, settings), TaskLoss(LABELS, settings, class_weights=weights)
    smoothed = TaskLoss(LABELS, settings, label_smoothing=0.3)
    for loss in (plain, weighted, smoothed):
        loss.learned(4)
    of_window = torch.from_numpy(weights)[CLASSES]
    torch.testing.assert_close(weighted(logits, TARGETS, embedding), of_window * plain(logits, TARGETS, embedding))
    added = plain(logits, TARGETS, embedding) - plain(logits, TARGETS)
    assert (added > 0).all()
    torch.testing.assert_close(smoothed(logits, TARGETS, embedding) - smoothed(logits, TARGETS), added)


@pytest.mark.parametrize("settings", [{"triplet_weight": 1.0}, {"center_weight": 0.1}], ids=["triplet", "center"])
def test_embedding_losses_make_classes_more_compact(settings):
    """In a two-layer network on noisy points, distances within classes fall relative to those between class means."""
    classes = torch.arange(60) % 3
    targets, shares = functional.one_hot(classes, 3).float(), []
    for given in ({}, settings):
        torch.manual_seed(0)
        points = targets @ torch.randn(3, 8) + 0.8 * torch.randn(60, 8)
        body = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
        head = torch.nn.Linear(4, 3)
        loss = TaskLoss(LABELS, LossConfig(**given))
        own = loss.learned(4)
        optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=0.01)
        if own is not None:
            optimizer.add_param_group({"params": own.parameters(), "lr": own.learning_rate})
        for _ in range(60):
            embedding = body(points)
            optimizer.zero_grad()
            loss(head(embedding), targets, embedding if given else None).mean().backward()
            optimizer.step()
        embedding = body(points).detach()
        embedding = functional.normalize(embedding) if "triplet_weight" in settings else embedding
        means = torch.stack([embedding[number::3].mean(0) for number in range(3)])
        within = (embedding - means[classes]).norm(dim=1).mean()
        shares.append((within / torch.pdist(means).mean()).item())
    assert shares[1] < 0.8 * shares[0]


def test_they_are_refused_where_they_have_no_effect():
    several = LabelSpace(LABELS.names, MULTI_LABEL)
    for settings in ({"triplet_weight": 0.1}, {"center_weight": 0.1}):
        with pytest.raises(InputError, match="are for single-label tasks, but clips may have several labels here"):
            TaskLoss(several, LossConfig(**settings))
    for flags, sentence in (
        ("--triplet_margin 0.3", "give --triplet_weight too"),
        ("--center_learning_rate 0.1", "give --center_weight too"),
        ("--triplet_weight 1 --mixup_alpha 0.4 --mixup_probability 1", "lower their probability, or leave it out"),
        ("--triplet_weight 1 --mixup_alpha 1 --cutmix_alpha 1", "lower their probability, or leave it out"),
        ("--triplet_weight 1 --per_device_train_batch_size 2", "two others of its micro-batch"),
        ("--center_weight 0.1 --optim lomo", "--center_weight would have no effect here: this --optim groups"),
        ("--triplet_weight -1", "--triplet_weight must be a number, between 0 and 1000, found -1"),
    ):
        with pytest.raises(InputError, match=sentence):
            parse_recipe({"output_dir": "runs/x"}, argv=flags.split())
