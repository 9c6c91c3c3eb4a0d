"""Scores against the length of a recording: of short and long clips, of their first seconds, and of joined clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from hf_audio.errors import InputError
from hf_audio.judging.aggregation import clip_probabilities
from hf_audio.judging.deciding import decisions_of
from hf_audio.judging.decision_intervals import decision_intervals
from hf_audio.judging.intervals import check_draws
from hf_audio.judging.judged_clips import JudgedClips

EDGES_S = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
SECONDS = (10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0)
ROUNDING_S = 0.05  # a clip of 9.98 s is one of 10 s: frames and resampling cut off as much

Aggregate = Callable[[JudgedClips], np.ndarray]


def by_duration(
    judged: JudgedClips,
    probabilities: np.ndarray,
    decisions: np.ndarray,
    *,
    edges_s: Sequence[float] = EDGES_S,
    num_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Scores of clips by their own duration.

    Args:
        probabilities, decisions: `[clips, classes]`.
        edges_s: where bins end and begin, ascending; below the first and from the last on are bins too.

    Returns:
        For JSON, a row for each bin that has clips: `from_s` and `to_s` (None without a limit), `num_clips` and
        `metrics`; clips of unknown duration are a row with None for both, if there are any.

    Raises:
        InputError: edges that do not ascend.
    """
    check_draws(num_draws, confidence)
    if list(edges_s) != sorted(set(edges_s)) or not edges_s:
        raise InputError(f"Found the durations {list(edges_s)}, expected ascending seconds: {list(EDGES_S)}")
    durations_s = _durations_s(judged)
    place = np.searchsorted(np.array(edges_s), durations_s + ROUNDING_S, side="right")
    found = []
    for number in range(len(edges_s) + 1):
        rows = np.flatnonzero((place == number) & np.isfinite(durations_s))
        limits = {
            "from_s": float(edges_s[number - 1]) if number else None,
            "to_s": float(edges_s[number]) if number < len(edges_s) else None,
        }
        found.append(limits | _scored(judged, probabilities, decisions, rows, num_draws, confidence, seed))
    unknown = np.flatnonzero(~np.isfinite(durations_s))
    found.append(
        {"from_s": None, "to_s": None} | _scored(judged, probabilities, decisions, unknown, num_draws, confidence, seed)
    )
    return [row for row in found if row["num_clips"]]


