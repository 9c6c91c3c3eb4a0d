"""Windows of several requests in one forward pass, by one thread: ten take a small model little longer than one.

No request waits for others to come: a batch is what is there when the model is free. Where there is more than a batch,
every request gets its share of it, so that a recording of ten minutes does not keep those of a second waiting.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

Inputs = Mapping[str, Tensor]
Forward = Callable[[Inputs], np.ndarray]


@dataclass(eq=False)
class _Job:
    """The windows of a request, and what is known of them so far."""

    kind: str
    inputs: Inputs
    size: int
    answer: Future = field(default_factory=Future)
    done: list[np.ndarray] = field(default_factory=list)
    taken: int = 0

    @property
    def alike(self) -> tuple:
        """What windows must have in common to be judged together."""
        shapes = ((name, tuple(value.shape[1:]), value.dtype) for name, value in sorted(self.inputs.items()))
        return (self.kind, *shapes)

    def take(self, count: int) -> tuple[int, int]:
        """Where its next windows are, at most so many."""
        first, self.taken = self.taken, min(self.size, self.taken + count)
        return first, self.taken


Share = tuple[_Job, int, int]  # first window, and the one behind the last


class Batcher:
    """Runs a model in a thread of its own.

    Args:
        forwards: by kind, from inputs of a batch `[windows, ...]` to an array `[windows, ...]`.
        batch_size: most windows of a batch.
        several: whether a batch may be of several requests.
        observed: told of every batch: its requests, its windows.
    """

    def __init__(
        self,
        forwards: Mapping[str, Forward],
        batch_size: int,
        *,
        several: bool = True,
        observed: Callable[[int, int], None] = lambda requests, windows: None,
    ) -> None:
        self._forwards, self._batch_size, self._several = forwards, batch_size, several
        self._observed = observed
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def submit(self, kind: str, inputs: Inputs) -> Future:
        """A future of what the model says of windows, in their order; cancel it where nobody waits any more.

        Raises:
            RuntimeError: it was closed.
        """
        job = _Job(kind, inputs, len(next(iter(inputs.values()))))
        with self._changed:
            if self._closed:
                raise RuntimeError("the model takes no more windows")
            self._jobs.append(job)
            self._changed.notify()
        return job.answer

    @property
    def waiting_windows(self) -> int:
        """Windows that no batch has taken."""
        with self._changed:
            return sum(job.size - job.taken for job in self._jobs)

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Finishes what it has, and ends its thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

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
                self._judge(batch)

    def _next_batch(self) -> list[Share]:
        """Shares of the first jobs that go together; those with windows left go behind the others."""
        self._jobs = deque(job for job in self._jobs if not job.answer.cancelled())
        if not self._jobs:
            return []
        alike = self._jobs[0].alike
        together = [job for job in self._jobs if job.alike == alike]
        shares = _shares(together if self._several else together[:1], self._batch_size)
        served = {id(job) for job, _, _ in shares}
        others = [job for job in self._jobs if id(job) not in served]
        self._jobs = deque([*others, *(job for job, _, last in shares if last < job.size)])
        return shares

    def _judge(self, batch: Sequence[Share]) -> None:
        """One forward pass; where it fails, one for each request, so that none suffers from another's windows."""
        try:
            together = {
                name: torch.cat([job.inputs[name][first:last] for job, first, last in batch])
                for name in batch[0][0].inputs
            }
            found = self._forwards[batch[0][0].kind](together)
        except Exception as error:
            if len(batch) > 1:
                for share in batch:
                    self._judge([share])
            else:
                self._fail(batch[0][0], error)
            return
        ends = np.cumsum([last - first for _, first, last in batch])[:-1]
        for (job, _, last), part in zip(batch, np.split(found, ends), strict=True):
            job.done.append(part)
            if last == job.size:
                _settle(job.answer.set_result, np.concatenate(job.done))

    def _fail(self, job: _Job, error: Exception) -> None:
        with self._changed:
            self._jobs = deque(one for one in self._jobs if one is not job)
        _settle(job.answer.set_exception, error)


def _shares(jobs: Sequence[_Job], batch_size: int) -> list[Share]:
    """Every job's share of a batch: all the same, and what is left to the first ones."""
    chosen, left = jobs[:batch_size], batch_size
    open_windows = [job.size - job.taken for job in chosen]
    counts = [0] * len(chosen)
    while left and any(open_windows):
        each = max(1, left // sum(map(bool, open_windows)))
        for place, still_open in enumerate(open_windows):
            more = min(each, left, still_open)
            counts[place] += more
            open_windows[place] -= more
            left -= more
    return [(job, *job.take(count)) for job, count in zip(chosen, counts, strict=True)]


def _settle(settle: Callable[[object], None], value: object) -> None:
    with contextlib.suppress(InvalidStateError):  # canceled meanwhile: nobody waits
        settle(value)
