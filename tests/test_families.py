"""The family loss: a lower cost of confusions within a family, sources of families, and refused families."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml

from hf_audio import parse_recipe
from hf_audio.config import LossConfig
from hf_audio.corpora import corpus_named, corpus_names, families_of_corpus
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.losses import TaskLoss

LABELS = LabelSpace(("cello", "flute", "horn", "oboe", "viola"), SINGLE_LABEL)
FAMILIES = {"strings": ["viola", "cello"], "woodwinds": ["flute", "oboe"], "brass": ["horn"]}


@pytest.fixture
def family_loss(tmp_path):
    def made(families=FAMILIES, labels=LABELS, share=0.5, **options) -> TaskLoss:
        (tmp_path / "families.yaml").write_text(families if isinstance(families, str) else yaml.safe_dump(families))
        settings = LossConfig(loss="family", families=str(tmp_path / "families.yaml"), within_family=share)
        return TaskLoss(labels, settings, **options)

    return made


def plain_losses(logits, targets, weights, share):
    """-log p(family) - share * log p(class | family) in NumPy, summed over the classes of a target."""
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    family = [[0, 4], [1, 3], [2], [1, 3], [0, 4]]
    found = np.zeros(len(p))
    for one in range(5):
        of_family = p[:, family[one]].sum(1)
        found -= weights[one] * targets[:, one] * (np.log(of_family) + share * np.log(p[:, one] / of_family))
    return found


@pytest.mark.parametrize("weights", [None, np.array([0.5, 1, 2, 1, 4], dtype=np.float32)], ids=["plain", "weighted"])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_it_equals_the_papers_loss_on_two_levels(family_loss, share, weights):
    random = np.random.default_rng(0)
    logits, targets = random.normal(size=(9, 5)) * 3, random.dirichlet(np.full(5, 0.3), size=9)
    loss = family_loss(share=share, class_weights=weights)
    expected = plain_losses(logits, targets, np.ones(5) if weights is None else weights, share)
    inputs = torch.from_numpy(logits).requires_grad_()
    np.testing.assert_allclose(loss(inputs, torch.from_numpy(targets)).detach(), expected, rtol=1e-5)
    assert torch.autograd.gradcheck(lambda x: loss(x, torch.from_numpy(targets)), inputs)
    if share == 1:
        plain = TaskLoss(LABELS, class_weights=weights)
        torch.testing.assert_close(loss(inputs, torch.from_numpy(targets)), plain(inputs, torch.from_numpy(targets)))


def test_confusing_within_a_family_costs_less_than_between_two(family_loss):
    loss, viola = family_loss(), torch.eye(5)[[4]]
    to_cello, to_flute = (torch.tensor([[4.0 if one == wrong else 0.0 for one in range(5)]]) for wrong in (0, 1))
    plain = TaskLoss(LABELS)
    torch.testing.assert_close(plain(to_cello, viola), plain(to_flute, viola))
    assert loss(to_cello, viola) < 0.6 * loss(to_flute, viola)


def test_training_confuses_families_less(family_loss):
    """The model is so weak that it has to confuse some classes."""
    rates, classes, family_of = [], torch.arange(300) % 5, torch.tensor([0, 1, 2, 1, 0])
    for loss in (TaskLoss(LABELS), family_loss(share=0.1)):
        torch.manual_seed(0)
        points = torch.randn(5, 6)[classes] + 0.9 * torch.randn(300, 6)
        model = torch.nn.Sequential(torch.nn.Linear(6, 2), torch.nn.Linear(2, 5))  # a bottleneck of 2 for five classes
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        for _ in range(150):
            optimizer.zero_grad()
            loss(model(points), torch.eye(5)[classes]).mean().backward()
            optimizer.step()
        rates.append((family_of[model(points).argmax(1)] != family_of[classes]).float().mean().item())
    assert rates[1] < rates[0]


def test_extreme_logits_have_finite_losses_and_gradients(family_loss):
    for size in (200.0, -200.0):
        logits = torch.tensor([[size, -size, 0.0, 0.0, size]], requires_grad=True)
        value = family_loss()(logits, torch.eye(5)[[1]])
        value.sum().backward()
        assert value.isfinite().all() and logits.grad.isfinite().all()


def test_families_of_corpora_contain_each_class_once():
    assert families_of_corpus("ESC-50")["animals"][:2] == ("dog", "rooster")
    assert families_of_corpus("my own recordings") is None
    known = 0
    for name in corpus_names():
        card = corpus_named(name).card
        families = families_of_corpus(card.name)
        if families is not None:
            known += 1
            names = [one for classes in families.values() for one in classes]
            assert sorted(names) == sorted(card.label_names) and card.problem_type == SINGLE_LABEL
    assert known >= 2


def test_families_are_reduced_to_the_classes_of_the_data():
    loss = LossConfig(loss="family", families="corpus")
    found = TaskLoss(LabelSpace(("cat", "dog", "rain"), SINGLE_LABEL), loss, corpus="ESC-50").settings()
    assert found["families"] == {"animals": ("dog", "cat"), "natural soundscapes": ("rain",)}
    assert found["within_family"] == 0.5 and "focal_gamma" not in found
    with pytest.raises(InputError, match=r"tiny has no class families: use --families FILE.yaml"):
        TaskLoss(LABELS, loss, corpus="tiny")


@pytest.mark.parametrize(
    ("families", "sentence"),
    [
        ({**FAMILIES, "strings": ["viola", "celo"]}, "families.yaml lists 'celo' in a family.* did you mean 'cello'"),
        (
            {**FAMILIES, "brass": ["horn", "oboe"]},
            "lists the class 'oboe' in 2 families: put each class in exactly one",
        ),
        ({**FAMILIES, "strings": ["viola"]}, "lists the class 'cello' in no family"),
        ({"all": list(LABELS.names)}, "has 1 families for 5 classes, which has no effect"),
        ({name: [name] for name in LABELS.names}, "has 5 families for 5 classes, which has no effect"),
        ({**FAMILIES, "strings": "viola"}, "has no list of classes for family 'strings'"),
        ("[viola, cello]", "families.yaml"),
        ("strings: !!python/object/apply:os.system [true]", "families.yaml"),
    ],
    ids=range(8),
)
def test_invalid_families_are_refused(family_loss, families, sentence):
    with pytest.raises(InputError, match=sentence):
        family_loss(families)


def test_settings_of_families_need_each_other(tmp_path):
    for flags, sentence in (
        ("--loss family", "--loss family needs families of classes: give --families corpus, or a YAML file"),
        ("--families corpus", "--families would have no effect here: it only applies to --loss family"),
        ("--within_family 0.2", "--within_family would have no effect here"),
        ("--loss family --families corpus --within_family 2", "--within_family must be a number, between 0 and 1"),
    ):
        with pytest.raises(InputError, match=sentence):
            parse_recipe({"output_dir": "runs/x"}, argv=flags.split())
    with pytest.raises(InputError, match="--loss family is for single-label tasks"):
        TaskLoss(LabelSpace(LABELS.names, MULTI_LABEL), LossConfig(loss="family", families="corpus"))
    with pytest.raises(InputError, match=r"no.yaml cannot be read"):
        TaskLoss(LABELS, LossConfig(loss="family", families=str(tmp_path / "no.yaml")))
