"""Synthetic scores of models with a known skill, for tests of code that uses scores."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.judging.judged_clips import JudgedClips


def judged_model(
    name: str = "model",
    num_clips: int = 120,
    classes: tuple[str, ...] = ("cello", "flute", "piano"),
    task: str = MULTI_LABEL,
    *,
    skill: float = 2.0,
    windows_each: int = 2,
    clips_each_group: int = 2,
    unknown_share: float = 0.0,
    seed: int = 0,
) -> JudgedClips:
    """Two thirds of the clips are in the test split, the others in validation. Targets depend on the seed only, scores
    also on the name. Column "device" has two values; the model is worse for one of them."""
    random = np.random.default_rng(seed)
    num_classes, labels = len(classes), LabelSpace(classes, task)
    if task == SINGLE_LABEL:
        targets = np.eye(num_classes, dtype=np.float32)[random.integers(num_classes, size=num_clips)]
    else:
        targets = (random.random((num_clips, num_classes)) < 0.4).astype(np.float32)
        targets[random.random(targets.shape) < unknown_share] = np.nan
    is_phone = random.random(num_clips) < 0.3
    durations_s = random.choice([2.0, 4.0, 12.0], num_clips)
    own = np.random.default_rng([seed, *name.encode()])
    clip_of_window = np.repeat(np.arange(num_clips), windows_each)
    strength = np.where(is_phone, 0.4, 1.0)[:, None] * skill
    means = strength * (2 * np.nan_to_num(targets, nan=0.5) - 1) + own.normal(size=targets.shape)
    logits = means[clip_of_window] + 0.5 * own.normal(size=(len(clip_of_window), num_classes))
    clips = pa.table(
        {
            "clip_id": [f"clip {number:05d}.wav" for number in range(num_clips)],
            "group": [f"song {number // clips_each_group}" for number in range(num_clips)],
            "split": ["validation" if number % 3 == 0 else "test" for number in range(num_clips)],
            "duration_s": durations_s,
            "device": np.where(is_phone, "phone", "studio").tolist(),
        }
    )
    starts_s = np.tile(np.arange(windows_each, dtype=np.float64), num_clips)
    return JudgedClips(name, labels, clips, targets, logits.astype(np.float32), clip_of_window, starts_s)
