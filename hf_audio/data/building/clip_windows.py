"""From clips to windows as they are stored: decode, resample, features, one call of the extractor for many clips."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from hf_audio.data.index.table import Clip
from hf_audio.data.recordings.audio import MAX_SAMPLES, read_pieces
from hf_audio.data.recordings.headers import Source
from hf_audio.data.recordings.mixing import read_clip
from hf_audio.data.recordings.reasons import AudioError
from hf_audio.kinds import Kind, WindowExtractor, kind_of
from hf_audio.windows import stretches

# clips gathered for one call of the extractor: about 27 of 3 s
BATCH_S = 80.0


class StoredWindow(NamedTuple):
    """A window as rows have it, and what statistics need of it.

    Attributes:
        start_s: in the recording.
        values: one for each column of the kind.
        num_frames: without padding.
        count: values under each sum.
        sum, sum_of_squares: one number, or one for each channel or feature.
    """

    start_s: float
    values: tuple
    num_frames: int
    count: int  # type: ignore[assignment]  # the name of a tuple's method
    sum: Any
    sum_of_squares: Any


class ClipRows(Protocol):
    """Where windows go."""

    def begin(self, clip: Clip) -> None:
        """What is added from here on is of this clip."""

    def add(self, clip: Clip, window: StoredWindow) -> None:
        """One window behind the others."""

    def exclude(self, clip: Clip, reason: str) -> None:
        """Leaves a clip out, with what was added of it."""

    def is_excluded(self, clip: Clip) -> bool:
        """Whether it was left out."""


@dataclass(frozen=True)
class WindowMaker:
    """Makes the windows of clips, all of the same settings; goes to worker processes as a whole."""

    extractor: WindowExtractor
    window_s: float
    hop_s: float

    def add_windows(
        self, sounds: Iterable[tuple[Clip, Source | AudioError]], rows: ClipRows, report: Callable[[int], object]
    ) -> None:
        """Adds the windows of clips to rows, in their order.

        Args:
            sounds: the clips, each with what it is to be decoded from, or why it cannot be.
            rows: told of windows, and of clips that cannot be used.
            report: told of finished clips.
        """
        kind = kind_of(self.extractor.parameters)
        with _one_torch_thread():
            for batch in self._batches(sounds, rows, report):
                windows = self.extractor.windows([sound for _, _, sound in batch], self.window_s, self.hop_s)
                for (clip, first, _), of_stretch in zip(batch, windows, strict=True):
                    if not rows.is_excluded(clip):
                        self._add_stretch(rows, kind, clip, first, of_stretch)

    def _batches(
        self, sounds: Iterable[tuple[Clip, Source | AudioError]], rows: ClipRows, report: Callable[[int], object]
    ) -> Iterator[list[tuple[Clip, int, np.ndarray]]]:
        """Stretches of the clips, with their first samples, as many as one call of the extractor is to get."""
        batch, batch_samples = [], 0
        for clip, source in sounds:
            try:
                for first, sound in self._stretches(clip, source):
                    batch.append((clip, first, sound))
                    batch_samples += sound.shape[-1]
                    if batch_samples >= BATCH_S * self.extractor.sample_rate:
                        yield batch
                        batch, batch_samples = [], 0
            except AudioError as error:
                batch = [one for one in batch if one[0] is not clip]
                rows.exclude(clip, error.reason)
            report(1)
        if batch:
            yield batch

    def _stretches(self, clip: Clip, source: Source | AudioError) -> Iterator[tuple[int, np.ndarray]]:
        """The sound of a clip, of a long one in several pieces that have its windows, each with its first sample."""
        if isinstance(source, AudioError):
            raise source
        wanted = self.extractor
        size, hop = wanted.window_samples(self.window_s, self.hop_s)
        num_windows = max(1, 1 + int(BATCH_S * wanted.sample_rate - size) // hop)
        pieces: Iterable[np.ndarray]
        if clip.parts or num_windows * hop + size > MAX_SAMPLES:
            pieces = [read_clip(clip, wanted.sample_rate, self.window_s, stereo=wanted.is_stereo, source=source)]
        else:
            pieces = read_pieces(source, wanted.sample_rate, clip.start_s, clip.end_s, stereo=wanted.is_stereo)
        for first, sound in stretches(pieces, size, hop, num_windows):
            if sound.shape[-1] < wanted.frame_samples:
                raise AudioError(
                    f"too short: {sound.shape[-1]} samples at {wanted.sample_rate} Hz, "
                    f"one frame takes {wanted.frame_samples}"
                )
            yield first, sound

    def _add_stretch(
        self, rows: ClipRows, kind: Kind, clip: Clip, first: int, windows: Iterable[tuple[float, np.ndarray]]
    ) -> None:
        first_s = first / self.extractor.sample_rate
        if first == 0:
            rows.begin(clip)
        for start_s, window in windows:  # made one at a time: overlapping ones of an hour would take gigabytes
            if not np.isfinite(window.max()):
                return rows.exclude(clip, "non-finite features: samples far outside [-1, 1]")
            rows.add(clip, self._stored(kind, clip.start_s + first_s + start_s, window))

    def _stored(self, kind: Kind, start_s: float, window: np.ndarray) -> StoredWindow:
        sums = window.sum(axis=kind.statistics_axis, dtype=np.float64)
        squares = np.square(window, dtype=np.float64).sum(axis=kind.statistics_axis)
        values = kind.encode(window, self.extractor.sample_rate)
        return StoredWindow(start_s, values, len(window), window.size // sums.size, sums, squares)


@contextlib.contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Processes are the parallel unit; threads inside them would only fight over the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
