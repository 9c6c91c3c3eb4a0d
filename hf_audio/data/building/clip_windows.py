"""Makes stored windows from clips: decodes, resamples and computes features, one extractor call for many clips."""

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

# Sound in one call of the extractor: about 27 clips of 3 s
BATCH_S = 80.0


class StoredWindow(NamedTuple):
    """A window as it is stored in rows, and its sums for statistics.

    Attributes:
        start_s: its start in the recording.
        values: one for each column of the kind.
        num_frames: number of frames without padding.
        count: number of values in each sum.
        sum, sum_of_squares: one number, or one per channel or feature.
    """

    start_s: float
    values: tuple
    num_frames: int
    count: int  # type: ignore[assignment]  # the name of a tuple's method
    sum: Any
    sum_of_squares: Any


class ClipRows(Protocol):
    """Receives windows."""

    def begin(self, clip: Clip) -> None:
        """Starts a clip; the windows added next belong to it."""

    def add(self, clip: Clip, window: StoredWindow) -> None:
        """Adds the next window."""

    def exclude(self, clip: Clip, reason: str) -> None:
        """Leaves a clip out, including windows that were already added."""

    def is_excluded(self, clip: Clip) -> bool:
        """Whether it was left out."""


@dataclass(frozen=True)
class WindowMaker:
    """Makes the windows of clips, all with the same settings; it is pickled and sent to worker processes."""

    extractor: WindowExtractor
    window_s: float
    hop_s: float

    def add_windows(
        self, sounds: Iterable[tuple[Clip, Source | AudioError]], rows: ClipRows, report: Callable[[int], object]
    ) -> None:
        """Adds the windows of clips to rows, in order.

        Args:
            sounds: the clips, each with the source to decode, or why it cannot be decoded.
            rows: receives windows, and clips that cannot be used.
            report: called with the number of finished clips.
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
        """Batches for one call of the extractor each: stretches of clips, with the positions of their first samples."""
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
        """The sound of a clip with the position of its first sample; a long clip comes in several pieces."""
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
                    f"but one frame needs {wanted.frame_samples}"
                )
            yield first, sound

    def _add_stretch(
        self, rows: ClipRows, kind: Kind, clip: Clip, first: int, windows: Iterable[tuple[float, np.ndarray]]
    ) -> None:
        first_s = first / self.extractor.sample_rate
        if first == 0:
            rows.begin(clip)
        for start_s, window in windows:  # one at a time: overlapping windows of an hour would take gigabytes
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
    """Work is parallel over processes; threads within them would only compete for the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
