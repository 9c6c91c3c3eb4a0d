"""A model's scores of clips: subsets, groups, and scores that are not finite."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.judged_clips import JudgedClips


def judged(logits: np.ndarray, clip_of_window: list[int], groups: list[str], splits: list[str]) -> JudgedClips:
    clips = pa.table(
        {
            "clip_id": [f"clip {number}" for number in range(len(groups))],
            "group": groups,
            "split": splits,
            "duration_s": np.arange(1.0, len(groups) + 1),
        }
    )
    targets = np.eye(logits.shape[1], dtype=np.float32)[np.arange(len(groups)) % logits.shape[1]]
    labels = LabelSpace(tuple("abc"[: logits.shape[1]]), SINGLE_LABEL)
    return JudgedClips("tiny", labels, clips, targets, logits, np.array(clip_of_window), np.arange(float(len(logits))))


def test_a_split_has_only_its_own_clips_and_windows() -> None:
    logits = np.arange(12, dtype=np.float32).reshape(6, 2)
    whole = judged(logits, [0, 0, 1, 2, 2, 3], ["x", "y", "x", "z"], ["test", "train", "test", "train"])
    test = whole.of_split("test")
    assert test.clips["clip_id"].to_pylist() == ["clip 0", "clip 2"]
    assert test.window_logits.tolist() == logits[[0, 1, 3, 4]].tolist()
    assert test.clip_of_window.tolist() == [0, 0, 1, 1]
    assert test.window_starts_s.tolist() == [0, 1, 3, 4]
    assert test.targets.tolist() == [[1, 0], [1, 0]]
    assert whole.groups.tolist() == [0, 1, 0, 2] and whole.groups_known and whole.num_groups == 3
    assert test.num_groups == 1 and not whole.take(np.array([0, 1])).groups_known


def test_a_score_that_is_not_finite_is_refused() -> None:
    logits = np.zeros((3, 2), dtype=np.float32)
    logits[2, 1] = np.nan
    with pytest.raises(InputError, match=r"1 of 3 windows, the first in clip 1: its training diverged"):
        judged(logits, [0, 0, 1], ["x", "y"], ["test", "test"])
