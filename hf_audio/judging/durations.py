"""Scores by the length of a recording: for short and long clips, for their first seconds, and for joined clips."""

from __future__ import annotations

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
ROUNDING_S = 0.05  # a clip of 9.98 s counts as 10 s: cutting at frames and resampling can remove that much

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
    """Scores of clips by their duration.

    Args:
        probabilities, decisions: `[clips, classes]`.
        edges_s: the edges of the bins, ascending; there are also bins below the first and above the last.

    Returns:
        For JSON, a row for each bin that has clips: `from_s` and `to_s` (None without a limit), `num_clips` and
        `metrics`. Clips of unknown duration, if any, have a row with None for both limits.

    Raises:
        InputError: edges that are not ascending.
    """
    check_draws(num_draws, confidence)
    if list(edges_s) != sorted(set(edges_s)) or not edges_s:
        raise InputError(f"Found the durations {list(edges_s)}, expected ascending seconds such as {list(EDGES_S)}")
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
    """Scores from the first seconds of each clip, compared with those of the same clips in full.

    Args:
        thresholds: float `[classes]`, the same for all lengths.
        window_s: length of the model's windows.
        seconds: how many seconds to use: the windows that end by then, and always the first one.
        aggregate: from windows to clips; see `aggregation.clip_probabilities`.

    Returns:
        For JSON, a row for each length that some clips reach: `seconds`, `num_clips` (at least this long), `metrics`,
        and `whole`, the metrics of the same clips in full.
    """
    check_draws(num_draws, confidence)
    durations_s, found = _durations_s(judged), []
    starts_s = judged.window_starts_s - _first_of_clips(judged)[judged.clip_of_window]
    for length_s in seconds:
        rows = np.flatnonzero(durations_s + ROUNDING_S >= length_s)
        if not len(rows):
            continue
        is_heard = (starts_s + window_s <= length_s + ROUNDING_S) | (starts_s == 0)
        beginning = judged.with_windows(is_heard).take(rows)
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
    """Scores of long recordings made by joining short clips, see `joined_clips`.

    Returns:
        For JSON, a row for each length for which there are enough clips: `seconds`, `num_clips`, `num_parts` (the mean
        number of clips in each) and `metrics`.
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
    """Concatenates clips into recordings of a minimum length. Each clip is used at most once.

    In single-label tasks, all clips of a recording have the same class. In multi-label tasks, any clips are joined: the
    recording has a class if any of its clips has it, lacks it if all lack it, and otherwise it is unknown. Clips of a
    group are joined in sequence, and the recording gets the group of its first clip, so that intervals resample groups.

    Returns:
        The joined clips, where the window starts of each clip continue from the end of the previous one, and the number
        of clips used. Leftover clips and those of unknown duration are not used.
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
    """The targets `[classes]` of a joined recording, from those of its parts `[parts, classes]`."""
    has, unknown = (targets > 0.5).any(axis=0), np.isnan(targets).any(axis=0)
    return np.where(has, 1.0, np.where(unknown, np.nan, 0.0))


def _grouped_order(judged: JudgedClips, seed: int) -> np.ndarray:
    """All clips, with groups in random order and the clips of a group in their own order."""
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
    """The start of each clip's first window, float64 `[clips]`: a clip may begin anywhere in its recording."""
    first = np.searchsorted(judged.clip_of_window, np.arange(len(judged)))
    return judged.window_starts_s[first]
