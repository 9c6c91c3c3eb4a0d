"""Aggregating windows to clips: each method against plain loops, window weights, and settings without effect."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import f1_score, log_loss

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.aggregation import AGGREGATIONS, clip_probabilities, fit_sharpness, fitted_settings
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.metrics import average_per_clip


def judged_clips(task: str, *, num_clips: int = 30, most: int = 5, seed: int = 0, telling: float = 0.3) -> JudgedClips:
    """Clips of 1 to `most` windows. Each window is informative with probability `telling`."""
    random, labels = np.random.default_rng(seed), LabelSpace(("a", "b", "c"), task)
    if labels.is_multi_label:
        targets = (random.random((num_clips, 3)) < 0.4).astype(np.float32)
    else:
        targets = np.eye(3, dtype=np.float32)[random.integers(3, size=num_clips)]
    clip = np.repeat(np.arange(num_clips), random.integers(1, most + 1, size=num_clips))
    told = (random.random((len(clip), 1)) < telling) * targets[clip]
    logits = (random.normal(size=told.shape) - 1 + 5 * told).astype(np.float32)
    clips = pa.table(
        {
            "clip_id": [f"clip {number}" for number in range(num_clips)],
            "group": [f"group {number // 2}" for number in range(num_clips)],
            "split": ["test"] * num_clips,
            "duration_s": np.bincount(clip).astype(float),
        }
    )
    starts = np.arange(len(clip)) - np.searchsorted(clip, clip)
    return JudgedClips("model", labels, clips, targets, logits, clip, starts.astype(float))


def windows_of(judged: JudgedClips, number: int) -> np.ndarray:
    return judged.window_logits[judged.clip_of_window == number].astype(np.float64)


PLAIN = {
    "mean_logits": lambda logits, of: of(logits.mean(axis=0)),
    "mean_probability": lambda logits, of: of(logits).mean(axis=0),
    "max": lambda logits, of: of(logits).max(axis=0) / (of(logits).max(axis=0).sum() if of is softmax_of else 1),
    "vote": lambda logits, of: (votes(logits, of).sum(axis=0) + of(logits).mean(axis=0)) / (len(logits) + 1),
    "sum_normalized": lambda logits, of: of(logits).sum(axis=0) / of(logits).sum(axis=0).max(),
    "attention": lambda logits, of: (of(logits) * attention(logits, of)).sum(axis=0),
}


def softmax_of(logits: np.ndarray) -> np.ndarray:
    return softmax(logits, axis=-1)


def votes(logits: np.ndarray, of) -> np.ndarray:
    return logits >= 0 if of is expit else np.eye(3)[logits.argmax(axis=1)]


def attention(logits: np.ndarray, of) -> np.ndarray:
    top = of(logits).max(axis=1, keepdims=True)
    return softmax(logits if of is expit else np.log(top / (1 - top)), axis=0)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize(("task", "of"), [(SINGLE_LABEL, softmax_of), (MULTI_LABEL, expit)])
def test_each_aggregation_equals_a_plain_loop(aggregation: str, task: str, of) -> None:
    judged = judged_clips(task)
    if aggregation == "sum_normalized" and task == SINGLE_LABEL:
        with pytest.raises(InputError, match="use mean_probability"):
            clip_probabilities(judged, aggregation)
        return
    found = clip_probabilities(judged, aggregation)
    expected = [PLAIN[aggregation](windows_of(judged, number), of) for number in range(len(judged))]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found.dtype == np.float64 and found.min() >= 0 and found.max() <= 1
    if task == SINGLE_LABEL:
        np.testing.assert_allclose(found.sum(axis=1), 1)


def test_mean_logits_equals_the_aggregation_of_reports() -> None:
    judged = judged_clips(MULTI_LABEL)
    clips = average_per_clip(judged.window_logits, judged.targets[judged.clip_of_window], judged.clip_of_window)
    assert clip_probabilities(judged).tolist() == judged.labels.probabilities(clips.logits).tolist()


@pytest.mark.parametrize("aggregation", ["mean_logits", "mean_probability", "attention"])
def test_a_window_of_double_weight_counts_like_two(aggregation: str) -> None:
    judged = judged_clips(MULTI_LABEL, most=3)
    weights = np.random.default_rng(1).integers(1, 3, size=len(judged.window_logits))
    twice = np.repeat(np.arange(len(weights)), weights)
    copied = JudgedClips(
        **{name: getattr(judged, name) for name in ("name", "labels", "clips", "targets")},
        window_logits=judged.window_logits[twice],
        clip_of_window=judged.clip_of_window[twice],
        window_starts_s=judged.window_starts_s[twice],
    )
    found = clip_probabilities(judged, aggregation, window_weights=weights / 7)
    np.testing.assert_allclose(found, clip_probabilities(copied, aggregation), atol=1e-12)


def test_windows_of_weight_0_have_no_effect() -> None:
    judged = judged_clips(MULTI_LABEL, most=3)
    judged.window_logits[1::2] += 40  # they would dominate
    first = np.diff(judged.clip_of_window, prepend=-1) > 0
    alone = judged.labels.probabilities(judged.window_logits[first])
    for aggregation in ("mean_probability", "attention"):
        found = clip_probabilities(judged, aggregation, window_weights=first)
        np.testing.assert_allclose(found, alone, atol=1e-12)


def test_sharpness_ranges_from_mean_to_maximum_and_is_fitted_on_validation() -> None:
    judged = judged_clips(MULTI_LABEL, num_clips=400, telling=0.3)
    mean, largest = clip_probabilities(judged, "mean_probability"), clip_probabilities(judged, "max")
    np.testing.assert_allclose(clip_probabilities(judged, "attention", sharpness=0.0), mean, atol=1e-12)
    np.testing.assert_allclose(clip_probabilities(judged, "attention", sharpness=1e6), largest, atol=1e-12)
    sharpness = fit_sharpness(judged)
    losses = {
        one: log_loss(judged.targets.ravel(), clip_probabilities(judged, "attention", sharpness=one).ravel())
        for one in (sharpness, *np.linspace(0, 10, 21))
    }
    assert sharpness > 0.1 and losses[sharpness] <= min(losses.values()) + 1e-6
    assert fit_sharpness(judged_clips(MULTI_LABEL, most=1)) == 0


def test_settings_of_an_aggregation_are_fitted_on_validation() -> None:
    judged = judged_clips(MULTI_LABEL, num_clips=200)
    assert fitted_settings("attention", judged) == {"sharpness": fit_sharpness(judged)}
    (threshold,) = fitted_settings("vote", judged).values()
    targets, logits = judged.targets[judged.clip_of_window], judged.window_logits
    tried = [f1_score(targets, expit(logits) >= one, average="micro") for one in (threshold, *np.linspace(0.01, 0.99))]
    assert tried[0] >= max(tried) - 1e-12 and abs(threshold - 0.5) > 0.05
    for aggregation, validation in (("max", judged), ("vote", judged_clips(SINGLE_LABEL)), ("attention", None)):
        assert fitted_settings(aggregation, validation) == {}
    assert clip_probabilities(judged, "vote", **fitted_settings("vote", judged)).shape == (200, 3)


def test_windows_vote_with_a_threshold_per_class() -> None:
    judged = judged_clips(MULTI_LABEL)
    found = clip_probabilities(judged, "vote", vote_thresholds=np.array([0.0, 1.0, 0.5]))
    counts, mean = np.bincount(judged.clip_of_window), clip_probabilities(judged, "mean_probability")
    np.testing.assert_allclose(found[:, 0], (counts + mean[:, 0]) / (counts + 1))
    np.testing.assert_allclose(found[:, 1], mean[:, 1] / (counts + 1))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"aggregation": "mean_logit"}, "did you mean 'mean_logits'"),
        ({"aggregation": "max", "window_weights": np.ones(99)}, "Window weights have no effect on max"),
        ({"window_weights": np.ones(3)}, "Found 3 weights"),
        ({"window_weights": -1.0}, "each needs a weight of 0 or more"),
        ({"window_weights": 0.0}, "All windows of a clip have weight 0"),
        (
            {"aggregation": "max", "vote_thresholds": 0.5},
            "have an effect only with the aggregation vote and multi-label data",
        ),
        ({"sharpness": 2.0}, "A sharpness has no effect on mean_logits"),
        ({"aggregation": "attention", "sharpness": -1.0}, "sharpness of -1.0"),
    ],
)
def test_settings_without_effect_are_refused(settings: dict, said: str) -> None:
    judged = judged_clips(MULTI_LABEL)
    if np.ndim(settings.get("window_weights")) == 0 and "window_weights" in settings:
        settings = {**settings, "window_weights": np.full(len(judged.window_logits), settings["window_weights"])}
    with pytest.raises(InputError, match=said):
        clip_probabilities(judged, **settings)
