"""Segments of a timeline: median, hysteresis, borders and minimum length, each compared with a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from hf_audio.tagging.segments import OFF_FRACTION, borders_s, held, median_width, runs, segments_of, smoothed

NAMES = ("bell", "hum", "organ")


def random_scores(seed: int, num_windows: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (num_windows, len(NAMES))).round(1)


@pytest.mark.parametrize("width", [1, 3, 5, 99])
@pytest.mark.parametrize("num_windows", [1, 2, 7])
def test_the_median_is_that_of_a_plain_loop(width, num_windows):
    scores = random_scores(0, num_windows)
    half = min(width, 2 * num_windows - 1) // 2
    wanted = [
        np.median([scores[min(max(at + step, 0), num_windows - 1)] for step in range(-half, half + 1)], axis=0)
        for at in range(num_windows)
    ]
    np.testing.assert_allclose(smoothed(scores, width), wanted)


def test_the_median_of_a_long_timeline_is_taken_piece_by_piece(monkeypatch):
    scores = random_scores(1, 3000)
    whole = smoothed(scores, 9)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(scores, ((4, 4), (0, 0)), mode="edge"), 9, axis=0)
    np.testing.assert_array_equal(whole, np.median(windows, axis=-1))


@pytest.mark.parametrize("seed", range(5))
def test_a_segment_continues_until_the_score_is_clearly_below_the_threshold(seed):
    scores, threshold = random_scores(seed)[:, 0], 0.5
    wanted, is_on = [], False
    for score in scores:
        is_on = score >= threshold or (is_on and score >= OFF_FRACTION * threshold)
        wanted.append(is_on)
    np.testing.assert_array_equal(held(scores, threshold), wanted)


def test_a_window_covers_the_time_around_its_center():
    starts_s, ends_s = np.array([0.0, 1.0, 2.0, 2.6]), np.array([2.0, 3.0, 4.0, 4.6])
    np.testing.assert_allclose(borders_s(starts_s, ends_s, 4.6), [0, 1.5, 2.5, 3.3, 4.6])
    np.testing.assert_allclose(borders_s(np.array([0.0, 3.0]), np.array([3.0, 6.0]), 6.0), [0, 3, 6])


def test_the_width_of_the_median_follows_the_seconds():
    assert [median_width(seconds, 1.0) for seconds in (0, 1, 1.9, 2, 3.9, 4, 10)] == [1, 1, 1, 3, 3, 5, 11]
    assert median_width(0.3, 0.1) == 3 and median_width(3.0, 3.0) == 1


def test_runs_of_true_values():
    assert runs(np.array([], bool)) == [] and runs(np.array([True])) == [(0, 1)]
    assert runs(np.array([0, 1, 1, 0, 1], bool)) == [(1, 3), (4, 5)]


@pytest.mark.parametrize("is_multi_label", [False, True])
@pytest.mark.parametrize("threshold", [None, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_segments_are_those_of_a_plain_loop(seed, threshold, is_multi_label):
    if is_multi_label and threshold is None:
        threshold = 0.7
    scores, borders = random_scores(seed), np.arange(41) * 0.5
    found = segments_of(scores, borders, NAMES, threshold=threshold, is_multi_label=is_multi_label, width=3, min_s=0.75)
    even, wanted = smoothed(scores, 3), []
    for index, name in enumerate(NAMES):
        is_held, begin = False, None
        for at in range(len(even) + 1):
            is_on = False
            if at < len(even):
                score = even[at, index]
                is_held = threshold is None or score >= threshold or (is_held and score >= OFF_FRACTION * threshold)
                is_on = is_held and (is_multi_label or even[at].argmax() == index)
            if is_on and begin is None:
                begin = at
            if not is_on and begin is not None:
                if borders[at] - borders[begin] >= 0.75:
                    wanted.append((borders[begin], index, name, borders[at], scores[begin:at, index].mean()))
                begin = None
    assert [(one.start_s, one.label, one.end_s) for one in found] == [
        (start_s, name, end_s) for start_s, _, name, end_s, _ in sorted(wanted)
    ]
    np.testing.assert_allclose([one.score for one in found], [score for *_, score in sorted(wanted)])


def test_a_sound_shorter_than_the_minimum_length_keeps_its_segment():
    (one,) = segments_of(
        np.array([[0.9, 0.1, 0.1]]),
        np.array([0, 0.2]),
        NAMES,
        threshold=0.5,
        is_multi_label=True,
        width=1,
        min_s=1.5,
    )
    assert one == ("bell", 0.0, 0.2, 0.9)
