"""Measures clips in worker processes, so that a recording that crashes the decoder only ends its worker."""

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

CLIPS_PER_TASK = 16  # for clips that are files
RUN_BYTES = 64 << 20  # for other clips, if their containers can be divided
CRASHED = "unreadable: the decoder crashes on it"


class Task(NamedTuple):
    """Clips for one worker, in reading order, and the position of each among all clips."""

    places: list[int]
    clips: pa.Table

    def one_by_one(self) -> Iterator[Task]:
        """A task for each single clip."""
        for number, place in enumerate(self.places):
            yield Task([place], self.clips.take([number]))


def examine_clips(
    clips: pa.Table, num_workers: int, token: str | bool | None = None, scratch: Path | None = None
) -> Iterator[tuple[int, ClipFacts]]:
    """Yields the facts of clips as they become ready, each with the clip's row.

    Recordings are decoded in worker processes even with one worker. If a recording crashes the decoder, and so its
    worker, it is found by examining the clips in progress one by one.

    Args:
        token: for recordings on the Hub.
        scratch: a folder for recordings from containers that are too long for memory.

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
        # the tasks in progress, and those queued for the next free worker, come first
        rest = [undone[number] for number in sorted(undone)]
        suspects, rest = rest[: 3 * num_workers], rest[3 * num_workers :]
        yield from _examine_apart([one for task in suspects for one in task.one_by_one()], examine)


def _tasks(clips: pa.Table, token: str | bool | None) -> list[Task]:
    """Files in small tasks; recordings in containers or on the Hub in runs that are read sequentially."""
    here = is_file(clips)
    files, others = np.flatnonzero(here), np.flatnonzero(~here)
    lots = [files[first : first + CLIPS_PER_TASK] for first in range(0, len(files), CLIPS_PER_TASK)]
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
    if method == "forkserver":  # so that the server imports this once, not each worker
        context.set_forkserver_preload([__name__])
    return ProcessPoolExecutor(number, context, _follow_parent)


def _check_workers_start() -> None:
    try:
        with _workers(1) as workers:
            workers.submit(_nothing).result()
    except BrokenProcessPool as error:
        raise InputError(
            "Worker processes cannot start, perhaps for lack of memory; in your own script, guard the main "
            'program with `if __name__ == "__main__":`'
        ) from error


def _nothing() -> None:
    """A task to check that workers start."""


def _follow_parent() -> None:
    def wait() -> None:  # an audit killed with -9 must not leave its workers behind
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
