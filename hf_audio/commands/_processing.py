"""Processes many recordings for commands: skips finished ones, shows a progress bar, reports failures."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hf_audio.commands._recordings import STDIN
from hf_audio.terminal import named_logger

if TYPE_CHECKING:
    from hf_audio.tagging.found_files import FoundFile
    from hf_audio.tagging.results import Results
    from hf_audio.tagging.sounds import Recording

logger = named_logger(__name__)
SOME_FAILED = 1
MAX_PROBED = 100  # recordings whose headers are read for the total duration


def process(
    files: Sequence[FoundFile],
    found_of: Callable[..., Iterator[tuple[int, Any]]],
    results: Results,
    task: str,
    excluded: Mapping[int, str] | None = None,
) -> dict[int, str]:
    """Processes the unfinished recordings; returns the indices of unreadable ones, with the reasons.

    Args:
        files: all recordings.
        found_of: called with recordings and the callback `progressed`, see `answered`; yields their results.
        results: stores the results.
        task: name of the task, for the progress bar.
        excluded: indices of recordings that cannot be processed, with the reasons.
    """
    from hf_audio.terminal import progress

    failed = dict(excluded or {})
    with results.open() as finished:
        if finished:
            logger.warning("%d of %d recordings are already done", len(finished), len(files))
        rest = sorted(set(range(len(files))) - set(finished) - failed.keys())
        recordings = [_recording(files[number]) for number in rest]
        total_s = _total_s(recordings)
        with progress(desc=task, unit=" s of sound", total=total_s, disable=None, bar_format=_bar(total_s)) as bar:
            for place, found in found_of(recordings, progressed=bar.update):
                if isinstance(found, str):
                    failed[rest[place]] = found
                    results.skip(rest[place])
                else:
                    results.add(rest[place], found)
        results.finish()
    return failed


def report_failed(files: Sequence[FoundFile], failed: Mapping[int, str]) -> int:
    """Logs which recordings could not be read, given their indices, and returns the exit code."""
    for number, reason in sorted(failed.items()):
        logger.error("%s: %s", files[number].path, reason)
    if failed:
        logger.error("%d of %d recordings could not be read", len(failed), len(files))
    return SOME_FAILED if failed else 0


def _recording(file: FoundFile) -> Recording:
    """A file, or the audio on stdin."""
    from hf_audio.tagging.sounds import Recording, recording_of

    if file.path == STDIN:
        return Recording("stdin", recording_of(sys.stdin.buffer).source)
    return recording_of(file.path)


def _total_s(recordings: Sequence[Recording]) -> float | None:
    """Total duration according to the headers; None for many recordings, whose headers take too long to read."""
    from hf_audio.data.recordings.audio import probe
    from hf_audio.data.recordings.reasons import AudioError

    if len(recordings) > MAX_PROBED or not sys.stderr.isatty():
        return None
    total_s = 0.0
    for one in recordings:
        with contextlib.suppress(AudioError):
            total_s += probe(one.source).duration_s
    return total_s


def _bar(total_s: float | None) -> str:
    """A bar in whole seconds; if the total is unknown, only the seconds processed so far."""
    done = "{n:.0f} s of sound in {elapsed}"
    return done if total_s is None else "{desc}: {percentage:3.0f}%|{bar}| " + done + ", {remaining} left"
