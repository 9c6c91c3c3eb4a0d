"""Measures many clips in worker processes: a recording that crashes the decoder only ends its worker."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from hf_audio.audit.clip_facts import ClipFacts, examine_clip
from hf_audio.data.index.columns import is_file
from hf_audio.data.index.table import Clip
from hf_audio.data.recordings.in_turn import reading_order, recordings_in_turn, run_cuts
from hf_audio.errors import InputError

CLIPS_AT_A_TIME = 16  # of those that are files
RUN_BYTES = 64 << 20  # of others, where their containers can be cut so
CRASHED = "unreadable: the decoder crashes on it"


class Task(NamedTuple):
    """Clips that one worker examines, in their reading order, and the place of each among all clips."""

    places: list[int]
    clips: pa.Table

    def one_by_one(self) -> Iterator[Task]:
        """Each clip by itself."""
        for number, place in enumerate(self.places):
            yield Task([place], self.clips.take([number]))


def examine_clips(
    clips: pa.Table, num_workers: int, token: str | bool | None = None, scratch: Path | None = None
) -> Iterator[tuple[int, ClipFacts]]:
    """The facts of clips as they get ready, each with its row among them.

    Recordings are decoded in worker processes even where there is one worker only: one that crashes the decoder then
    costs its worker, and is found by examining the clips that were in work one by one.

    Args:
        token: for recordings on the Hub.
        scratch: a folder for recordings of containers that are too long to be held in memory.

    Raises:
        InputError: a container is damaged or cannot be reached, or workers cannot start.
    """
    examine = partial(_examine, token=token, scratch=scratch)
    rest = _tasks(clips, token)
    if rest:
        _check_workers_start()
    while rest:
        undone = dict(enumerate(rest))
        try:
            with _workers(min(num_workers, len(rest))) as workers:
                number_of = {workers.submit(examine, task): number for number, task in undone.items()}
                for done in as_completed(list(number_of)):
                    facts = done.result()
                    del undone[number_of.pop(done)]
                    yield from facts
        except BrokenProcessPool:
            pass
        # what was in work, and what waited for a worker that would be free next, comes first
        rest = [undone[number] for number in sorted(undone)]
        suspects, rest = rest[: 3 * num_workers], rest[3 * num_workers :]
        yield from _examine_apart([one for task in suspects for one in task.one_by_one()], examine)


def _tasks(clips: pa.Table, token: str | bool | None) -> list[Task]:
    """Files in small lots; what lies in containers or on the Hub in runs that are read from their beginning on."""
    here = is_file(clips)
    files, others = np.flatnonzero(here), np.flatnonzero(~here)
    lots = [files[first : first + CLIPS_AT_A_TIME] for first in range(0, len(files), CLIPS_AT_A_TIME)]
    if len(others):
        elsewhere = clips.take(pa.array(others))
        ordered = others[reading_order(elsewhere)]
        lots += [ordered[first:last] for first, last in pairwise(run_cuts(elsewhere, RUN_BYTES, token)[0])]
    return [Task(lot.tolist(), clips.take(pa.array(lot))) for lot in lots if len(lot)]


def _examine(task: Task, token: str | bool | None, scratch: Path | None) -> list[tuple[int, ClipFacts]]:
    place_of = dict(zip(_identities(task.clips), task.places, strict=True))
    return [
        (place_of[_identity(clip)], examine_clip(clip, source))
        for clips, source in (recordings_in_turn(task.clips, token, scratch) if task.places else ())
        for clip in clips
    ]


def _identity(clip: Clip) -> tuple:
    return clip.clip_id, *clip.recording, clip.start_s, clip.end_s


def _identities(clips: pa.Table) -> Iterator[tuple]:
    columns = ("clip_id", "audio", "audio_row", "audio_field", "start_s", "end_s")
    return zip(*(clips[name].to_pylist() for name in columns), strict=True)


def _examine_apart(tasks: Sequence[Task], examine: partial) -> Iterator[tuple[int, ClipFacts]]:
    tasks = list(tasks)
    while tasks:
        try:
            with _workers(1) as workers:
                while tasks:
                    facts = workers.submit(examine, tasks[0]).result()
                    tasks.pop(0)
                    yield from facts
        except BrokenProcessPool:
            task = tasks.pop(0)
            yield task.places[0], ClipFacts(task.clips["clip_id"][0].as_py(), error=CRASHED)


def _workers(number: int) -> ProcessPoolExecutor:
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":  # imported once, by the server, instead of by every worker
        context.set_forkserver_preload([__name__])
    return ProcessPoolExecutor(number, context, _follow_parent)


def _check_workers_start() -> None:
    try:
        with _workers(1) as workers:
            workers.submit(_nothing).result()
    except BrokenProcessPool as error:
        raise InputError(
            "Worker processes cannot start, perhaps for lack of memory; in your own script, guard the main "
            'program by `if __name__ == "__main__":`'
        ) from error


def _nothing() -> None:
    """What a worker does to show that it is there."""


def _follow_parent() -> None:
    def wait() -> None:  # an audit killed with -9 must not leave its workers behind
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
