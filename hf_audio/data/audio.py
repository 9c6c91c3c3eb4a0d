"""Reading audio files: any format of libsndfile, mixed to mono, resampled once, every defect named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

# below -100 dB of full scale there is nothing to hear: the peak of what is called digital silence
SILENT_PEAK = 1e-5
# libsndfile's answer for a stream without an end
UNKNOWN_FRAMES = 2**62
# a piece of decoding: long recordings are mixed to mono piece by piece, never held in all their channels
BLOCK_FRAMES = 1 << 20
# an MP3 decoder needs the frames before the one it jumps to: four of 1,152 samples
MP3_LEAD_FRAMES = 4 * 1152
# Headers of good MP3 files promise up to 0.3 s too much. A file that lacks more than both of these was cut off.
SHORTFALL_S, SHORTFALL = 0.5, 0.25


class AudioError(Exception):
    """A file cannot be used; `reason` says why in a few words, e.g. "missing" or "silent"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says."""

    duration_s: float
    sample_rate: int
    channels: int


def probe(path: str | Path) -> AudioInfo:
    """Duration, sample rate and channels from the header, without decoding.

    Raises:
        AudioError: the file is missing, empty or no audio.
    """
    with _opened(path) as file:
        return AudioInfo(file.frames / file.samplerate, file.samplerate, file.channels)


def read_audio(path: str | Path, sample_rate: int, start_s: float = 0.0, end_s: float | None = None) -> np.ndarray:
    """Decode a file, or the stretch of it from `start_s` to `end_s` seconds, as mono.

    Channels are averaged first, so that one signal is resampled (soxr, high quality) whatever their number.

    Returns:
        float32 `[samples]` at `sample_rate`, in [-1, 1].

    Raises:
        AudioError: missing, empty, unreadable, too short, silent, or non-finite samples.
    """
    with _opened(path) as file:
        first = round(start_s * file.samplerate)
        last = file.frames if end_s is None else min(round(end_s * file.samplerate), file.frames)
        if first >= last:
            raise AudioError(f"too short: it ends at {file.frames / file.samplerate:.2f} s, before {start_s:.2f} s")
        mono, file_rate = _read_mono(file, first, last), file.samplerate
    if not len(mono):
        raise AudioError("unreadable: no sample could be decoded")
    peak = max(-float(mono.min()), float(mono.max()))
    if not np.isfinite(peak):
        raise AudioError("non-finite samples")
    if peak < SILENT_PEAK:
        raise AudioError("silent")
    return mono if file_rate == sample_rate else soxr.resample(mono, file_rate, sample_rate)


def _opened(path: str | Path) -> soundfile.SoundFile:
    try:
        if not Path(path).is_file():
            raise AudioError("missing")
        if Path(path).stat().st_size == 0:
            raise AudioError("empty")
        file = soundfile.SoundFile(path)
    except (OSError, RuntimeError) as error:
        raise AudioError(f"unreadable: {_said(error)}") from error
    if not 0 < file.frames < UNKNOWN_FRAMES:
        file.close()
        raise AudioError("empty" if file.frames <= 0 else "unreadable: its length is unknown")
    return file


def _read_mono(file: soundfile.SoundFile, first: int, last: int) -> np.ndarray:
    """Samples first..last - 1, averaged over the channels, float32."""
    # libsndfile takes eight times longer to convert 16-bit samples to float than numpy does
    dtype, full_scale = ("int16", 32768.0) if file.subtype == "PCM_16" else ("float32", 1.0)
    lead = min(first, MP3_LEAD_FRAMES) if file.format == "MP3" else 0
    pieces, position = [], first - lead
    try:
        if position:
            file.seek(position)
        while position < last:
            block = file.read(min(BLOCK_FRAMES, last - position), dtype=dtype, always_2d=True)
            if not len(block):
                break
            pieces.append(_mix_down(block.astype(np.float32, copy=False), full_scale))
            position += len(block)
    except (OSError, RuntimeError) as error:
        raise AudioError(f"unreadable: {_said(error)}") from error
    if last - position > max(SHORTFALL_S * file.samplerate, SHORTFALL * (last - first)):
        promised_s, found_s = (frames / file.samplerate for frames in (last, position))
        raise AudioError(f"unreadable: it breaks off after {found_s:.2f} of {promised_s:.2f} s")
    mono = pieces[0] if len(pieces) == 1 else np.concatenate(pieces or [np.zeros(0, np.float32)])
    return mono[lead:]


def _mix_down(block: np.ndarray, full_scale: float) -> np.ndarray:
    """`[samples, channels]` → `[samples]` in [-1, 1]; numpy's mean over so short an axis is seven times slower."""
    mono = block[:, 0].copy()
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is found by the caller
        for channel in range(1, block.shape[1]):
            mono += block[:, channel]
        mono *= np.float32(1.0 / (full_scale * block.shape[1]))
    return mono


def _said(error: Exception) -> str:
    """The library's or the system's own words, without the path that it repeats."""
    return getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
