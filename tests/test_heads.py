"""Heads, and metadata as their input, with an identity backbone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from hf_audio.models.classifier import MULTI_LABEL, SINGLE_LABEL, AudioClassifier, AudioClassifierConfig
from hf_audio.models.heads import MARGIN_HEADS, ArcFaceHead, FluffyHead, build_head

SIZE, CLASSES = 6, 4


class Plain(AudioClassifier):
    """A model whose embedding is the window."""

    def __init__(self, config: AudioClassifierConfig) -> None:
        super().__init__(config)
        self.add_head(SIZE)

    def embedding_of(self, windows):
        return windows.values


def plain(**settings) -> Plain:
    torch.manual_seed(0)
    return Plain(AudioClassifierConfig(num_labels=CLASSES, **settings))


@pytest.fixture
def embedding() -> torch.Tensor:
    return torch.randn(5, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("sizes", [(3,), (5, 2)])
def test_the_fluffy_head_is_one_network_per_class(sizes, embedding):
    torch.manual_seed(0)
    head = FluffyHead(SIZE, CLASSES, sizes)
    columns = []
    for index in range(CLASSES):
        hidden = embedding
        for number, layer in enumerate(head.layers):
            hidden = hidden @ layer.weight[index] + layer.bias[index]
            hidden = hidden if number == len(sizes) else functional.relu(hidden)
        columns.append(hidden[:, 0])
    torch.testing.assert_close(head(embedding), torch.stack(columns, dim=1))


def test_networks_of_the_fluffy_head_do_not_learn_from_other_classes(embedding):
    head = build_head("fluffy", SIZE, CLASSES, sizes=(3,))
    head(embedding)[:, 2].sum().backward()
    for weights in head.parameters():
        moved = weights.grad.flatten(1).abs().sum(dim=1)
        assert moved[2] > 0 and not moved[[0, 1, 3]].any()


def test_a_deep_head_has_the_given_sizes(embedding):
    head = build_head("deep", SIZE, CLASSES, sizes=(1000, 500))
    assert [(layer.in_features, layer.out_features) for layer in head.layers] == [
        (SIZE, 1000),
        (1000, 500),
        (500, CLASSES),
    ]
    first, second, last = head.layers
    torch.testing.assert_close(head(embedding), last(functional.relu(second(functional.relu(first(embedding))))))


def test_the_angular_margin_lowers_the_true_class_only_in_training(embedding):
    torch.manual_seed(0)
    head = ArcFaceHead(SIZE, CLASSES, margin=0.3, scale=16.0)
    targets = functional.one_hot(torch.arange(5) % CLASSES, CLASSES).float()
    without = head(embedding)
    cosine = functional.normalize(embedding) @ functional.normalize(head.weight).T
    torch.testing.assert_close(without, 16 * cosine)
    with_margin = head(embedding, targets)
    is_true = targets.bool()
    torch.testing.assert_close(with_margin[~is_true], without[~is_true], rtol=0, atol=1e-4)
    assert (with_margin[is_true] < without[is_true] - 0.1).all()
    wanted = 16 * torch.cos(torch.acos(cosine[is_true]) + 0.3)
    torch.testing.assert_close(with_margin[is_true], wanted, rtol=1e-4, atol=1e-4)
    head.eval()
    torch.testing.assert_close(head(embedding, targets), without)


def test_the_margin_never_raises_the_logit_of_a_distant_embedding():
    head = ArcFaceHead(2, 1, margin=0.5)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0]]))
    opposite = torch.tensor([[-1.0, 0.01], [-1.0, 0.0]])
    assert (head(opposite, torch.ones(2, 1)) <= head(opposite) + 1e-4).all()


@pytest.mark.parametrize("name", MARGIN_HEADS)
def test_margin_heads_have_a_bias_only_for_several_labels(name):
    assert plain(head=name).classifier.bias is None
    assert plain(head=name, problem_type=MULTI_LABEL).classifier.bias.shape == (CLASSES,)


@pytest.mark.parametrize(
    ("name", "margin"), [("arcface", None), ("cosface", None), ("arcface", 0.5), ("cosface", 0.35)]
)
def test_heads_with_a_margin_equal_the_papers_formulas(name, margin, embedding):
    """Compared with NumPy, also for mixed targets, and with pytorch-metric-learning's losses."""
    head = plain(head=name, head_margin=margin, head_scale=10.0).classifier.train()
    margin = margin or {"arcface": 0.3, "cosface": 0.2}[name]
    targets = functional.one_hot(torch.arange(5) % CLASSES, CLASSES).float()
    targets[4] = torch.tensor([0.7, 0.3, 0, 0])
    sides = [
        values / np.linalg.norm(values, axis=1, keepdims=True)
        for values in (embedding.numpy(), head.weight.detach().numpy())
    ]
    cosine = np.asarray(sides[0]) @ np.asarray(sides[1]).T
    if name == "arcface":
        expected = 10 * np.cos(np.minimum(np.arccos(cosine) + margin * targets.numpy(), np.pi))
    else:
        expected = 10 * (cosine - margin * targets.numpy())
    np.testing.assert_allclose(head(embedding, targets).detach(), expected, rtol=1e-4, atol=1e-4)

    losses = pytest.importorskip("pytorch_metric_learning.losses", reason="the extra test has pytorch-metric-learning")
    made, theirs = (losses.ArcFaceLoss, math.degrees(margin)) if name == "arcface" else (losses.CosFaceLoss, margin)
    peer = made(CLASSES, SIZE, margin=theirs, scale=10.0)
    peer.W.data = head.weight.detach().T.clone()
    ours = functional.cross_entropy(head(embedding[:4], targets[:4]), torch.arange(4))
    torch.testing.assert_close(ours, peer(embedding[:4], torch.arange(4)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(head.eval()(embedding, targets).detach(), 10 * cosine, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MARGIN_HEADS)
def test_gradients_of_a_margin_equal_numerical_ones(name):
    head = build_head(name, SIZE, CLASSES)
    cosine = torch.linspace(-0.9, 0.9, 5 * CLASSES, dtype=torch.float64).reshape(5, CLASSES).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: head.with_margin(x, torch.full((5, CLASSES), 0.1)), cosine)


def test_metadata_is_appended_and_may_be_unknown(embedding):
    metadata = {"genre": ["cla", "jaz", "pop"], "drums": ["yes", "no"]}
    model = plain(metadata=metadata, head="deep", head_sizes=[8]).eval()
    assert model.classifier.layers[0].in_features == SIZE + 4 + 3
    unknown = torch.zeros(5, 2, dtype=torch.long)
    torch.testing.assert_close(model(embedding).logits, model(embedding, metadata=unknown).logits)
    known = unknown + torch.tensor([[0, 1]])
    assert not torch.allclose(model(embedding).logits, model(embedding, metadata=known).logits)
    seen = model.with_metadata(model.embed(embedding), known)
    order = list(model.config.metadata)
    assert seen.shape == (5, SIZE + 7) and torch.equal(seen[:, :SIZE], embedding)
    first_size = len(metadata[order[0]]) + 1
    assert seen[:, SIZE:].sum() == 10 and seen[:, SIZE].all() and seen[:, SIZE + first_size + 1].all()


def test_metadata_keeps_its_order_in_a_saved_config(tmp_path):
    """transformers sorts keys in its JSON files, so the order of fields cannot depend on a dict."""
    config = AudioClassifierConfig(metadata={"genre": ["pop", "cla"], "drums": ["yes", "no"]})
    config.save_pretrained(tmp_path)
    loaded = AudioClassifierConfig.from_pretrained(tmp_path)
    assert list(loaded.metadata.items()) == list(config.metadata.items())


def test_labels_may_be_indices_or_probabilities(embedding):
    model = plain(problem_type=SINGLE_LABEL)
    indices = torch.tensor([0, 3, 2, 1, 1])
    one_hot = functional.one_hot(indices, CLASSES)
    wanted = functional.cross_entropy(model(embedding).logits, indices)
    for labels in (indices, one_hot, one_hot.float()):
        torch.testing.assert_close(model(embedding, labels=labels).loss, wanted)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"head": "liner"}, "Unknown head 'liner': expected one of linear, deep, fluffy, arcface, cosface"),
        ({"head": "arcface", "head_sizes": [4]}, r"arcface head has no hidden layers, found sizes \[4\]"),
        ({"head_sizes": [4]}, r"linear head has no hidden layers"),
    ],
)
def test_invalid_settings_of_a_head_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        plain(**settings)
