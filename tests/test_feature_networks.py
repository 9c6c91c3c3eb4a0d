from __future__ import annotations

import pytest
import torch

from hf_audio.models.feature_networks import (
    FeatureCNN,
    FeatureCNNConfig,
    FeatureMLP,
    FeatureMLPConfig,
    FeatureRNN,
    FeatureRNNConfig,
)

NETWORKS = {"mlp": (FeatureMLP, FeatureMLPConfig), "cnn": (FeatureCNN, FeatureCNNConfig)}
NETWORKS["rnn"] = (FeatureRNN, FeatureRNNConfig)


def network(kind: str, **settings):
    model, config = NETWORKS[kind]
    torch.manual_seed(0)
    return model(config(**{"num_features": 20, "hidden_size": 8, "num_labels": 3, **settings})).eval()


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_single_vector_is_one_step(kind):
    model, features = network(kind), torch.randn(4, 20)
    torch.testing.assert_close(model.embed(features), model.embed(features[:, None]))
    with pytest.raises(ValueError, match=r"Expected features \[batch, steps, 20\] .* found \[4, 5, 19\]"):
        model(torch.zeros(4, 5, 19))


@pytest.mark.parametrize("kind", NETWORKS)
def test_defaults_are_the_result_of_the_second_seeds_search(kind):
    config = NETWORKS[kind][1]()
    assert (config.num_features, config.hidden_size, config.num_layers, config.dropout) == (174, 256, 2, 0.3)
    model = NETWORKS[kind][0](config)
    assert model.classifier.layers[-1].in_features == 256
    dropouts = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert 0.3 in [*dropouts, getattr(getattr(model, "recurrence", None), "dropout", None)]


def test_the_mlp_sees_the_mean_over_steps():
    model, features = network("mlp"), torch.randn(4, 7, 20)
    torch.testing.assert_close(model.embed(features), model.embed(features.mean(dim=1)))
    weights = [layer.linear.weight.shape for layer in network("mlp", num_layers=3).layers]
    assert weights == [(8, 20), (8, 8), (8, 8)]


def test_the_cnn_reads_each_step_alone_and_depends_on_feature_order():
    model, features = network("cnn"), torch.randn(4, 7, 20)
    each = torch.stack([model.embed(features[:, step]) for step in range(7)])
    torch.testing.assert_close(model.embed(features), each.mean(dim=0))
    assert not torch.allclose(model.embed(features), model.embed(features.flip(2)))
    with pytest.raises(ValueError, match="20 features are too few for 5 convolutions"):
        network("cnn", num_layers=5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_rnn_depends_on_the_order_of_steps(cell, bidirectional):
    model = network("rnn", cell=cell, bidirectional=bidirectional)
    features = torch.randn(4, 7, 20, requires_grad=True)
    embedding = model.embed(features)
    assert embedding.shape == (4, 16 if bidirectional else 8)
    assert not torch.allclose(embedding, model.embed(features.flip(1)))
    embedding.sum().backward()
    assert (features.grad.abs().sum(dim=2) > 0).all(), "every step must have an effect"
    with pytest.raises(ValueError, match="Unknown cell 'elman'"):
        network("rnn", cell="elman")
