"""Runs a model on many recordings: threads read and prepare them, and batches contain windows of several.

readers    file 1: blocks ...     file 2: blocks ...     file 3: cannot be read
model      [ windows of 1 and 2 ] [ windows of 2 and 3 ] ...       one thread, in batches
found      (2, answers) (1, answers) (3, "unreadable: ...")        in the order of completion
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from hf_audio.data.recordings.reasons import AudioError
from hf_audio.environment import usable_cores
from hf_audio.errors import InputError
from hf_audio.tagging.blocks import Block, append, check_finite, joined
from hf_audio.tagging.settings import TagSettings
from hf_audio.tagging.sounds import Recording
from hf_audio.tagging.tagger import Tagger

MAX_WAITING_BLOCKS = 2  # per reader: prepared blocks that wait for the model
MAX_BATCH_WAIT_S = 0.05  # how long an incomplete batch waits for more windows
END = None


class Answers(NamedTuple):
    """A model's outputs for all windows of a recording.

    Attributes:
        recording: the recording.
        settings: how it was cut into windows.
        starts_s: float64 `[windows]`, in the recording.
        values: float32 `[windows, size]`, finite.
        duration_s: duration of the recording.
    """

    recording: Recording
    settings: TagSettings
    starts_s: np.ndarray
    values: np.ndarray
    duration_s: float


def answered(
    tagger: Tagger,
    answer: Callable[[dict[str, Tensor]], np.ndarray],
    recordings: Sequence[Recording],
    settings: TagSettings,
    *,
    made: Callable[..., Any] = Answers,
    num_threads: int | None = None,
    progressed: Callable[[float], object] = lambda seconds: None,
) -> Iterator[tuple[int, Any | str]]:
    """The index of each recording with its result, or with the reason why it cannot be read, in order of completion.

        answered(tagger, tagger.logits, recordings, settings, made=tagger.tags_of)
        answered(tagger, tagger.embeddings, recordings, settings, made=tagger.embeddings_of)

    Args:
        answer: the model: inputs of any number of windows → float32 `[windows, size]`.
        made: creates a recording's result from the fields of `Answers`. Default: `Answers`.
        num_threads: number of reading threads. Default: one per core.
        progressed: called with the seconds of sound that were added.
    """
    readers = _Readers(tagger, recordings, settings, min(num_threads or usable_cores(), max(1, len(recordings))))
    batch = _Batch(answer, tagger.predictor.batch_size)
    rest = len(recordings)
    open_ones = {}
    try:
        while rest:
            number, block = readers.next_block(MAX_BATCH_WAIT_S)
            if number is not None and number not in open_ones:
                open_ones[number] = _OpenRecording(recordings[number])
            if isinstance(block, Block):
                progressed(open_ones[number].take(block))
                batch.add(open_ones[number], block)
            elif number is not None:
                open_ones[number].end(block)
            if batch.is_full or number is None or readers.have_ended:
                batch.run()
            for number in [number for number, one in open_ones.items() if one.is_finished]:
                rest -= 1
                found = open_ones.pop(number).answers(settings)
                yield number, found if isinstance(found, str) else made(*found)
    finally:
        readers.stop()


class _OpenRecording:
    """The outputs for one recording so far."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.error: str | None = None
        self.starts_s: list[np.ndarray] = []
        self.values: list[np.ndarray] = []
        self.duration_s, self.has_ended, self.num_waiting = 0.0, False, 0

    def take(self, block: Block) -> float:
        """Registers a block that waits for the model; returns the seconds of sound that it adds."""
        append(self.starts_s, block.starts_s)
        added_s, self.duration_s = block.end_s - self.duration_s, block.end_s
        self.num_waiting += 1
        return added_s

    def end(self, error: str | None) -> None:
        self.has_ended, self.error = True, error

    @property
    def is_finished(self) -> bool:
        return self.has_ended and (self.error is not None or not self.num_waiting)

    def answers(self, settings: TagSettings) -> Answers | str:
        """The outputs for all windows, or the reason why there are none."""
        if self.error is not None:
            return self.error
        starts_s, values = np.concatenate(self.starts_s), np.concatenate(self.values)
        try:
            check_finite(values)
        except AudioError as error:
            return error.reason
        return Answers(self.recording, settings, starts_s, values, self.duration_s)


class _Batch:
    """Windows of one shape that wait for the model. Adding windows of another shape runs it first."""

    def __init__(self, answer: Callable[[dict[str, Tensor]], np.ndarray], max_windows: int) -> None:
        self.answer, self.max_windows = answer, max_windows
        self.waiting: list[tuple[_OpenRecording, Block]] = []
        self.num_windows = 0
        self.shapes: dict[str, Any] | None = None

    @property
    def is_full(self) -> bool:
        return self.num_windows >= self.max_windows

    def add(self, one: _OpenRecording, block: Block) -> None:
        shapes = {name: value.shape[1:] for name, value in block.inputs.items()}
        if shapes != self.shapes or self.num_windows + len(block.starts_s) > self.max_windows:
            self.run()
        self.shapes = shapes
        self.waiting.append((one, block))
        self.num_windows += len(block.starts_s)

    def run(self) -> None:
        if not self.waiting:
            return
        values = self.answer(joined([block.inputs for _, block in self.waiting]))
        ends = np.cumsum([len(block.starts_s) for _, block in self.waiting])
        for (one, _), own in zip(self.waiting, np.split(values, ends[:-1]), strict=True):
            append(one.values, own)
            one.num_waiting -= 1
        self.waiting, self.num_windows = [], 0


class _Readers:
    """Threads that read one recording after another and put the blocks into a queue of limited length."""

    def __init__(
        self, tagger: Tagger, recordings: Sequence[Recording], settings: TagSettings, num_threads: int
    ) -> None:
        self._tagger, self._settings = tagger, settings
        self._rest = iter(enumerate(recordings))
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._blocks: queue.Queue = queue.Queue(num_threads * MAX_WAITING_BLOCKS)
        self._threads = [threading.Thread(target=self._read_all, daemon=True) for _ in range(num_threads)]
        for thread in self._threads:
            thread.start()

    @property
    def have_ended(self) -> bool:
        """Whether there are no more blocks."""
        return not any(thread.is_alive() for thread in self._threads) and self._blocks.empty()

    def next_block(self, max_wait_s: float) -> tuple[int | None, Block | str | None]:
        """The index of a recording with one of its blocks, its error, or END after its last block; (None, None) if
        nothing arrived within `max_wait_s`."""
        try:
            number, block = self._blocks.get(timeout=max_wait_s)
        except queue.Empty:
            return None, None
        if isinstance(block, BaseException):
            raise block
        return number, block

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _read_all(self) -> None:
        while not self._stopped.is_set():
            with self._lock:
                number, recording = next(self._rest, (None, None))
            if number is None:
                return
            self._put(number, self._read(number, recording))

    def _read(self, number: int, recording: Recording) -> str | BaseException | None:
        """Reads a recording to its end. Returns END, the reason why it cannot be read, or an unexpected error."""
        try:
            for block in self._tagger.blocks(recording, self._settings):
                if not self._put(number, block):
                    break
        except AudioError as error:
            return error.reason
        except InputError as error:
            return str(error)
        except BaseException as error:  # raised in the thread that reads the queue
            return error
        return END

    def _put(self, number: int, block: Block | str | BaseException | None) -> bool:
        """Waits for space in the queue; False if the readers were stopped."""
        while not self._stopped.is_set():
            try:
                self._blocks.put((number, block), timeout=0.2)
                return True
            except queue.Full:
                continue
        return False
