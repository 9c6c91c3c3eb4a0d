"""Several timm networks side by side over groups of classes."""

import pytest
import torch
from transformers import AutoModelForAudioClassification

from hf_audio.corpora.irmas import INSTRUMENTS
from hf_audio.models.timm_backbone import ParallelTimmClassifier, ParallelTimmConfig, class_groups

NAMES = ("violin", "bell", "hum", "organ", "flute")
GROUPS = [["organ", "violin"], [2], ["flute", 1]]
LABELS = {"id2label": dict(enumerate(NAMES)), "label2id": {name: index for index, name in enumerate(NAMES)}}


def config(**settings) -> ParallelTimmConfig:
    return ParallelTimmConfig(**{"timm_name": "test_resnet", "num_backbones": 3, **LABELS, **settings})


def windows(*shape: int) -> torch.Tensor:
    return torch.randn(shape or (4, 70, 64), generator=torch.Generator().manual_seed(0))


def test_eleven_instruments_over_four_mobilenets():
    labels = {"id2label": dict(enumerate(INSTRUMENTS)), "label2id": {name: i for i, name in enumerate(INSTRUMENTS)}}
    for combine, head_sizes in (("features", [(11, 4 * 1024)]), ("predictions", [(3, 1024)] * 3 + [(2, 1024)])):
        with torch.device("meta"):
            model = ParallelTimmClassifier(ParallelTimmConfig(combine=combine, **labels))
            assert model(torch.empty(2, 300, 128)).logits.shape == (2, 11)
        assert len(model.backbones()) == 4
        found = [tuple(weights.shape) for name, weights in model.classifier.named_parameters() if "weight" in name]
        assert found == head_sizes
    assert class_groups(model.config) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]]


def test_networks_have_different_initial_weights():
    model = ParallelTimmClassifier(config())
    first, second, _ = (backbone.network.conv1[0].weight for backbone in model.backbones())
    assert not torch.equal(first, second)


def test_each_logit_comes_from_its_own_network():
    model = ParallelTimmClassifier(config(combine="predictions", groups=GROUPS)).eval()
    assert model.config.num_backbones == 3
    for index, network in enumerate([0, 2, 1, 0, 2]):  # violin, bell, hum, organ, flute
        model.zero_grad()
        model(windows()).logits[:, index].sum().backward()
        touched = [
            any(weights.grad is not None and weights.grad.any() for weights in backbone.parameters())
            for backbone in model.backbones()
        ]
        assert touched == [number == network for number in range(3)], NAMES[index]


def test_features_go_to_one_head():
    model = ParallelTimmClassifier(config(combine="features")).eval()
    model(windows()).logits[:, 0].sum().backward()
    assert all(weights.grad is not None for weights in model.networks.parameters())
    separate = [backbone(windows()) for backbone in model.backbones()]
    torch.testing.assert_close(model.embed(windows()), torch.cat(separate, dim=1))


@pytest.mark.parametrize("head", ["linear", "deep", "fluffy", "arcface", "cosface"])
def test_saved_and_loaded_with_every_head_and_metadata(head, tmp_path):
    sizes = {"head_sizes": [8]} if head in ("deep", "fluffy") else {}
    kinds = {"head": head, "metadata": {"drums": ["no", "yes"]}, "problem_type": "multi_label_classification"}
    model = ParallelTimmClassifier(config(combine="predictions", groups=GROUPS, trainable_blocks=1, **sizes, **kinds))
    metadata = torch.tensor([[0], [1], [2], [1]])
    labels = torch.rand(4, 5).round()
    model(windows(), labels=labels, metadata=metadata).loss.backward()
    trained = {name for name, weights in model.named_parameters() if weights.grad is not None}
    assert trained == {name for name, weights in model.named_parameters() if weights.requires_grad}
    model.eval().save_pretrained(tmp_path)
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert isinstance(loaded, ParallelTimmClassifier) and loaded.config.groups == GROUPS
    assert {name for name, weights in loaded.named_parameters() if weights.requires_grad} == trained
    found, expected = (one(windows(), metadata=metadata).logits for one in (loaded, model))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert not torch.equal(expected, model(windows()).logits)  # metadata changes the logits


def test_arcface_pushes_each_class_by_its_own_target():
    model = ParallelTimmClassifier(config(combine="predictions", groups=GROUPS, head="arcface", trainable_blocks=0))
    plain = model(windows()).logits
    model.config.problem_type = "multi_label_classification"
    labels = torch.zeros(4, 5)
    labels[:, 1] = 1
    pushed = model(windows(), labels=labels).logits
    assert (pushed[:, 1] < plain[:, 1] - 0.5).all()
    others = [0, 2, 3, 4]
    torch.testing.assert_close(pushed[:, others], plain[:, others], rtol=1e-4, atol=1e-4)


def test_compiles_without_a_graph_break():
    model = ParallelTimmClassifier(config(combine="predictions", groups=GROUPS)).eval()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(input_values=windows()).logits, model(windows()).logits)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"combine": "votes"}, "combine must be one of features, predictions .* found 'votes' and 3"),
        ({"groups": GROUPS, "combine": "features"}, "groups are for combine='predictions'"),
        ({"groups": [["violin", "bell"], ["hum"]], "combine": "predictions"}, "Each of the 5 classes"),
        ({"groups": [["violin", "bell", "hum"], ["organ", "violin"]], "combine": "predictions"}, "must be in one of 2"),
        ({"groups": [["violin", "bell", "hum"], ["organ", "trumpet"]], "combine": "predictions"}, "'trumpet'"),
        ({"num_backbones": 6, "combine": "predictions"}, "no group may be empty"),
    ],
)
def test_errors_say_what_to_do(settings, message):
    with pytest.raises(ValueError, match=message):
        ParallelTimmClassifier(config(**settings))
