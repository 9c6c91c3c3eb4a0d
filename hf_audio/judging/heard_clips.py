"""Runs a model on the clips of recordings. Each clip is decoded once, and windows of several clips are batched.

Recordings are files or rows of Parquet, Arrow or tar files, on disk or on the Hub (`data/recordings/in_turn.py`).
Windows and features are the model's own, as in `hf-audio tag`.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hf_audio.data.index.columns import without_mixtures
from hf_audio.data.index.table import Clip
from hf_audio.data.recordings.in_turn import reading_order, recordings_in_turn
from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import InputError
from hf_audio.sound_predictor import SoundPredictor
from hf_audio.tagging.many import answered
from hf_audio.tagging.settings import TagSettings
from hf_audio.tagging.sounds import Recording
from hf_audio.tagging.tagger import Tagger
from hf_audio.terminal import progress

MAX_HELD_BYTES = 256 << 20  # of recordings held in memory because they are not separate files
MAX_TOGETHER = 4096  # clips


class HeardClips(NamedTuple):
    """A model's logits for the windows of clips.

    Attributes:
        rows: int64 `[clips]`, the rows of the readable clips among all given ones, ascending.
        logits: float32 `[windows, model's classes]`.
        clip_of_window: int64 `[windows]`, positions in `rows`, ascending.
        starts_s: float64 `[windows]`, in the recording.
        durations_s: float64 `[clips]`, decoded length of each.
        unreadable: clip_id and reason for each of the others.
        window_s, hop_s: length and hop of the windows.
    """

    rows: np.ndarray
    logits: np.ndarray
    clip_of_window: np.ndarray
    starts_s: np.ndarray
    durations_s: np.ndarray
    unreadable: tuple[tuple[str, str], ...]
    window_s: float
    hop_s: float


def heard_clips(
    predictor: SoundPredictor,
    clips: pa.Table,
    *,
    window_s: float | None = None,
    hop_s: float | None = None,
    num_threads: int | None = None,
    token: str | None = None,
) -> HeardClips:
    """Computes a model's logits for all windows of clips.

    Args:
        clips: rows of an index with audio.
        window_s, hop_s: by default as the model was trained.
        num_threads: number of reading threads; by default one per core.
        token: Hub token, for recordings there.

    Raises:
        InputError: mixtures, invalid windows, a damaged container, or no readable recording.
    """
    if len(without_mixtures(clips)) < len(clips):
        raise InputError("Mixtures have no recordings: evaluate on features that contain them")
    tagger = Tagger(predictor)
    settings = tagger.settings(window_s=window_s, hop_s=hop_s)
    order = reading_order(clips)
    ordered = clips.take(pa.array(order))
    found, unreadable = {}, {}
    with (
        tempfile.TemporaryDirectory() as scratch,
        progress(desc=f"scores of {predictor.name}", unit=" clips", total=len(clips)) as bar,
    ):
        first = 0
        for together in _together(ordered, token, Path(scratch)):
            for place, one in _answers(tagger, together, settings, num_threads):
                clip = together[place].clip
                if isinstance(one, str):
                    unreadable[clip.clip_id] = one
                else:
                    found[int(order[first + place])] = (one.values, one.starts_s + clip.start_s, one.duration_s)
                bar.update()
            first += len(together)
    if not found:
        name, reason = next(iter(unreadable.items()))
        raise InputError(f"None of the {len(clips):,} clips can be evaluated, first {name} ({reason}): check them")
    return _joined(found, tuple(unreadable.items()), settings)


class _Stretch(NamedTuple):
    clip: Clip
    source: Any  # a Source, or the AudioError of one that cannot be read


def _together(ordered: pa.Table, token: str | None, scratch: Path) -> Iterator[list[_Stretch]]:
    """The clips in their order, in batches that fit in memory, with at most one clip per recording held in memory."""
    waiting: list[_Stretch] = []
    num_bytes = 0
    source: Any
    for clips, source in recordings_in_turn(ordered, token, scratch):
        is_held = not isinstance(source, str | AudioError)
        if is_held:
            num_bytes += source.seek(0, io.SEEK_END)
        for number, clip in enumerate(clips):
            # only one clip of a held recording per batch, since threads would share its file position
            if waiting and (len(waiting) >= MAX_TOGETHER or num_bytes > MAX_HELD_BYTES or (is_held and number)):
                yield waiting
                waiting, num_bytes = [], 0
            waiting.append(_Stretch(clip, source))
    if waiting:
        yield waiting


def _answers(
    tagger: Tagger, together: Sequence[_Stretch], settings: TagSettings, num_threads: int | None
) -> Iterator[tuple[int, Any]]:
    """The position of each clip in the batch, with the model's output or the reason why it cannot be read."""
    readable = []
    for place, one in enumerate(together):
        if isinstance(one.source, AudioError):
            yield place, one.source.reason
        else:
            readable.append(place)
    recordings = [
        Recording(one.clip.clip_id, one.source, start_s=one.clip.start_s, end_s=one.clip.end_s)
        for one in (together[place] for place in readable)
    ]
    for number, found in answered(tagger, tagger.logits, recordings, settings, num_threads=num_threads):
        yield readable[number], found


def _joined(found: dict[int, tuple], unreadable: tuple[tuple[str, str], ...], settings: TagSettings) -> HeardClips:
    rows = sorted(found)
    values, starts_s, durations_s = zip(*(found[row] for row in rows), strict=True)
    return HeardClips(
        np.array(rows),
        np.concatenate(values),
        np.repeat(np.arange(len(rows)), [len(one) for one in values]),
        np.concatenate(starts_s),
        np.array(durations_s),
        unreadable,
        settings.window_s,
        settings.hop_s,
    )
