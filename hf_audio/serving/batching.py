"""Runs windows of several requests in one forward pass, in as many threads as the device can use.

An accelerator uses one thread, and ten windows take hardly longer than one. On CPUs, a forward pass of few windows is
faster on one core than divided between several, which wait for each other at every layer, so each core has a thread.

No request waits for later ones: when a thread is free, it takes the waiting windows as a batch, and leaves the other
threads their part. If more windows wait than fit into a batch, each request gets a share of it, so that a recording of
ten minutes does not delay one of a second.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

Inputs = Mapping[str, Tensor]
Forward = Callable[[Inputs], np.ndarray]


@dataclass(eq=False)
class _Job:
    """The windows of a request, and the outputs computed so far."""

    kind: str
    inputs: Inputs
    size: int
    answer: Future = field(default_factory=Future)
    parts: dict[int, np.ndarray] = field(default_factory=dict)  # by first window: threads finish in any order
    taken: int = 0

    @property
    def signature(self) -> tuple:
        """What windows must have in common to share a batch."""
        shapes = ((name, tuple(value.shape[1:]), value.dtype) for name, value in sorted(self.inputs.items()))
        return (self.kind, *shapes)

    @property
    def open_windows(self) -> int:
        """Number of windows that no batch has taken yet."""
        return self.size - self.taken

    def take(self, count: int) -> tuple[int, int]:
        """Takes the next windows, at most `count`: first index, and last index + 1."""
        first, self.taken = self.taken, min(self.size, self.taken + count)
        return first, self.taken

    def keep(self, first: int, part: np.ndarray) -> np.ndarray | None:
        """Stores the outputs of some windows; returns the outputs of all windows once they are complete."""
        self.parts[first] = part
        if sum(map(len, self.parts.values())) < self.size:
            return None
        return np.concatenate([self.parts[place] for place in sorted(self.parts)])


Share = tuple[_Job, int, int]  # first window, last window + 1


class Batcher:
    """Runs a model in its own threads.

    Args:
        forwards: functions by kind, from the inputs of a batch `[windows, ...]` to an array `[windows, ...]`. All
            threads call them concurrently.
        batch_size: maximum number of windows per batch.
        num_threads: number of threads that run the model.
        several: whether a batch may contain windows of several requests.
        observed: called for every batch with its numbers of requests and windows.
    """

    def __init__(
        self,
        forwards: Mapping[str, Forward],
        batch_size: int,
        *,
        num_threads: int = 1,
        several: bool = True,
        observed: Callable[[int, int], None] = lambda requests, windows: None,
    ) -> None:
        self._forwards, self._batch_size, self._several = forwards, batch_size, several
        self._observed = observed
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name="model", daemon=True) for _ in range(num_threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, kind: str, inputs: Inputs) -> Future:
        """A future with the model's outputs for the windows, in order. Cancel it if they are no longer needed.

        Raises:
            RuntimeError: the batcher is closed.
        """
        job = _Job(kind, inputs, len(next(iter(inputs.values()))))
        with self._changed:
            if self._closed:
                raise RuntimeError("the model is closed")
            self._jobs.append(job)
            self._changed.notify(1 if job.size == 1 else len(self._threads))
        return job.answer

    @property
    def num_threads(self) -> int:
        """Number of threads that run the model."""
        return len(self._threads)

    @property
    def waiting_windows(self) -> int:
        """Number of windows that no batch has taken yet."""
        with self._changed:
            return sum(job.open_windows for job in self._jobs)

    @property
    def is_alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Finishes the waiting jobs, and stops the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if not self._jobs:
                    return
                batch = self._next_batch()
            if batch:
                self._observed(len(batch), sum(last - first for _, first, last in batch))
                self._run(batch)

    def _next_batch(self) -> list[Share]:
        """Shares of the first compatible jobs; those with windows left move to the end of the queue."""
        self._jobs = deque(job for job in self._jobs if not job.answer.cancelled())
        if not self._jobs:
            return []
        signature = self._jobs[0].signature
        together = [job for job in self._jobs if job.signature == signature]
        shares = _shares(together if self._several else together[:1], self._max_windows(together))
        served = {id(job) for job, _, _ in shares}
        others = [job for job in self._jobs if id(job) not in served]
        self._jobs = deque([*others, *(job for job, _, _ in shares if job.open_windows)])
        return shares

    def _max_windows(self, jobs: Sequence[_Job]) -> int:
        """Maximum size of the next batch: one thread's part of the waiting windows, limited by the batch size."""
        part = math.ceil(sum(job.open_windows for job in jobs) / self.num_threads)
        return min(self._batch_size, part)

    def _run(self, batch: Sequence[Share]) -> None:
        """One forward pass. If it fails, one per request, so that no request fails because of another's windows."""
        try:
            together = {
                name: torch.cat([job.inputs[name][first:last] for job, first, last in batch])
                for name in batch[0][0].inputs
            }
            found = self._forwards[batch[0][0].kind](together)
        except Exception as error:
            if len(batch) > 1:
                for share in batch:
                    self._run([share])
            else:
                self._fail(batch[0][0], error)
            return
        ends = np.cumsum([last - first for _, first, last in batch])[:-1]
        for (job, first, _), part in zip(batch, np.split(found, ends), strict=True):
            with self._changed:
                whole = job.keep(first, part)
            if whole is not None:
                _settle(job.answer.set_result, whole)

    def _fail(self, job: _Job, error: Exception) -> None:
        with self._changed:
            self._jobs = deque(one for one in self._jobs if one is not job)
        _settle(job.answer.set_exception, error)


def _shares(jobs: Sequence[_Job], batch_size: int) -> list[Share]:
    """Every job's share of a batch: equal shares, and the remainder for the first jobs."""
    chosen, left = jobs[:batch_size], batch_size
    open_windows = [job.open_windows for job in chosen]
    counts = [0] * len(chosen)
    while left and any(open_windows):
        each = max(1, left // sum(map(bool, open_windows)))
        for place, still_open in enumerate(open_windows):
            more = min(each, left, still_open)
            counts[place] += more
            open_windows[place] -= more
            left -= more
    return [(job, *job.take(count)) for job, count in zip(chosen, counts, strict=True)]


def _settle(settle: Callable[[Any], None], value: object) -> None:
    with contextlib.suppress(InvalidStateError):  # canceled meanwhile
        settle(value)
