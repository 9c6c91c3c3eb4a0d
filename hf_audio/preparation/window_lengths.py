"""The window length: given, or chosen from the lengths of the clips."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.building.plan import check_window, is_too_long
from hf_audio.data.index.columns import is_file, of_split, require_files, without_mixtures
from hf_audio.data.index.pseudo_labels import CONFIDENCE
from hf_audio.data.recordings.lengths import measured_by_headers
from hf_audio.data.recordings.sampling import sampled
from hf_audio.errors import InputError
from hf_audio.terminal import named_logger

LONGEST_DEFAULT_WINDOW_S = 5.0
SHARE_OF_WHOLE_CLIPS = 0.99  # of training clips in one window each: a word that is cut off may sound like another word
NUM_PROBED_CLIPS = 500  # enough for the distribution of lengths
NUM_PROBING_THREADS = 4

logger = named_logger(__name__)


def window_length_s(clips: pa.Table, wanted_s: float | None, token: str | bool | None = None) -> float:
    """The length of windows in seconds.

    Args:
        wanted_s: None: chosen from the clips; 0: the length of the longest clip.
        token: for recordings on the Hub.

    Raises:
        InputError: no clip fills the window, as far as this is known before reading all clips; or none can be read.
    """
    if wanted_s is None:
        return default_window_s(clips, token)
    if not wanted_s:
        return longest_clip_s(clips)
    check_window_ahead(clips, wanted_s, token)
    return wanted_s


def default_window_s(clips: pa.Table, token: str | bool | None = None) -> float:
    """The 99 % quantile of the lengths of training clips, rounded up to tenths of a second.

    It is at most LONGEST_DEFAULT_WINDOW_S, and not longer than the longest of these clips. So each short clip is one
    window, except for a few that are much longer than the others, and long ones are cut into several. It is computed
    from a sample of clips; `token` is for recordings on the Hub.
    """
    # Without mixtures, which are not longer than their clips, and without negatives and pseudo-labels
    training = of_split(without_mixtures(clips), "train")
    training = training.filter(pc.greater(pc.list_value_length(training["labels"]), 0))
    if CONFIDENCE in training.column_names:
        training = training.filter(pc.is_null(training[CONFIDENCE]))
    some = sampled(training, NUM_PROBED_CLIPS, token).found
    lengths = [(clip.end_s or info.duration_s) - clip.start_s for clip, info in some]
    if not lengths and not is_file(training).all():
        raise InputError(
            "None of the training recordings checked has readable audio: rows with only a path contain none, and "
            "docs/own_data.md lists the formats"
        )
    if not lengths:
        raise InputError(
            f"None of the {len(training)} training files can be read as audio: docs/own_data.md lists the formats"
        )
    tenths = rounded_up(10 * float(np.quantile(lengths, SHARE_OF_WHOLE_CLIPS))) / 10
    window_s = min(LONGEST_DEFAULT_WINDOW_S, tenths, rounded_up(100 * max(lengths)) / 100)
    logger.info("Window length: %g s, chosen from the lengths of the training clips; set it with --window_s", window_s)
    return window_s


def check_window_ahead(clips: pa.Table, window_s: float, token: str | bool | None = None) -> None:
    """Refuses a window that no clip fills; for containers, building would notice this only after reading all of them.

    If only a sample of recordings can be checked and all of these are shorter, it warns.

    Raises:
        InputError: the window is longer than all clips.
    """
    if is_file(clips).all():
        return
    lengths = pc.subtract(pc.fill_null(clips["end_s"], np.inf), clips["start_s"]).to_numpy()
    if not is_too_long(window_s, lengths):  # lengths from tables; recordings may be shorter
        look = sampled(clips, NUM_PROBED_CLIPS, token)
        lengths = np.array([min(clip.end_s or np.inf, info.duration_s) - clip.start_s for clip, info in look.found])
        if not len(lengths):
            return
        if not look.is_all and is_too_long(window_s, lengths):
            return logger.warning(
                "None of the %d clips checked fills the window of %g s, the longest has %.2f s; if no other clip does, "
                "building will fail at the end: give a shorter --window_s",
                *(len(lengths), window_s, lengths.max()),
            )
    check_window(window_s, lengths)


def longest_clip_s(clips: pa.Table) -> float:
    """The length in seconds of the longest clip, rounded up to a hundredth: the window that holds any clip.

    Raises:
        InputError: no recording can be read; or they are not files, whose lengths are known from their headers.
    """
    require_files(clips, "--window_s 0, which is the longest clip, needs")
    longest_s = float(measured_by_headers(clips, NUM_PROBING_THREADS).seconds.max())
    if not longest_s:
        raise InputError(f"None of the {len(clips)} files can be read as audio: docs/own_data.md lists the formats")
    return rounded_up(100 * longest_s) / 100


def rounded_up(number: float) -> int:
    """The next integer; a number that is above an integer only by its binary representation is that integer."""
    return math.ceil(round(number, 4))
