"""Ensembles: means, weights fitted on validation, and refusal of scores that do not match."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.aggregation import clip_probabilities
from hf_audio.judging.aligning import aligned
from hf_audio.judging.ensembles import best_weights, ensemble
from hf_audio.judging.judged_clips import JudgedClips


def models_of(task: str, skills: dict[str, float], *, num_clips: int = 60, seed: int = 0) -> list[JudgedClips]:
    """Models of different skill with independent noise, on the same clips of two windows each."""
    random, labels = np.random.default_rng(seed), LabelSpace(("a", "b", "c"), task)
    targets = np.eye(3, dtype=np.float32)[random.integers(3, size=num_clips)]
    clips = pa.table(
        {
            "clip_id": [f"clip {number}" for number in range(num_clips)],
            **dict.fromkeys(("group", "split"), ["x"] * num_clips),
            "duration_s": np.ones(num_clips),
        }
    )
    clip = np.repeat(np.arange(num_clips), 2)
    logits = {
        name: skill * (targets[clip] - 0.5) + random.normal(size=(len(clip), 3)) for name, skill in skills.items()
    }
    return [
        JudgedClips(name, labels, clips, targets, one.astype(np.float32), clip, np.tile([0.0, 1.0], num_clips))
        for name, one in logits.items()
    ]


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_the_mean_of_models_is_evaluated_like_a_model(task: str) -> None:
    models = models_of(task, {"x": 2.0, "y": 1.0, "z": 0.0})
    found = ensemble(models, aggregation="mean_probability")
    expected = np.mean([clip_probabilities(one, "mean_probability") for one in models], axis=0)
    for aggregation in ("mean_logits", "mean_probability", "max"):
        np.testing.assert_allclose(clip_probabilities(found.judged, aggregation), expected, atol=1e-6)
    assert found.weights == pytest.approx({"x": 1 / 3, "y": 1 / 3, "z": 1 / 3})
    assert found.judged.name == "mean of x and y and z" and len(found.judged.window_logits) == 60


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_validation_weights_minimize_the_log_loss(task: str) -> None:
    skills = {"good": 1.3, "fair": 1.0, "wrong": -1.0}
    validation, test = models_of(task, skills, num_clips=300, seed=1), models_of(task, skills)
    found = ensemble(test, "validation", validation=validation[::-1], name="all")
    assert list(found.weights) == list(skills) and sum(found.weights.values()) == pytest.approx(1)
    assert found.weights["wrong"] == 0 and found.weights["good"] > found.weights["fair"] > 0
    targets, said = validation[0].targets, [clip_probabilities(one) for one in validation]

    def loss(weights: np.ndarray) -> float:
        mean = np.tensordot(weights, said, axes=1)
        if task == MULTI_LABEL:
            return log_loss(targets.ravel(), mean.ravel())
        return log_loss(targets.argmax(axis=1), mean)

    best = loss(np.array(list(found.weights.values())))
    grid = [np.array([a, b, 1 - a - b]) for a in np.linspace(0, 1, 11) for b in np.linspace(0, 1 - a, 11)]
    assert best <= min(loss(weights) for weights in grid) + 1e-7
    expected = np.tensordot(list(found.weights.values()), [clip_probabilities(one) for one in test], axes=1)
    np.testing.assert_allclose(clip_probabilities(found.judged), expected, atol=1e-6)


def test_unknown_labels_do_not_affect_weights() -> None:
    targets = np.array([[1, np.nan], [0, np.nan]], dtype=np.float32)
    right, wrong = np.array([[0.9, 0.1], [0.1, 0.1]]), np.array([[0.1, 0.9], [0.9, 0.9]])
    labels = LabelSpace(("a", "b"), MULTI_LABEL)
    assert best_weights([right, wrong], targets, labels).tolist() == [1, 0]
    with pytest.raises(InputError, match="No validation clip has known labels"):
        best_weights([right, wrong], np.full((2, 2), np.nan), labels)


def test_clips_and_classes_are_brought_into_one_order() -> None:
    first, other = models_of(SINGLE_LABEL, {"x": 1.0, "y": 1.0}, num_clips=7)
    shuffled, classes = np.random.default_rng(0).permutation(7), [2, 0, 1]
    windows = np.concatenate([np.flatnonzero(other.clip_of_window == one) for one in shuffled])
    moved = JudgedClips(
        "y",
        LabelSpace(("c", "a", "b"), SINGLE_LABEL),
        other.clips.take(pa.array(shuffled)),
        other.targets[shuffled][:, classes],
        other.window_logits[windows][:, classes],
        np.repeat(np.arange(7), 2),
        other.window_starts_s[windows],
    )
    same, back = aligned([first, moved])
    assert same is first and back.labels == first.labels and back.clips == other.clips
    for name in ("targets", "window_logits", "clip_of_window", "window_starts_s"):
        assert getattr(back, name).tolist() == getattr(other, name).tolist()


def changed(judged: JudgedClips, **columns) -> JudgedClips:
    return dataclasses.replace(judged, **columns)


def test_scores_that_do_not_match_are_refused() -> None:
    x, y = models_of(SINGLE_LABEL, {"x": 1.0, "y": 1.0}, num_clips=4)
    (multi,) = models_of(MULTI_LABEL, {"y": 1.0}, num_clips=4)
    other_clip = changed(y, clips=y.clips.set_column(0, "clip_id", pa.array(["clip 0", "clip 1", "clip 2", "z"])))
    twice = changed(y, clips=y.clips.set_column(0, "clip_id", pa.array(["clip 0", "clip 1", "clip 2", "clip 2"])))
    truth = y.targets.copy()
    truth[2] = truth[2][[1, 2, 0]]
    for one, said in (
        (other_clip, "y lacks 1 of the clips of x, such as clip 3"),
        (twice, "y has 1 duplicate clips"),
        (y.take(np.arange(3)), "y lacks 1 of the clips of x"),
        (changed(y, labels=LabelSpace(("a", "b", "d"), SINGLE_LABEL)), "1 of the classes of x, such as c"),
        (multi, "x was scored on a single_label_classification task and y on a multi_label_classification task"),
        (changed(y, targets=truth), "different labels for 1 clips, first clip 2"),
        (changed(y, name="x"), "Two models are called x"),
    ):
        with pytest.raises(InputError, match=said):
            ensemble([x, one])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"weights": "best"}, "Unknown kind of weights 'best'"),
        ({"weights": "validation"}, "need validation clips, but none were given"),
        ({"validation": ["x", "y"]}, "do not use validation clips"),
        ({"weights": "validation", "validation": ["x"]}, "The validation scores are from x, but the models are x, y"),
        ({"aggregation": "sum_normalized"}, "are not probabilities"),
    ],
)
def test_invalid_settings_of_ensembles_are_refused(settings: dict, said: str) -> None:
    models = {one.name: one for one in models_of(MULTI_LABEL, {"x": 1.0, "y": 1.0}, num_clips=4)}
    if "validation" in settings:
        settings = {**settings, "validation": [models[name] for name in settings["validation"]]}
    with pytest.raises(InputError, match=said):
        ensemble(list(models.values()), **settings)
    with pytest.raises(InputError, match="Found 1 models"):
        ensemble([models["x"]])
