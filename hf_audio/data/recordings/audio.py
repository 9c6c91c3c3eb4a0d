"""Decodes recordings from files or bytes, as mono or stereo, resampled once; every defect is a named error."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from hf_audio.data.recordings.channels import front_pair, mix_down
from hf_audio.data.recordings.opening import (
    SHORTFALL,
    SHORTFALL_S,
    SoundFile,
    Source,
    check_can_seek,
    check_is_whole,
    opened,
)
from hf_audio.data.recordings.reasons import AudioError, said

# -100 dB of full scale: a recording with a lower peak counts as digital silence
SILENT_PEAK = 1e-5
# Where channels cancel each other, rounding to 16 bits or a codec leaves a residue 60 dB below them
CANCELLED = 1e-3
# Decoded at a time: long recordings are mixed to mono block by block, so that not all channels are held in memory
BLOCK_FRAMES = 1 << 20
# To seek to a frame, an MP3 decoder needs the four frames of 1,152 samples before it
MP3_LEAD_FRAMES = 4 * 1152
# Held in memory at once, 2 GB of float32: three hours of mono at 44.1 kHz. A few MB of FLAC can hold ten hours.
MAX_SAMPLES = 500_000_000
# `read_pieces` cuts longer stretches into pieces: 53 MB of mono at 44.1 kHz
WHOLE_S = 300.0


@dataclass(frozen=True)
class AudioInfo:
    """The facts in a file's header; `format` and `subtype` are libsndfile's names, such as "WAV" and "PCM_16"."""

    duration_s: float
    sample_rate: int
    channels: int
    format: str = ""
    subtype: str = ""


def probe(source: Source) -> AudioInfo:
    """Duration, sample rate and channels from the header, without decoding.

    Raises:
        AudioError: the file is missing, empty or not audio.
    """
    with opened(source) as file:
        return AudioInfo(file.frames / file.samplerate, file.samplerate, file.channels, file.format, file.subtype)


def read_audio(
    source: Source, sample_rate: int, start_s: float = 0.0, end_s: float | None = None, *, stereo: bool = False
) -> np.ndarray:
    """Decodes a file, or the stretch of it from `start_s` to `end_s` seconds, as mono or stereo.

    Channels are averaged before resampling (soxr, high quality), so that only one signal is resampled. In stereo, the
    channel of a mono file is both left and right; of more than two channels, the first two are used, which are front
    left and right in WAV and FLAC files.

    Returns:
        float32 `[samples]` at `sample_rate`, in [-1, 1]; in stereo `[2, samples]`.

    Raises:
        AudioError: missing, empty, unreadable, too short, too long (more than MAX_SAMPLES), silent, or non-finite
            samples.
    """
    with opened(source) as file:
        return _whole(source, file, sample_rate, start_s, end_s, stereo)


def read_pieces(
    source: Source,
    sample_rate: int,
    start_s: float = 0.0,
    end_s: float | None = None,
    *,
    stereo: bool = False,
    may_be_silent: bool = False,
) -> Iterator[np.ndarray]:
    """The same samples as `read_audio`, of a recording of any length, in pieces; a short one is one piece.

    Args:
        may_be_silent: accept silence, for predictions; training refuses it.

    Raises:
        AudioError: see `read_audio`; errors that can only be known at the end, such as silence, are raised at the end.
    """
    with opened(source) as file:
        if len(_stretch(file, start_s, end_s)) <= WHOLE_S * file.samplerate:
            yield _whole(source, file, sample_rate, start_s, end_s, stereo, may_be_silent)
            return
        mix, file_rate, peak = front_pair if stereo else mix_down, file.samplerate, 0.0
        resampled = soxr.ResampleStream(file_rate, sample_rate, 2 if stereo else 1, dtype="float32")
        for block, full_scale in _blocks(source, file, start_s, end_s):
            sound = mix(block, full_scale)
            peak = max(peak, _finite_peak(sound))
            yield sound if file_rate == sample_rate else _finite(resampled.resample_chunk(_upright(sound)).T)
        channels = file.channels
    if not may_be_silent:
        _check_heard(peak, source, channels, start_s, end_s, stereo)
    if file_rate != sample_rate:
        rest = np.empty((0, 2) if stereo else 0, np.float32)
        yield _finite(resampled.resample_chunk(rest, last=True).T)


def _whole(
    source: Source,
    file: SoundFile,
    sample_rate: int,
    start_s: float,
    end_s: float | None,
    stereo: bool,
    may_be_silent: bool = False,
) -> np.ndarray:
    stretch = _stretch(file, start_s, end_s)
    _check_fits(file, stretch, sample_rate, 2 if stereo else 1)
    mix, file_rate = front_pair if stereo else mix_down, file.samplerate
    sound = _joined(
        (mix(block, full_scale) for block, full_scale in _blocks(source, file, start_s, end_s)), len(stretch)
    )
    peak = _finite_peak(sound)
    if not may_be_silent:
        _check_heard(peak, source, file.channels, start_s, end_s, stereo)
    if file_rate == sample_rate:
        return sound
    resampled = soxr.resample(_upright(sound), file_rate, sample_rate).T
    if not resampled.size:
        raise AudioError(f"too short: {sound.shape[-1]} samples at {file_rate} Hz")
    return np.ascontiguousarray(_finite(resampled))


def _upright(sound: np.ndarray) -> np.ndarray:
    """`[samples]` or `[2, samples]` → `[samples]` or `[samples, 2]`, the layout of soxr."""
    upright = np.ascontiguousarray(sound.T)
    return upright if len(upright) > 1 else upright.copy()  # soxr refuses the strides of one turned sample


def _finite_peak(sound: np.ndarray) -> float:
    peak = max(-float(sound.min()), float(sound.max()))
    if not np.isfinite(peak):
        raise AudioError("non-finite samples")
    return peak


def _finite(sound: np.ndarray) -> np.ndarray:
    if not np.isfinite(sound).all():  # filters overshoot
        raise AudioError("non-finite samples")
    return sound


def _check_heard(peak: float, source: Source, channels: int, start_s: float, end_s: float | None, stereo: bool) -> None:
    """Refuses silence, and channels that cancel each other."""
    if channels > 1 and not stereo and peak < CANCELLED:
        loudest = max(float(abs(block).max()) for block in read_blocks(source, start_s, end_s))
        if peak < CANCELLED * loudest and loudest >= SILENT_PEAK:
            raise AudioError("silent as mono: its channels cancel each other")
    if peak < SILENT_PEAK:
        raise AudioError("silent")


def read_blocks(source: Source, start_s: float = 0.0, end_s: float | None = None) -> Iterator[np.ndarray]:
    """A stretch in blocks, neither mixed nor resampled: float32 `[samples, channels]` at the file's own rate.

    Raises:
        AudioError: missing, empty, unreadable or too short, raised when the first or a later block is requested.
    """
    with opened(source) as file:
        for block, full_scale in _blocks(source, file, start_s, end_s):
            yield block * np.float32(1.0 / full_scale)


def _stretch(file: SoundFile, start_s: float, end_s: float | None) -> range:
    """Which samples of the file lie between `start_s` and `end_s` seconds, or its end."""
    last = file.frames if end_s is None else min(round(end_s * file.samplerate), file.frames)
    return range(round(start_s * file.samplerate), last)


def _check_fits(file: SoundFile, stretch: range, sample_rate: int, channels: int) -> None:
    """Refuses, before anything is decoded, what would fill the memory, either decoded or resampled."""
    max_s = MAX_SAMPLES / channels / max(file.samplerate, sample_rate)
    if len(stretch) / file.samplerate > max_s:
        raise AudioError(
            f"too long: {len(stretch) / file.samplerate / 3600:.1f} h, expected at most {max_s / 3600:.1f} h; cut it, "
            "or list stretches of it with start_s and end_s"
        )


def _joined(pieces: Iterator[np.ndarray], num_samples: int) -> np.ndarray:
    """Pieces `[..., samples]` joined, at most `num_samples`, without holding a long recording twice."""
    sound, filled = next(pieces), 0
    if sound.shape[-1] == num_samples:
        return sound
    first, sound = sound, np.empty((*sound.shape[:-1], num_samples), np.float32)
    for piece in itertools.chain([first], pieces):
        sound[..., filled : filled + piece.shape[-1]] = piece
        filled += piece.shape[-1]
    return sound if filled == num_samples else np.ascontiguousarray(sound[..., :filled])


def _blocks(source: Source, file: SoundFile, start_s: float, end_s: float | None) -> Iterator[tuple[np.ndarray, float]]:
    """A stretch in blocks, at least one: float32 `[samples, channels]`, each with its value of full scale."""
    stretch = _stretch(file, start_s, end_s)
    first, last = stretch.start, stretch.stop
    if not stretch:
        raise AudioError(f"too short: it ends at {file.frames / file.samplerate:.2f} s, before {start_s:.2f} s")
    if end_s is None or end_s * file.samplerate > file.frames:
        check_is_whole(source, file)
    # libsndfile takes eight times as long as numpy to convert 16-bit samples to float
    dtype, full_scale = ("int16", 32768.0) if file.subtype == "PCM_16" else ("float32", 1.0)
    lead = min(first, MP3_LEAD_FRAMES) if file.format == "MP3" else 0
    position, block_frames = first - lead, max(1, 2 * BLOCK_FRAMES // max(2, file.channels))
    try:
        if position:
            check_can_seek(source, file)
            file.seek(position)
        while position < last:
            block = file.read(min(block_frames, last - position), dtype=dtype, always_2d=True)
            if not len(block):
                break
            position += len(block)
            if position > first:
                yield block[max(0, len(block) - (position - first)) :].astype(np.float32, copy=False), full_scale
    except (OSError, RuntimeError) as error:
        raise AudioError(f"unreadable: {said(error)}") from error
    if last - position > max(SHORTFALL_S * file.samplerate, SHORTFALL * (last - first)):
        promised_s, found_s = (frames / file.samplerate for frames in (last, position))
        raise AudioError(f"unreadable: truncated after {found_s:.2f} of {promised_s:.2f} s")
    if position <= first:
        raise AudioError("unreadable: no sample could be decoded")
