"""Dense and shifted windows: their weights by time, and subsets with a larger hop."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.aggregation import clip_probabilities
from hf_audio.judging.dense_windows import at_hop, joined_windows, time_weights
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.windows import window_starts

WINDOW_S = 3.0


def heard(durations_s: list[float | None], starts_s: list[list[float]]) -> JudgedClips:
    """Scores of a model whose logit for a window is the window's center in seconds."""
    clip = np.repeat(np.arange(len(starts_s)), [len(one) for one in starts_s])
    starts, num = np.concatenate(starts_s).astype(float), len(durations_s)
    clips = pa.table(
        {
            "clip_id": [f"clip {number}" for number in range(num)],
            **dict.fromkeys(("group", "split"), ["x"] * num),
            "duration_s": pa.array(durations_s, pa.float64()),
        }
    )
    logits = np.stack([starts + WINDOW_S / 2, -starts], axis=1).astype(np.float32)
    labels = LabelSpace(("a", "b"), MULTI_LABEL)
    return JudgedClips("model", labels, clips, np.zeros((num, 2), np.float32), logits, clip, starts)


def at(durations_s: list[float], hop_s: float, shift_s: float = 0.0) -> JudgedClips:
    """All windows with this hop, starting `shift_s` after the start of each clip."""
    starts = [
        [shift_s + one / 1000 for one in window_starts(round(1000 * (s - shift_s)), 3000, round(1000 * hop_s))]
        for s in durations_s
    ]
    return heard(durations_s, starts)


def test_every_second_of_a_clip_counts_once() -> None:
    # 0-3, 3-6 and 4-7 of 7 s: two windows share 4-6. A short clip. 10-13 and 12-15 of a clip from 10 to 14 s.
    judged = heard([7.0, 2.0, 4.0], [[0, 3, 4], [0], [10, 12]])
    assert time_weights(judged, WINDOW_S).tolist() == pytest.approx([3, 2, 2, 2, 2.5, 1.5])
    assert time_weights(heard([None, 5.0], [[0], [0, 5]]), WINDOW_S).tolist() == pytest.approx([3, 3, 0])


def test_weights_equal_a_plain_count_of_seconds() -> None:
    random = np.random.default_rng(0)
    durations = random.integers(1, 20, size=12).astype(float)
    starts = [np.sort(random.integers(0, 20, size=random.integers(1, 9))) for _ in durations]
    judged, expected = heard(durations.tolist(), starts), []
    for duration, one in zip(durations, starts, strict=True):
        moments = np.arange(one[0], min(one[0] + duration, 40)) + 0.5
        covers = (moments >= one[:, None]) & (moments < one[:, None] + WINDOW_S)
        expected.extend((covers / np.maximum(covers.sum(axis=0), 1)).sum(axis=1))
    assert time_weights(judged, WINDOW_S).tolist() == pytest.approx(expected)


def test_weights_by_time_correct_for_an_overlapping_last_window() -> None:
    judged = at([8.0], hop_s=3.0)
    weights = time_weights(judged, WINDOW_S)
    found = clip_probabilities(judged, "mean_logits", window_weights=weights)
    expected = judged.labels.probabilities(np.average(judged.window_logits, axis=0, weights=[3, 2.5, 2.5]))
    np.testing.assert_allclose(found[0], expected)


@pytest.mark.parametrize("hop_s", [1.0, 1.5, 3.0])
def test_windows_of_a_larger_hop_are_a_subset_of_dense_ones(hop_s: float) -> None:
    durations = [2.0, 3.0, 4.2, 10.0, 10.3, 11.7]
    dense, sparse = at(durations, hop_s=0.5), at(durations, hop_s=hop_s)
    found = at_hop(dense, WINDOW_S, hop_s)
    assert found.clip_of_window.tolist() == sparse.clip_of_window.tolist()
    assert np.abs(found.window_starts_s - sparse.window_starts_s).max() <= 0.25
    assert at_hop(sparse, WINDOW_S, hop_s).window_logits.tolist() == sparse.window_logits.tolist()
    with pytest.raises(InputError, match=r"no window at 0\.7 s of clip 2"):
        at_hop(dense, WINDOW_S, 0.7)


def test_shifted_windows_are_merged_with_unshifted_ones() -> None:
    durations = [10.0, 2.9, 7.0]
    whole, shifted = at(durations, 3.0), at(durations, 3.0, shift_s=1.5)
    found = joined_windows([whole, shifted])
    for clip in range(3):
        both = {*whole.window_starts_s[whole.clip_of_window == clip]}
        both |= {*shifted.window_starts_s[shifted.clip_of_window == clip]}
        assert found.window_starts_s[found.clip_of_window == clip].tolist() == sorted(both)
    np.testing.assert_allclose(found.window_logits[:, 0], found.window_starts_s + WINDOW_S / 2)
    weights = time_weights(found, WINDOW_S)
    assert np.bincount(found.clip_of_window, weights).tolist() == pytest.approx(durations)


def test_unknown_durations_and_contradicting_scores_are_refused() -> None:
    judged = at([10.0], 3.0)
    with pytest.raises(InputError, match="The duration of 1 clips is unknown, first clip 0"):
        time_weights(heard([None], [[0, 3]]), WINDOW_S)
    with pytest.raises(InputError, match="window_s must be above 0, found 0"):
        time_weights(judged, 0)
    other = dataclasses.replace(judged, window_logits=judged.window_logits + 1)
    with pytest.raises(InputError, match="two different scores for the window at 0 s of clip 0"):
        joined_windows([judged, other])
