"""Many recordings at once: threads read and prepare them, and windows of several go through the model together.

readers    file 1: blocks ...     file 2: blocks ...     file 3: cannot be read
model      [ windows of 1 and 2 ] [ windows of 2 and 3 ] ...       one thread, in batches
found      (2, answers) (1, answers) (3, "unreadable: ...")        as they get ready
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
from hf_audio.tagging.settings import TagSettings
from hf_audio.tagging.sounds import Recording
from hf_audio.tagging.tagger import Block, Tagger, check_answer, joined, keep
from hf_audio.tagging.tags import Tags

WAITING_BLOCKS = 2  # for each reader: what is prepared and waits for the model
PATIENCE_S = 0.05  # so long a batch waits for more windows
END = None


class Answers(NamedTuple):
    """What a model says of all windows of a recording.

    Attributes:
        starts_s: float64 `[windows]`, in the sound.
        values: float32 `[windows, size]`, finite.
        duration_s: of the sound.
    """

    recording: Recording
    starts_s: np.ndarray
    values: np.ndarray
    duration_s: float


def tagged(
    tagger: Tagger,
    recordings: Sequence[Recording],
    settings: TagSettings,
    *,
    num_threads: int | None = None,
    heard: Callable[[float], object] = lambda seconds: None,
) -> Iterator[tuple[int, Tags | str]]:
    """The place of each recording, and its tags or why it cannot be read; as they get ready.

    Args:
        num_threads, heard: see `answered`.
    """
    for number, found in answered(tagger, tagger.logits, recordings, settings, num_threads=num_threads, heard=heard):
        yield number, found if isinstance(found, str) else tagger.tags_of(found.recording, settings, *found[1:])


def answered(
    tagger: Tagger,
    answer: Callable[[dict[str, Tensor]], np.ndarray],
    recordings: Sequence[Recording],
    settings: TagSettings,
    *,
    num_threads: int | None = None,
    heard: Callable[[float], object] = lambda seconds: None,
) -> Iterator[tuple[int, Answers | str]]:
    """The place of each recording, and what its windows are answered or why there is nothing; as they get ready.

    Args:
        answer: the model: inputs of any number of windows → float32 `[windows, size]`.
        num_threads: that read; by default one for each core.
        heard: told of the seconds of sound that were gone through.
    """
    readers = _Readers(tagger, recordings, settings, min(num_threads or usable_cores(), max(1, len(recordings))))
    batch = _Batch(answer, tagger.predictor.batch_size)
    rest = len(recordings)
    open_ones = {}
    try:
        while rest:
            number, block = readers.next_block(PATIENCE_S)
            if number is not None and number not in open_ones:
                open_ones[number] = _Heard(recordings[number])
            if isinstance(block, Block):
                heard(open_ones[number].take(block))
                batch.add(open_ones[number], block)
            elif number is not None:
                open_ones[number].end(block)
            if batch.is_full or number is None or readers.have_ended:
                batch.run()
            for number in [number for number, one in open_ones.items() if one.is_finished]:
                rest -= 1
                yield number, open_ones.pop(number).result()
    finally:
        readers.stop()


class _Heard:
    """What is known of one recording so far."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.error: str | None = None
        self.starts_s: list[np.ndarray] = []
        self.values: list[np.ndarray] = []
        self.duration_s, self.has_ended, self.num_waiting = 0.0, False, 0

    def take(self, block: Block) -> float:
        """Notes a block that is still to be heard; returns the seconds of sound that it adds."""
        keep(self.starts_s, block.starts_s)
        added_s, self.duration_s = block.end_s - self.duration_s, block.end_s
        self.num_waiting += 1
        return added_s

    def end(self, error: str | None) -> None:
        self.has_ended, self.error = True, error

    @property
    def is_finished(self) -> bool:
        return self.has_ended and (self.error is not None or not self.num_waiting)

    def result(self) -> Answers | str:
        if self.error is not None:
            return self.error
        found = Answers(self.recording, np.concatenate(self.starts_s), np.concatenate(self.values), self.duration_s)
        try:
            check_answer(found.values)
        except AudioError as error:
            return error.reason
        return found


class _Batch:
    """Windows of one shape that wait for the model; those of another shape send them off."""

    def __init__(self, answer: Callable[[dict[str, Tensor]], np.ndarray], most: int) -> None:
        self.answer, self.most = answer, most
        self.waiting: list[tuple[_Heard, Block]] = []
        self.num_windows = 0
        self.shapes: dict[str, Any] | None = None

    @property
    def is_full(self) -> bool:
        return self.num_windows >= self.most

    def add(self, one: _Heard, block: Block) -> None:
        shapes = {name: value.shape[1:] for name, value in block.inputs.items()}
        if shapes != self.shapes or self.num_windows + len(block.starts_s) > self.most:
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
            keep(one.values, own)
            one.num_waiting -= 1
        self.waiting, self.num_windows = [], 0


class _Readers:
    """Threads that take one recording after the other and put its blocks into a queue of limited length."""

    def __init__(
        self, tagger: Tagger, recordings: Sequence[Recording], settings: TagSettings, num_threads: int
    ) -> None:
        self._tagger, self._settings = tagger, settings
        self._rest = iter(enumerate(recordings))
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._blocks: queue.Queue = queue.Queue(num_threads * WAITING_BLOCKS)
        self._threads = [threading.Thread(target=self._read_all, daemon=True) for _ in range(num_threads)]
        for thread in self._threads:
            thread.start()

    @property
    def have_ended(self) -> bool:
        """Whether nothing more comes."""
        return not any(thread.is_alive() for thread in self._threads) and self._blocks.empty()

    def next_block(self, patience_s: float) -> tuple[int | None, Block | str | None]:
        """The place of a recording with a block of it, or with its error or None at its end; (None, None) where there
        was nothing for so long."""
        try:
            number, block = self._blocks.get(timeout=patience_s)
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
            self._put(number, self._ending(number, recording))

    def _ending(self, number: int, recording: Recording) -> str | BaseException | None:
        """Reads a recording to its end: None, why it cannot be read, or an error of ours."""
        try:
            for block in self._tagger.blocks(recording, self._settings):
                if not self._put(number, block):
                    break
        except AudioError as error:
            return error.reason
        except InputError as error:
            return str(error)
        except BaseException as error:  # raised where it is waited for
            return error
        return END

    def _put(self, number: int, block: Block | str | BaseException | None) -> bool:
        """Waits for a free place; False where nobody takes it any more."""
        while not self._stopped.is_set():
            try:
                self._blocks.put((number, block), timeout=0.2)
                return True
            except queue.Full:
                continue
        return False
