"""The measurements of a clip in an audit, made in one pass and in chunks, so that long recordings fit in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soxr

from hf_audio.audit.fingerprints import PLOT_S, SAMPLE_RATE, plot
from hf_audio.data.index.table import Clip
from hf_audio.data.recordings.audio import CANCELLED, SILENT_PEAK, AudioError, probe, read_blocks
from hf_audio.data.recordings.headers import Source, lacks_last_page, missing_bytes

# The four largest 16-bit values count as full scale. The largest 8-bit value is 127 / 128.
FULL_SCALE, FULL_SCALE_8_BITS = 0.9999, 0.99
# A tone reaches full scale for one or two samples at a time; a clipping converter stays there.
SHORTEST_RUN = 3
FRAME_S, QUIET_FRAME_PEAK = 0.05, 0.001  # -60 dB of full scale: below the noise of any room


@dataclass
class ClipFacts:
    """The measurements of one clip. If it cannot be used, only `clip_id` and `error` are set.

    Attributes:
        error: why it cannot be used, None if it can.
        format, subtype: format of the file, in libsndfile's names.
        peak: largest magnitude in any channel, 1 is full scale.
        rms: root of the mean square over all channels.
        offset: the mean of the channel whose mean has the largest magnitude, with its sign.
        clipped: share of samples in runs at full scale.
        quiet: share of 50 ms frames whose peak is below -60 dB.
        mix_db: level of the mean of all channels relative to the channels, 0 if they are equal.
        dead_channels: number of silent channels, if others are not.
        missing: share of the bytes promised by the header that the file lacks.
        lacks_end: whether the last page of an Ogg file is missing.
        digest: equal for equal samples, regardless of the container.
        image: from `fingerprints.plot`.
    """

    clip_id: str
    error: str | None = None
    format: str = ""
    subtype: str = ""
    sample_rate: int = 0
    channels: int = 0
    duration_s: float = 0.0
    peak: float = 0.0
    rms: float = 0.0
    offset: float = 0.0
    clipped: float = 0.0
    quiet: float = 0.0
    mix_db: float = 0.0
    dead_channels: int = 0
    missing: float = 0.0
    lacks_end: bool = False
    digest: str = ""
    image: np.ndarray = field(default_factory=lambda: np.zeros((0, 32), np.uint8))


def examine_clip(clip: Clip, source: Source | AudioError) -> ClipFacts:
    """Decodes a clip of a recording and measures it; a problem with the recording becomes `error`."""
    try:
        if isinstance(source, AudioError):
            raise source
        info = probe(source)
        measured = _Measures(info.sample_rate, FULL_SCALE_8_BITS if info.subtype.endswith(("U8", "S8")) else FULL_SCALE)
        for block in read_blocks(source, clip.start_s, clip.end_s):
            measured.add(block)
        lacking, promised = missing_bytes(source) or (0, 1)
        facts = measured.facts(clip.clip_id)
        facts.lacks_end = lacks_last_page(source)
    except AudioError as error:
        return ClipFacts(clip.clip_id, error=error.reason)
    except OSError as error:
        return ClipFacts(clip.clip_id, error=f"unreadable: {error.strerror}")
    facts.format, facts.subtype = info.format, info.subtype
    facts.sample_rate, facts.channels = info.sample_rate, info.channels
    facts.missing = lacking / promised
    return facts


class _Measures:
    """Running sums over the blocks `[samples, channels]` of one clip."""

    def __init__(self, sample_rate: int, full_scale: float) -> None:
        self.sample_rate, self.full_scale = sample_rate, full_scale
        self.samples = self.clipped = self.frames = self.quiet_frames = 0
        self.sum: Any = 0.0  # float64 `[channels]` after the first block, like the next two
        self.squares: Any = 0.0
        self.peaks: Any = 0.0
        self.mix_squares = self.mix_peak = 0.0
        self.beginning: list[np.ndarray] = []  # mono, as long as a plot
        self.digest = hashlib.blake2b(f"{sample_rate} Hz".encode(), digest_size=16)

    def add(self, block: np.ndarray) -> None:
        """Adds a block.

        Raises:
            AudioError: samples that are not finite.
        """
        magnitudes = np.abs(block)
        peaks = magnitudes.max(axis=0)
        if not np.isfinite(peaks).all():
            raise AudioError("non-finite samples")
        self.digest.update(np.ascontiguousarray(block + np.float32(0)).data)  # + 0 turns -0 into 0
        mono = block.mean(axis=1)
        self.sum = self.sum + block.sum(axis=0, dtype=np.float64)
        self.squares = self.squares + np.square(block, dtype=np.float64).sum(axis=0)
        self.peaks = np.maximum(self.peaks, peaks)
        self.mix_peak = max(self.mix_peak, float(np.abs(mono).max()))
        self.mix_squares += float(np.square(mono, dtype=np.float64).sum())
        if peaks.max() >= self.full_scale:
            self.clipped += _samples_in_runs(magnitudes >= self.full_scale)
        frame = max(1, round(FRAME_S * self.sample_rate))
        loudest = np.maximum.reduceat(magnitudes.max(axis=1), np.arange(0, len(block), frame))
        self.frames += len(loudest)
        self.quiet_frames += int((loudest < QUIET_FRAME_PEAK).sum())
        wanted = round((PLOT_S + 1) * self.sample_rate) - self.samples
        if wanted > 0:
            self.beginning.append(mono[:wanted])
        self.samples += len(block)

    def facts(self, clip_id: str) -> ClipFacts:
        """The measurements from the sums.

        Raises:
            AudioError: silent in every channel or in their mean, with the same message as `read_audio`.
        """
        if self.peaks.max() < SILENT_PEAK:
            raise AudioError("silent")
        if self.mix_peak < CANCELLED * self.peaks.max():
            raise AudioError("silent as mono: its channels cancel each other")
        channels = len(self.peaks)
        mean_square = float(self.squares.sum()) / (self.samples * channels)
        means = self.sum / self.samples
        beginning = soxr.resample(np.concatenate(self.beginning), self.sample_rate, SAMPLE_RATE)
        return ClipFacts(
            clip_id,
            duration_s=self.samples / self.sample_rate,
            peak=float(self.peaks.max()),
            rms=mean_square**0.5,
            offset=float(means[np.abs(means).argmax()]),
            clipped=self.clipped / (self.samples * channels),
            quiet=self.quiet_frames / self.frames,
            mix_db=float(10 * np.log10(max(self.mix_squares / self.samples / mean_square, 1e-12))),
            dead_channels=int((self.peaks < SILENT_PEAK).sum()),
            digest=self.digest.hexdigest(),
            image=plot(beginning.astype(np.float32)),
        )


def _samples_in_runs(full: np.ndarray) -> int:
    """How many values of `[samples, channels]` are in runs of at least SHORTEST_RUN true values."""
    if len(full) < SHORTEST_RUN:
        return 0
    begins = np.logical_and.reduce([full[at : len(full) - SHORTEST_RUN + 1 + at] for at in range(SHORTEST_RUN)])
    in_run = np.zeros_like(full)
    for at in range(SHORTEST_RUN):
        in_run[at : len(full) - SHORTEST_RUN + 1 + at] |= begins
    return int(in_run.sum())


def fact_names() -> Iterator[str]:
    """Names of the attributes that are numbers or strings."""
    return (name for name in ClipFacts.__dataclass_fields__ if name != "image")
