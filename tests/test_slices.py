"""Where a model is worse: slices, the distribution of scores over clips, and scores by duration."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.aggregation import clip_probabilities
from hf_audio.judging.deciding import decisions_of
from hf_audio.judging.durations import by_duration, by_seconds_heard, by_seconds_joined, joined_clips
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.per_clip import MEASURES, clip_scores, per_clip
from hf_audio.judging.slices import slices, unsliced, worst_groups
from hf_audio.metrics import classification_metrics

HALVES = np.full(3, 0.5)
NUM_CLIPS = 240
WINDOW_S = 2.0


def judged(task: str = SINGLE_LABEL, **columns) -> JudgedClips:
    """Clips of 4 to 32 s, in windows of 2 s: half of the clips recorded by phone are wrong, and few of the others."""
    random = np.random.default_rng(0)
    labels = LabelSpace(("bell", "hum", "violin"), task)
    numbers = np.arange(NUM_CLIPS)
    if task == SINGLE_LABEL:
        targets = np.eye(3, dtype=np.float32)[numbers % 3]
    else:
        targets = (random.random((NUM_CLIPS, 3)) < 0.4).astype(np.float32)
    of_phone = numbers // 2 % 4 == 0
    said = np.where(
        (random.random(NUM_CLIPS) < np.where(of_phone, 0.5, 0.05))[:, None], np.roll(targets, 1, 1), targets
    )
    counts = 2 + numbers % 15
    clip_of_window = np.repeat(numbers, counts)
    noise = random.normal(size=(len(clip_of_window), 3))
    starts_s = 2.0 * (np.arange(len(clip_of_window)) - np.repeat(np.cumsum(counts) - counts, counts))
    clips = {
        "clip_id": [f"clip {number}" for number in numbers],
        "group": [f"group {number // 2}" for number in numbers],
        "split": ["test"] * NUM_CLIPS,
        "duration_s": 2.0 * counts,
        "device": np.where(of_phone, "phone", "studio"),
        **columns,
    }
    logits = (6 * said[clip_of_window] - 3 + noise).astype(np.float32)
    return JudgedClips("tiny", labels, pa.table(clips), targets, logits, clip_of_window, starts_s)


def said_of(one: JudgedClips) -> tuple[np.ndarray, np.ndarray]:
    probabilities = clip_probabilities(one)
    return probabilities, decisions_of(probabilities, one.labels, HALVES)


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_the_worst_slice_is_first_and_has_the_scores_of_its_clips(task):
    one = judged(task, year=np.arange(NUM_CLIPS) % 40 + 1980, drums=[True, None, False] * 80)
    probabilities, decisions = said_of(one)
    found = slices(one, probabilities, decisions, num_draws=200)
    worst, metric = found[0], "accuracy" if task == SINGLE_LABEL else "f1_micro"
    assert (worst["column"], worst["value"], worst["num_clips"], worst["num_groups"]) == ("device", "phone", 60, 30)
    its = np.array(one.clips["device"].to_pylist()) == "phone"
    for rows, value in ((its, worst["metrics"][metric].value), (~its, worst["rest"])):
        expected = classification_metrics(probabilities[rows], one.targets[rows], one.labels)
        assert value == pytest.approx(expected[metric])
    assert worst["is_below"] and worst["metrics"][metric].low < worst["metrics"][metric].value
    names = [(row["column"], row["value"]) for row in found]
    assert set(names) == {
        *(("device", "phone"), ("device", "studio"), ("drums", "true"), ("drums", "false"), ("drums", None)),
        *(("year", "1980 to 1989.75"), ("year", "1989.75 to 1999.5"), ("year", "1999.5 to 2009.25")),
        ("year", "2009.25 to 2019"),
    }
    assert sum(row["num_clips"] for row in found if row["column"] == "year") == NUM_CLIPS
    assert not next(row for row in found if row["value"] == "studio")["is_below"]
    highs = [row["metrics"][metric].high for row in found]
    assert highs == sorted(highs)
    json.dumps(found, allow_nan=False)


def test_columns_not_sliced_are_reported_and_lists_put_a_clip_into_several_slices():
    tags = [["loud", "old"], ["old"], [], None] * (NUM_CLIPS // 4)
    columns = {
        "tags": tags,
        "taker": [f"person {number}" for number in range(NUM_CLIPS)],
        "empty": pa.nulls(NUM_CLIPS, pa.string()),
        "shape": [{"x": 1}] * NUM_CLIPS,
        "rare": ["usual"] * (NUM_CLIPS - 3) + ["rare"] * 3,
    }
    one = judged(**columns)
    found = slices(one, *said_of(one), num_draws=100)
    counts = {(row["column"], row["value"]): row["num_clips"] for row in found}
    assert counts == {
        **{("tags", "loud"): 60, ("tags", "old"): 120, ("tags", None): 120},
        **{("device", "phone"): 60, ("device", "studio"): 180, ("rare", "usual"): 237},
    }
    assert unsliced(one) == {
        "split": "all clips have the same value",
        "taker": "it has 240 values, more than 50",
        "empty": "it is empty",
        "shape": "it is of type struct<x: int64>",
    }
    with pytest.raises(InputError, match="Unknown column 'devices': did you mean 'device'"):
        slices(one, *said_of(one), columns=["devices"])


def test_a_slice_with_one_group_has_no_interval_and_comes_last():
    place = ["here"] * 2 + ["there"] * (NUM_CLIPS - 2)
    one = judged(place=place)
    found = slices(one, *said_of(one), min_clips=2, columns=["place"], num_draws=100)
    assert [row["value"] for row in found] == ["there", "here"]
    assert found[1]["num_groups"] == 1 and not found[1]["is_below"]
    assert found[1]["metrics"]["accuracy"].low is None and found[1]["metrics"]["accuracy"].value is not None


def test_the_worst_groups_come_first_with_their_mistakes():
    one = judged()
    decisions = one.targets.astype(np.int8)
    decisions[[10, 11, 100]] = [[0, 0, 1], [0, 0, 1], [1, 0, 0]]  # 10 and 100 are hums, 11 is a violin
    decisions[11] = [1, 0, 0]
    first, second = worst_groups(one, decisions)
    assert (first["group"], first["num_clips"], first["num_wrong"], first["share"]) == ("group 5", 2, 2, 2 / 3)
    assert first["clip_ids"] == ["clip 10", "clip 11"]
    assert second["group"] == "group 50" and second["clip_ids"] == ["clip 100"]
    assert second["mistaken"] == {"true": ["hum"], "decided": ["bell"], "num_clips": 1}
    assert worst_groups(one, one.targets.astype(np.int8)) == []


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_means_of_scores_per_clip_are_the_overall_metrics(task):
    one = judged(task)
    probabilities, decisions = said_of(one)
    expected = classification_metrics(probabilities, one.targets, one.labels)
    found = per_clip(probabilities, decisions, one.targets, one.labels)
    assert found["f1"]["mean"] == pytest.approx(expected["f1_samples"])
    assert found["accuracy"]["mean"] == pytest.approx(expected["accuracy"])
    assert found["hamming"]["mean"] == pytest.approx(1 - expected["hamming_loss"])
    for name in MEASURES:
        assert sum(one["num"] for one in found[name]["bins"]) == found[name]["num_clips"]
    assert sum(row["num_clips"] for row in found["by_num_labels"]) == NUM_CLIPS
    assert [row["num_labels"] for row in found["by_num_labels"]] == ([1] if task == SINGLE_LABEL else [0, 1, 2, 3])
    json.dumps(found, allow_nan=False)


def test_unknown_classes_do_not_count():
    labels = LabelSpace(("a", "b", "c"), MULTI_LABEL)
    targets = np.array([[1, np.nan, 0], [np.nan, np.nan, np.nan], [0, 0, np.nan]], dtype=np.float32)
    decisions = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 1]], dtype=np.int8)
    scores = clip_scores(np.full((3, 3), 0.5), decisions, targets, labels)
    np.testing.assert_allclose(scores["hamming"], [0.5, np.nan, 1.0])
    np.testing.assert_allclose(scores["f1"], [2 / 3, np.nan, 1.0])
    np.testing.assert_allclose(scores["true_probability"], [0.5, np.nan, np.nan])
    found = per_clip(np.full((3, 3), 0.5), decisions, targets, labels)
    assert (found["hamming"]["num_clips"], found["true_probability"]["num_clips"], found["by_num_labels"]) == (2, 1, [])
    nothing = per_clip(np.full((1, 3), 0.5), decisions[:1], targets[1:2], labels)
    assert nothing["f1"]["mean"] is None and nothing["f1"]["quartiles"] is None


def test_every_duration_is_in_one_bin():
    one = judged()
    rows = by_duration(one, *said_of(one), num_draws=100)
    assert [(row["from_s"], row["to_s"]) for row in rows] == [(3, 5), (5, 10), (10, 20), (20, 30), (30, 60)]
    assert sum(row["num_clips"] for row in rows) == NUM_CLIPS
    assert rows[0]["num_clips"] == 16 and rows[0]["metrics"]["accuracy"].value is not None
    durations = [None, *one.clips["duration_s"].to_pylist()[1:]]
    unknown = judged(duration_s=pa.array(durations, type=pa.float64()))
    last = by_duration(unknown, *said_of(unknown), num_draws=100)[-1]
    assert (last["from_s"], last["to_s"], last["num_clips"]) == (None, None, 1)
    with pytest.raises(InputError, match="expected ascending seconds"):
        by_duration(one, *said_of(one), edges_s=[10, 5])


def test_only_the_windows_of_the_first_seconds_are_scored():
    one = judged()
    late = one.window_starts_s + WINDOW_S > 10  # all late windows are wrong
    logits = np.where(
        late[:, None], np.roll(one.targets, 1, axis=1)[one.clip_of_window] * 40, one.targets[one.clip_of_window]
    )
    lying = JudgedClips(
        "late", one.labels, one.clips, one.targets, logits, one.clip_of_window, 100 + one.window_starts_s
    )
    rows = by_seconds_heard(lying, HALVES, WINDOW_S, seconds=(1, 10, 20, 40), num_draws=100)
    assert [row["seconds"] for row in rows] == [1, 10, 20]
    assert [row["metrics"]["accuracy"].value for row in rows] == [1, 1, 0]
    assert [row["whole"]["accuracy"].value for row in rows] == [
        pytest.approx(4 / 15, abs=0.02),
        rows[1]["whole"]["accuracy"].value,
        0,
    ]
    assert rows[1]["num_clips"] == sum(length >= 10 for length in one.clips["duration_s"].to_pylist())


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_clips_are_joined_to_recordings_of_a_minimum_length(task):
    one = judged(task)
    joined, num_parts = joined_clips(one, 60.0)
    assert num_parts <= NUM_CLIPS and min(joined.clips["duration_s"].to_pylist()) >= 60
    assert max(joined.clips["duration_s"].to_pylist()) < 60 + 32
    assert (np.diff(joined.clip_of_window) >= 0).all() and len(np.unique(joined.clip_of_window)) == len(joined)
    for number in (0, len(joined) - 1):
        its = joined.clip_of_window == number
        assert (np.diff(joined.window_starts_s[its]) == WINDOW_S).all() and joined.window_starts_s[its][0] == 0
        source = [np.flatnonzero((one.window_logits == row).all(axis=1))[0] for row in joined.window_logits[its]]
        parts = np.unique(one.clip_of_window[source])
        assert np.array_equal(joined.targets[number], one.targets[parts].max(axis=0))
    rows = by_seconds_joined(one, HALVES, seconds=(10, 60, 300, 100_000), num_draws=100)
    assert [row["seconds"] for row in rows] == [10, 60, 300]
    assert rows[1]["num_clips"] == len(joined) and rows[1]["num_parts"] == num_parts / len(joined)
    if task == SINGLE_LABEL:  # most parts are right
        assert rows[2]["metrics"]["accuracy"].value == 1 > rows[0]["metrics"]["accuracy"].value