def by_seconds_heard(
    judged: JudgedClips,
    thresholds: np.ndarray,
    window_s: float,
    *,
    seconds: Sequence[float] = SECONDS,
    aggregate: Aggregate = clip_probabilities,
    num_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Scores where only the first seconds of each clip are heard, beside those of the same clips heard to their end.

    Args:
        thresholds: float `[classes]`, the same for all lengths.
        window_s: of the model's windows.
        seconds: how much is heard: those windows that end by then, and the first in any case.
        aggregate: from windows to clips; see `aggregation.clip_probabilities`.

    Returns:
        For JSON, a row for each length that some clips have: `seconds`, `num_clips` (at least so long), `metrics`, and
        `whole`, the metrics of the same clips heard to their end.
    """
    check_draws(num_draws, confidence)
    durations_s, found = _durations_s(judged), []
    starts_s = judged.window_starts_s - _first_of_clips(judged)[judged.clip_of_window]
    for length_s in seconds:
        rows = np.flatnonzero(durations_s + ROUNDING_S >= length_s)
        if not len(rows):
            continue
        is_heard = (starts_s + window_s <= length_s + ROUNDING_S) | (starts_s == 0)
        beginning = _of_windows(judged, is_heard).take(rows)
        row = {"seconds": float(length_s)} | _judged(beginning, thresholds, aggregate, num_draws, confidence, seed)
        whole = _judged(judged.take(rows), thresholds, aggregate, num_draws, confidence, seed)
        found.append(row | {"whole": whole["metrics"]})
    return found


def by_seconds_joined(
    judged: JudgedClips,
    thresholds: np.ndarray,
    *,
    seconds: Sequence[float] = SECONDS,
    aggregate: Aggregate = clip_probabilities,
    num_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Scores of long recordings that are made of short clips, see `joined_clips`.

    Returns:
        For JSON, a row for each length that clips were enough for: `seconds`, `num_clips`, `num_parts` (clips in each,
        on average) and `metrics`.
    """
    check_draws(num_draws, confidence)
    found = []
    for length_s in seconds:
        joined, num_parts = joined_clips(judged, length_s, seed=seed)
        if len(joined):
            row = {"seconds": float(length_s), "num_parts": num_parts / len(joined)}
            found.append(row | _judged(joined, thresholds, aggregate, num_draws, confidence, seed))
    return found


def joined_clips(judged: JudgedClips, seconds: float, *, seed: int = 0) -> tuple[JudgedClips, int]:
    """Clips one behind the other, until each of these is so long; every clip is used once at most.

    Of a single-label task all clips of one have the same class. Of several labels any clips are put together, and the
    whole has what any of them has: what is absent from it is absent from all, else unknown. Clips of one group lie
    beside each other, and the whole is of the group of its first clip, so that intervals know what belongs together.

    Returns:
        The clips, windows in their order with starts as if each clip began where the last one ended, and how many clips
        they were made of; clips that are left over, and whose duration is unknown, are in none.
    """
    durations_s = _durations_s(judged)
    order = _grouped_order(judged, seed)
    classes = (
        np.nan_to_num(judged.targets).argmax(axis=1) if not judged.labels.is_multi_label else np.zeros(len(judged))
    )
    parts: list[np.ndarray] = []
    for one in np.unique(classes):
        own = [row for row in order if classes[row] == one and np.isfinite(durations_s[row])]
        begin, length_s = 0, 0.0
        for place, row in enumerate(own):
            length_s += durations_s[row]
            if length_s + ROUNDING_S >= seconds:
                parts.append(np.array(own[begin : place + 1]))
                begin, length_s = place + 1, 0.0
    return _put_together(judged, parts, durations_s), sum(map(len, parts))


def _put_together(judged: JudgedClips, parts: Sequence[np.ndarray], durations_s: np.ndarray) -> JudgedClips:
    first_window = np.searchsorted(judged.clip_of_window, np.arange(len(judged) + 1))
    firsts_s = _first_of_clips(judged)
    logits, starts_s, clip_of_window, targets = [judged.window_logits[:0]], [np.zeros(0)], [np.zeros(0, np.int64)], []
    for number, rows in enumerate(parts):
        begins_s = np.cumsum(durations_s[rows]) - durations_s[rows]
        for row, begin_s in zip(rows, begins_s, strict=True):
            own = slice(first_window[row], first_window[row + 1])
            logits.append(judged.window_logits[own])
            starts_s.append(judged.window_starts_s[own] - firsts_s[row] + begin_s)
            clip_of_window.append(np.full(own.stop - own.start, number))
        targets.append(_any_of(judged.targets[rows]))
    heads = pa.array([int(rows[0]) for rows in parts], type=pa.int64())
    clips = pa.table(
        {
            "clip_id": pa.array([f"joined {number}" for number in range(len(parts))], type=pa.string()),
            "group": judged.clips["group"].take(heads),
            "split": judged.clips["split"].take(heads),
            "duration_s": pa.array([float(durations_s[rows].sum()) for rows in parts], type=pa.float64()),
        }
    )
    return JudgedClips(
        judged.name,
        judged.labels,
        clips,
        np.array(targets, dtype=np.float32).reshape(len(parts), len(judged.labels)),
        np.concatenate(logits),
        np.concatenate(clip_of_window),
        np.concatenate(starts_s),
    )


def _any_of(targets: np.ndarray) -> np.ndarray:
    """What a whole has of `[parts, classes]`."""
    has, unknown = (targets > 0.5).any(axis=0), np.isnan(targets).any(axis=0)
    return np.where(has, 1.0, np.where(unknown, np.nan, 0.0))


def _grouped_order(judged: JudgedClips, seed: int) -> np.ndarray:
    """All clips, groups in a random order and each group's in their own."""
    place = np.random.default_rng(seed).permutation(judged.num_groups)
    return np.argsort(place[judged.groups], kind="stable")


def _judged(
    judged: JudgedClips, thresholds: np.ndarray, aggregate: Aggregate, num_draws: int, confidence: float, seed: int
) -> dict[str, Any]:
    probabilities = aggregate(judged)
    decisions = decisions_of(probabilities, judged.labels, thresholds)
    return _scored(judged, probabilities, decisions, np.arange(len(judged)), num_draws, confidence, seed)


def _scored(
    judged: JudgedClips,
    probabilities: np.ndarray,
    decisions: np.ndarray,
    rows: np.ndarray,
    num_draws: int,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    if not len(rows):
        return {"num_clips": 0, "metrics": {}}
    drawn: dict[str, Any] = {"num_draws": num_draws, "confidence": confidence, "seed": seed}
    return {"num_clips": len(rows), "metrics": decision_intervals(judged, probabilities, decisions, rows, **drawn)}


def _durations_s(judged: JudgedClips) -> np.ndarray:
    """float64 `[clips]`, NaN where unknown."""
    return judged.clips["duration_s"].cast(pa.float64()).to_numpy(zero_copy_only=False)


def _first_of_clips(judged: JudgedClips) -> np.ndarray:
    """Where the first window of each clip starts, float64 `[clips]`: a clip may be a stretch of its recording."""
    first = np.searchsorted(judged.clip_of_window, np.arange(len(judged)))
    return judged.window_starts_s[first]


def _of_windows(judged: JudgedClips, kept: np.ndarray) -> JudgedClips:
    """Some of the windows, of each clip at least one."""
    return dataclasses.replace(
        judged,
        window_logits=judged.window_logits[kept],
        clip_of_window=judged.clip_of_window[kept],
        window_starts_s=judged.window_starts_s[kept],
    )
