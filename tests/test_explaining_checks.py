"""Checks of explanations: deletion and insertion curves, random weights, and the verdict from both."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from detectors import TONE, loudness_cnn, planted_tone
from test_explaining import noise_for, predictor_of

from hf_audio.explaining.chosen_windows import ModelOutput, most_certain
from hf_audio.explaining.methods import METHODS, MethodSettings
from hf_audio.explaining.perturbation_curves import NUM_STEPS, Curves, blocks_of, curves_of, random_curves
from hf_audio.explaining.questions import ask
from hf_audio.explaining.randomized_weights import correlations_with_random_weights, randomized, rank_correlation
from hf_audio.explaining.verdicts import verdict_of

SETTINGS = MethodSettings(gradient_steps=8)


@pytest.fixture(scope="module")
def question():
    return ask(loudness_cnn(), planted_tone(), TONE)


@pytest.fixture(scope="module")
def found(question):
    return METHODS["integrated_gradients"].explain(question, SETTINGS).values


def test_relevant_cells_change_the_score_faster_than_random_orders(question, found):
    curves, others = curves_of(question, found), random_curves(question, 0)
    with torch.no_grad():
        ends = [float(torch.sigmoid(question.logit(one))) for one in (question.values, question.baseline)]
    assert ends == pytest.approx([curves.deletion[0], curves.deletion[-1]])
    assert ends[::-1] == pytest.approx([curves.insertion[0], curves.insertion[-1]])
    (deletion, insertion), (of_random, into_random) = curves.areas, others.areas
    assert deletion < 0.6 < 0.7 < of_random.min() and insertion > 0.9 > into_random.max()
    assert np.all(np.diff(curves.deletion) <= 1e-7), "cells of this model have no negative effect"
    backwards = curves_of(question, -found)
    assert verdict_of([(curves, others)], [0.9, 0.1]).says_something
    flat = verdict_of([(curves, others)], [0.0], is_flat=True)
    assert not flat.says_something and flat.sentence == "Not faithful: the relevance is the same everywhere."
    half = verdict_of([(curves._replace(insertion=backwards.insertion), others)], [0.9, 0.1])
    assert not half.says_something and "falls faster than with random orders but does not rise" in half.sentence
    nothing = verdict_of([(backwards, others)], [0.9, 0.1])
    assert not nothing.says_something and nothing.sentence.startswith("Not faithful: the score depends no more on")


def test_areas_are_those_under_the_curves():
    scores = np.linspace(1.0, 0.0, NUM_STEPS + 1)
    assert Curves(scores, np.ones(NUM_STEPS + 1)).areas == pytest.approx((0.5, 1.0))


def test_blocks_are_contiguous_in_time_and_frequency(question):
    blocks = blocks_of(question)
    assert len(np.unique(blocks)) == 24 * 12 and blocks.shape == (48, 32)
    assert all(np.ptp(np.argwhere(blocks == one), axis=0).max() <= 2 for one in range(24 * 12))


@pytest.mark.parametrize("name", ["cnn", "ast_stock", "wav2vec2_convolutions"])
def test_more_random_layers_change_an_explanation_more(name):
    predictor = predictor_of(name)
    asked = ask(predictor, noise_for(predictor), 1)
    before = {name: one.clone() for name, one in asked.model.state_dict().items()}
    found = {"gradient": METHODS["gradient"].explain(asked, SETTINGS).values}
    stages = correlations_with_random_weights(asked, found, SETTINGS, seed=0)
    values = [one.correlations["gradient"] for one in stages]
    assert stages[0].reached == "head" and len(stages) >= 3
    assert values[-1] < 0.5 and values[-1] < max(values[0], 0.1)
    assert all(torch.equal(one, before[name]) for name, one in asked.model.state_dict().items()), "model was changed"
    again = correlations_with_random_weights(asked, found, SETTINGS, seed=0)
    assert [one.correlations for one in again] == [one.correlations for one in stages]


def test_layers_are_randomized_from_the_head_down():
    model = predictor_of("cnn").model
    before = {name: one.clone() for name, one in model.named_parameters()}
    changed, reached = [], []
    for name, copy in randomized(model, 0):
        reached.append(name)
        changed.append({key for key, one in copy.named_parameters() if not torch.equal(one, before[key])})
    assert reached == ["head", "layer 3", "layer 2", "layer 1"]
    assert all(less < more for less, more in itertools.pairwise(changed))
    assert {name.split(".")[0] for name in changed[0]} == {"classifier"} and changed[-1] == set(before)


def test_an_explanation_independent_of_the_weights_is_called_unfaithful():
    curves, others = Curves(np.linspace(1, 0, 11) ** 4, np.ones(11)), Curves(np.ones((5, 11)), np.zeros((5, 11)))
    same = verdict_of([(curves, others)], [1.0, 0.97])
    assert not same.says_something
    assert same.sentence.startswith(
        "Hardly faithful: with random weights, the explanation stays nearly the same (rank corr"
    )
    other = verdict_of([(curves, others)], [1.0, 0.2])
    assert other.says_something
    assert other.sentence.startswith("Faithful: the score falls and rises faster than with random orders")


def test_similarity_is_rank_correlation_and_zero_for_an_empty_map():
    values = np.random.default_rng(0).standard_normal((9, 4))
    assert rank_correlation(values, 3 * values) == pytest.approx(1.0) == rank_correlation(values, -values)
    assert rank_correlation(values, np.zeros((9, 4))) == 0.0


def test_the_most_certain_windows_without_overlap_are_chosen():
    starts_s = np.arange(8) * 0.5
    scores = np.array([0.1, 0.8, 0.9, 0.85, 0.3, 0.2, 0.95, 0.4])
    are_silent = starts_s == 3.0
    said = ModelOutput(starts_s, np.zeros((8, 2), np.float32), are_silent, 4.5)
    assert most_certain(said, scores, 1.0, 3) == [2, 4, 7], "best first: 2, then 4, then 7; 6 is silent"
    assert most_certain(said, scores, 1.0, 1) == [2] and most_certain(said, scores, 0.5, 2) == [2, 3]
    assert most_certain(said, scores, 1.0, 20) == [0, 2, 4, 7]
