"""Denser or shifted windows of a clip than in training, and weights for them.

Overlapping windows are redundant, and a window that reaches past the end of a clip has little content. `time_weights`
weights each window by the time it covers, so that each moment of a clip counts once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from hf_audio.errors import InputError
from hf_audio.judging.aligning import aligned
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.windows import window_starts

ROUNDING_S = 0.02  # tolerance of window starts in seconds: windows are cut at frames or samples
SAME_LOGITS = 1e-2


def time_weights(judged: JudgedClips, window_s: float) -> np.ndarray:
    """Seconds of its clip that each window accounts for: where n windows overlap, each gets 1 / n of the time.

    A clip begins with its first window. Padding after its end does not count. The weights of a clip sum to the time
    that its windows cover. For `clip_probabilities(..., window_weights=...)`.

    Returns:
        float64 `[windows]`.

    Raises:
        InputError: a length that is not positive, or a clip with several windows and unknown duration.
    """
    if not 0 < window_s < np.inf:
        raise InputError(f"window_s must be above 0, found {window_s}")
    starts, ends = judged.window_starts_s, judged.window_starts_s + window_s
    ends = np.maximum(np.minimum(ends, _clip_ends_s(judged)[judged.clip_of_window]), starts)
    num = len(starts)
    clips, times = np.tile(judged.clip_of_window, 2), np.concatenate([starts, ends])
    order = np.lexsort((times, clips))
    overlapping = np.cumsum(np.where(order < num, 1, -1))
    lasts = np.diff(times[order], append=0.0)
    shares = np.divide(lasts, overlapping, out=np.zeros(2 * num), where=overlapping > 0)  # 0 between two clips
    up_to = np.empty(2 * num)
    up_to[order] = np.cumsum(shares) - shares
    return up_to[num:] - up_to[:num]


def at_hop(judged: JudgedClips, window_s: float, hop_s: float) -> JudgedClips:
    """The subset of dense windows at a larger hop, so that hops can be compared without scoring again.

    Raises:
        InputError: a window at that hop was not scored; a clip with several windows and unknown duration.
    """
    firsts = np.searchsorted(judged.clip_of_window, np.arange(len(judged) + 1))
    ends, kept = _clip_ends_s(judged), []
    for clip, (first, end) in enumerate(pairwise(firsts)):
        starts = judged.window_starts_s[first:end]
        if end - first == 1:
            kept.append(np.array([first]))
            continue
        wanted = starts[0] + np.array(_starts_s(ends[clip] - starts[0], window_s, hop_s))
        nearest = np.abs(starts[:, None] - wanted).argmin(axis=0)
        off = np.abs(starts[nearest] - wanted)
        off[-1] -= (starts[1] - starts[0]) / 2  # the last one is aligned to the end; dense windows may not have it
        if (off > ROUNDING_S).any():
            raise InputError(
                f"{judged.name} has no window at {wanted[int(np.argmax(off))]:g} s of "
                f"{judged.clips['clip_id'][clip].as_py()}: windows every {hop_s:g} s are not a subset of the scored "
                "ones; give a multiple of their hop"
            )
        kept.append(first + np.unique(nearest))
    return judged.with_windows(np.concatenate(kept))


def joined_windows(judged: Sequence[JudgedClips]) -> JudgedClips:
    """Merges one model's scores for windows that were cut in several ways (shifted, at other hops).

    A window that occurs several times counts once.

    Raises:
        InputError: other clips or classes, or different scores for the same window, as from two models.
    """
    models = aligned(judged)
    clip, starts, logits = (
        np.concatenate([getattr(one, name) for one in models])
        for name in ("clip_of_window", "window_starts_s", "window_logits")
    )
    order = np.lexsort((starts, clip))
    clip, starts, logits = clip[order], starts[order], logits[order]
    again = np.append(False, (np.diff(clip) == 0) & (np.diff(starts) < 1e-3))
    before = np.flatnonzero(again) - 1
    differs = np.abs(logits[again] - logits[before]).max(axis=1, initial=0) > SAME_LOGITS
    if differs.any():
        place = before[int(np.argmax(differs))]
        clip_id = models[0].clips["clip_id"][int(clip[place])].as_py()
        raise InputError(
            f"There are two different scores for the window at {starts[place]:g} s of {clip_id}: only windows of one "
            "model and the same sound can be joined; for several models, use an ensemble"
        )
    whole = dataclasses.replace(models[0], clip_of_window=clip, window_starts_s=starts, window_logits=logits)
    return whole.with_windows(~again)


def _clip_ends_s(judged: JudgedClips) -> np.ndarray:
    """float64 `[clips]`, the end of each in its recording; infinite for clips with one window and unknown duration."""
    counts = np.bincount(judged.clip_of_window, minlength=len(judged))
    durations = judged.clips["duration_s"].to_numpy(zero_copy_only=False).astype(np.float64)
    unknown = np.isnan(durations)
    needs_end = unknown & (counts > 1)
    if needs_end.any():
        clip_id = judged.clips["clip_id"][int(np.argmax(needs_end))].as_py()
        raise InputError(
            f"The duration of {int(needs_end.sum()):,} clips is unknown, first {clip_id}, so the end of their last "
            "windows is unknown too: use all windows with equal weights"
        )
    begins = judged.window_starts_s[np.cumsum(counts) - counts]
    return begins + np.where(unknown, np.inf, durations)


def _starts_s(duration_s: float, window_s: float, hop_s: float) -> list[float]:
    """`window_starts`, computed in ms."""
    duration, window, hop = (max(1, round(1000 * one)) for one in (duration_s, window_s, hop_s))
    return [start / 1000 for start in window_starts(duration, window, hop)]
