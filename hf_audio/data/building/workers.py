"""Builds the parts of a dataset in this process or in workers, with one progress bar over all clips."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import Any, Protocol

import pyarrow as pa

from hf_audio.data.building.clip_windows import WindowMaker
from hf_audio.environment import usable_cores
from hf_audio.errors import InputError
from hf_audio.kinds import WindowExtractor
from hf_audio.terminal import ProgressBar, progress


class Part(Protocol):
    """A unit of work: a shard or a piece."""

    clips: pa.Table


class Builder(Protocol):
    """Builds parts; it is pickled and sent to worker processes."""

    @property
    def maker(self) -> WindowMaker: ...

    def build(self, part: Any, report: Callable[[int], object]) -> None:
        """Builds one part, and calls `report` with the number of finished clips."""


def build_parts(builder: Builder, parts: Sequence[Part], num_workers: int, title: str, show_progress: bool) -> None:
    """Builds parts in this process, or in `num_workers` worker processes if there are more than one."""
    if not parts:
        return
    num_clips, num_workers = sum(len(part.clips) for part in parts), min(num_workers, len(parts))
    with progress(total=num_clips, desc=title, unit=" clips", disable=not show_progress) as bar:
        if num_workers <= 1:
            for part in parts:
                builder.build(part, bar.update)
        else:
            _build_in_workers(builder, parts, num_workers, bar)


def num_cores() -> int:
    """This rank's share of the usable cores."""
    ranks_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # set by torchrun and accelerate launch
    return max(1, usable_cores() // ranks_here)


def _worker_context(extractor: WindowExtractor) -> BaseContext:
    """How workers start: if possible, a fork server imports torch once, instead of every worker."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.gathering", type(extractor).__module__, *extractor.slow_imports])
    return context


def load_ahead(extractor: WindowExtractor, num_workers: int | None) -> None:
    """Starts the server that workers will be forked from, if there can be several; it imports in the background."""
    context = _worker_context(extractor)
    if context.get_start_method() == "forkserver" and (num_workers is None or num_workers > 1) and num_cores() > 1:
        from multiprocessing import forkserver

        forkserver.ensure_running()


def _build_in_workers(builder: Builder, parts: Sequence[Part], num_workers: int, bar: ProgressBar) -> None:
    context = _worker_context(builder.maker.extractor)
    done = context.Value("q", 0)
    workers = ProcessPoolExecutor(num_workers, context, _begin_worker, (done,))
    try:
        running = {workers.submit(_build_in_worker, builder, part) for part in parts}
        while running:
            finished, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            bar.update(done.value - bar.n)
            for future in finished:
                future.result()
    except BrokenProcessPool as error:
        raise InputError(
            f"A worker process died, probably for lack of memory; try fewer than {num_workers} workers "
            "(finished work is kept; run the same command again to resume)"
        ) from error
    finally:
        workers.shutdown(wait=True, cancel_futures=True)


_clips_done: Any = None  # in a worker: the counter that all workers share


def _begin_worker(counter: Any) -> None:
    global _clips_done
    _clips_done = counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and lets workers finish their parts

    def follow_parent() -> None:  # a build killed with -9 must not leave its workers behind
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


def _build_in_worker(builder: Builder, part: Part) -> None:
    def count(clips: int) -> None:
        with _clips_done.get_lock():
            _clips_done.value += clips

    builder.build(part, count)
