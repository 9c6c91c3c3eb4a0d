"""More windows of a clip than it was trained with: denser and shifted ones, and what each of them speaks for.

Windows that overlap say much of the same twice, and one that reaches behind a clip's end says little. `time_weights`
gives each the time that it speaks for, so that every moment of a clip counts once.
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

# Windows are cut at frames or samples: their starts differ by less from where a rule in seconds has them.
ROUNDING_S = 0.02
SAME_ANSWER = 1e-2


def time_weights(judged: JudgedClips, window_s: float) -> np.ndarray:
    """Seconds of its clip that each window speaks for: where n windows overlap, each has 1 / n of the time.

    A clip begins with its first window. What reaches behind its end, which was padded, counts nothing. For
    `clip_probabilities(..., window_weights=...)`; of a clip the weights sum to the time that windows cover.

    Returns:
        float64 `[windows]`.

    Raises:
        InputError: windows of no length, or a clip of several windows whose duration is unknown.
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
    """Of densely cut windows those that a larger hop would have had, so that one scoring tells what a hop is worth.

    Raises:
        InputError: a window of that hop was not scored; a clip of several windows whose duration is unknown.
    """
    firsts = np.searchsorted(judged.clip_of_window, np.arange(len(judged) + 1))
    ends, kept = _clip_ends_s(judged), []
    for clip, (first, behind) in enumerate(pairwise(firsts)):
        starts = judged.window_starts_s[first:behind]
        if behind - first == 1:
            kept.append(np.array([first]))
            continue
        wanted = starts[0] + np.array(_starts_s(ends[clip] - starts[0], window_s, hop_s))
        nearest = np.abs(starts[:, None] - wanted).argmin(axis=0)
        off = np.abs(starts[nearest] - wanted)
        off[-1] -= (starts[1] - starts[0]) / 2  # the one against the end, which dense windows have where it adds enough
        if (off > ROUNDING_S).any():
            raise InputError(
                f"{judged.name} has no window at {wanted[int(np.argmax(off))]:g} s of "
                f"{judged.clips['clip_id'][clip].as_py()}: windows every {hop_s:g} s are not among those that were "
                "scored; take a multiple of their hop"
            )
        kept.append(first + np.unique(nearest))
    return _of_windows(judged, np.concatenate(kept))


def joined_windows(judged: Sequence[JudgedClips]) -> JudgedClips:
    """One model's answers to windows that were cut in several ways (shifted, by other hops), as those of one scoring.

    A window that several have counts once.

    Raises:
        InputError: other clips or classes, or other answers to the same window, as of two models.
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
    differs = np.abs(logits[again] - logits[before]).max(axis=1, initial=0) > SAME_ANSWER
    if differs.any():
        place = before[int(np.argmax(differs))]
        clip_id = models[0].clips["clip_id"][int(clip[place])].as_py()
        raise InputError(
            f"Two answers to the window at {starts[place]:g} s of {clip_id} differ: windows are joined of one model "
            "and the same sound; several models are an ensemble"
        )
    whole = dataclasses.replace(models[0], clip_of_window=clip, window_starts_s=starts, window_logits=logits)
    return _of_windows(whole, np.flatnonzero(~again))


def _clip_ends_s(judged: JudgedClips) -> np.ndarray:
    """float64 `[clips]`, where each ends in its recording; infinite for those of one window and unknown duration."""
    counts = np.bincount(judged.clip_of_window, minlength=len(judged))
    durations = judged.clips["duration_s"].to_numpy(zero_copy_only=False).astype(np.float64)
    unknown = np.isnan(durations)
    asked = unknown & (counts > 1)
    if asked.any():
        clip_id = judged.clips["clip_id"][int(np.argmax(asked))].as_py()
        raise InputError(
            f"The duration of {int(asked.sum()):,} clips is unknown, the first {clip_id}: their last windows cannot "
            "be placed; use the windows as they are"
        )
    begins = judged.window_starts_s[np.cumsum(counts) - counts]
    return begins + np.where(unknown, np.inf, durations)


def _starts_s(duration_s: float, window_s: float, hop_s: float) -> list[float]:
    """The rule of `windows`, in ms."""
    duration, window, hop = (max(1, round(1000 * one)) for one in (duration_s, window_s, hop_s))
    return [start / 1000 for start in window_starts(duration, window, hop)]


def _of_windows(judged: JudgedClips, rows: np.ndarray) -> JudgedClips:
    names = ("clip_of_window", "window_starts_s", "window_logits")
    return dataclasses.replace(judged, **{name: getattr(judged, name)[rows] for name in names})
