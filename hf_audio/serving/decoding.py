"""Decodes the bytes of a recording into windows. Its header is checked first, then the decoded sound.

This runs in a thread, which cannot be stopped from outside, so it checks the time between blocks.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hf_audio.data.recordings.audio import AudioError, probe
from hf_audio.serving.allowance import Allowance
from hf_audio.serving.refusal import RefusalError, too_slow
from hf_audio.tagging.blocks import Cut
from hf_audio.tagging.settings import TagSettings
from hf_audio.tagging.sounds import recording_of
from hf_audio.tagging.tagger import Tagger

# Limits memory and time of decoding: ten minutes of stereo at 48 kHz are 58 million.
MAX_VALUES = 120_000_000


@dataclass(frozen=True)
class Decoded:
    """A recording, ready for a model's thread.

    Attributes:
        windows: float32 `[windows, samples]` or `[windows, 2, samples]` at the model's sample rate.
        starts_s: float64 `[windows]`.
        duration_s: duration of the recording, whose bytes are no longer in memory.
        settings: how it is tagged.
    """

    windows: Tensor
    starts_s: np.ndarray
    duration_s: float
    settings: TagSettings


def decode(tagger: Tagger, content: bytes, settings: TagSettings, allowance: Allowance, until: float) -> Decoded:
    """The windows of a recording, decoded and resampled.

    Args:
        settings: how it is tagged.
        until: deadline on the monotonic clock.

    Raises:
        RefusalError: not a recording or a broken one (400), longer than allowed (413), or the time is up (503).
    """
    check_time(until, allowance)  # the request may have waited for a thread
    check_header(content, allowance.max_duration_s)
    recording, cuts, count = recording_of(content), [], 0
    try:
        for cut in tagger.cuts(recording, settings):
            cuts.append(cut)
            count += len(cut.windows)
            check_time(until, allowance)
            check_found(cut, count, allowance)
    except AudioError as error:
        raise unreadable(error.reason) from error
    windows = torch.from_numpy(np.stack([window for cut in cuts for window in cut.windows]))
    starts_s = np.concatenate([cut.starts_s for cut in cuts])
    return Decoded(windows, starts_s, cuts[-1].end_s, settings)


def check_time(until: float, allowance: Allowance) -> None:
    """Raises RefusalError (503) after the deadline."""
    if time.monotonic() > until:
        raise too_slow(allowance.max_request_s)


def check_found(cut: Cut, count: int, allowance: Allowance) -> None:
    """Raises RefusalError (413) if more was decoded than the service accepts, regardless of the header."""
    if cut.end_s > allowance.max_duration_s + 1:
        sentence = f"The recording is longer than the maximum of {allowance.max_duration_s:g} s: shorten it"
        raise RefusalError(413, sentence, "duration")
    if count > allowance.max_windows:
        sentence = f"The recording has more than the maximum of {allowance.max_windows:,} windows: shorten it"
        raise RefusalError(413, sentence, "duration")


def check_header(content: bytes, max_duration_s: float) -> None:
    """Checks the header of a recording before anything is decoded.

    Raises:
        RefusalError: not a recording (400), or longer than the service accepts (413).
    """
    try:
        info = probe(io.BytesIO(content))
    except AudioError as error:
        raise unreadable(error.reason) from error
    if info.duration_s > max_duration_s:
        raise RefusalError(
            413,
            f"The recording has {info.duration_s:,.1f} s by its header, expected at most {max_duration_s:g} s: shorten "
            "it, or tag it with `hf-audio tag`",
            "duration",
        )
    values = info.duration_s * info.sample_rate * info.channels
    if values > MAX_VALUES:
        raise RefusalError(
            413,
            f"The recording has {values:,.0f} samples in {info.channels} channels at {info.sample_rate:,} Hz, expected "
            f"at most {MAX_VALUES:,}: send fewer channels or a lower sample rate",
            "duration",
        )


def unreadable(reason: str) -> RefusalError:
    """400: not a recording, or a broken one."""
    reason = reason.rstrip(".")  # some of libsndfile's messages are complete sentences
    return RefusalError(
        400, f"The recording is {reason}: send a complete sound file, such as WAV, FLAC, MP3 or Ogg", "unreadable"
    )
