"""The audio file in a row of a shared dataset: a recording or a stretch of one, without loss.

| the recording | whole | a stretch of it |
|---|---|---|
| integers of up to 24 bits (WAV, AIFF, FLAC ...) | FLAC of 16 or 24 bits; FLAC is copied | FLAC of 16 or 24 bits |
| 32-bit integers, floats | the file is copied | WAV of 32-bit floats, the format that training reads |
| lossy (MP3, Ogg, Opus, A-law ...) | the file is copied | FLAC of 24 bits; WAV of 32-bit floats if beyond full scale |

Nothing is compressed lossily a second time. FLAC of 24 bits differs from a decoded lossy file by at most 6e-8 of full
scale; everything else is identical sample by sample.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from hf_audio.data.recordings.audio import SILENT_PEAK, AudioError, AudioInfo, probe, read_blocks
from hf_audio.data.recordings.headers import Source
from hf_audio.errors import InputError, one_line
from hf_audio.files import read_whole

# Bits of FLAC for libsndfile's subtypes; 8 bits are stored as 16, because few players support 8-bit FLAC
FLAC_BITS = {"PCM_S8": 16, "PCM_U8": 16, "PCM_16": 16, "ALAC_16": 16, "PCM_24": 24, "ALAC_20": 24, "ALAC_24": 24}
FLAC_CHANNELS, HIGHEST_FLAC_RATE = 8, 655_350
FLAC_SHARE = 0.65  # typical size of music relative to WAV
EXACT = ("FLOAT", "DOUBLE", "PCM_32")  # up to the precision of float32, which training reads
# The Hub's viewer recognizes formats by file name extensions
ENDINGS = {"WAV": ".wav", "WAVEX": ".wav", "RF64": ".wav", "FLAC": ".flac", "MP3": ".mp3", "AIFF": ".aiff"}
# One row, which is held in memory: five hours of stereo FLAC
MAX_ROW_BYTES = 1 << 30


class StoredSound(NamedTuple):
    """An audio file in memory.

    Attributes:
        content: its bytes.
        ending: its file name extension, including the dot.
        duration_s: length in seconds.
        sample_rate: in Hz.
    """

    content: bytes
    ending: str
    duration_s: float
    sample_rate: int


class Form(NamedTuple):
    """How a recording will be stored: `subtype` is libsndfile's name for a new file's, None to copy the file."""

    ending: str
    subtype: str | None


def form_of(name: str, info: AudioInfo, is_stretch: bool, audio_format: str) -> Form:
    """How a recording with this header is stored, see the table above; the last row depends on its samples too."""
    as_it_is = Form(ENDINGS.get(info.format) or Path(name).suffix.lower() or f".{info.format.lower()}", None)
    if not is_stretch and (audio_format == "original" or info.format == "FLAC"):
        return as_it_is
    fits = info.channels <= FLAC_CHANNELS and info.sample_rate <= HIGHEST_FLAC_RATE
    bits = FLAC_BITS.get(info.subtype)
    if bits and fits:
        return Form(".flac", f"PCM_{bits}")
    if not is_stretch:
        return as_it_is
    return Form(".flac", "PCM_24") if fits and info.subtype not in EXACT else Form(".wav", "FLOAT")


def expected_bytes(path: str, info: AudioInfo, seconds: float, is_stretch: bool, audio_format: str) -> float:
    """Approximate stored size of a recording, or of `seconds` of it."""
    form = form_of(path, info, is_stretch, audio_format)
    if form.subtype is None:
        return Path(path).stat().st_size
    width = {"PCM_16": 2 * FLAC_SHARE, "PCM_24": 3 * FLAC_SHARE, "FLOAT": 4}[form.subtype]
    return seconds * info.sample_rate * info.channels * width


def stored_sound(
    source: Source, start_s: float, end_s: float | None, audio_format: str, suffix: str = ""
) -> StoredSound:
    """The audio file of a row, after all of its sound was decoded and checked.

    Args:
        source: the recording.
        start_s, end_s: the stretch; 0 and None, or an end after that of the recording, select all of it.
        audio_format: "flac", or "original" to copy files, which is not possible for stretches.
        suffix: file name extension, for a source without a name.

    Raises:
        AudioError: missing, empty, unreadable, truncated, too short, too large for a row, silent, or non-finite
            samples. Features cannot be computed from such recordings either.
    """
    info = probe(source)
    is_part = start_s > 0 or (end_s is not None and end_s < info.duration_s)
    form = form_of(source if isinstance(source, str) else suffix, info, is_part, audio_format)
    if form.subtype is None:
        frames = sum(map(len, _usable(read_blocks(source, start_s, end_s))))
        return StoredSound(_whole_file(source), form.ending, frames / info.sample_rate, info.sample_rate)
    if form.subtype == "PCM_24" and info.subtype not in FLAC_BITS and _peak(source, start_s, end_s) >= 1:
        form = Form(".wav", "FLOAT")
    content, frames = _encoded(_usable(read_blocks(source, start_s, end_s)), info, form)
    return StoredSound(content, form.ending, frames / info.sample_rate, info.sample_rate)


def _encoded(blocks: Iterator[np.ndarray], info: AudioInfo, form: Form) -> tuple[bytes, int]:
    """A new audio file with these blocks, and its number of samples per channel."""
    file, kind = io.BytesIO(), form.ending.removeprefix(".").upper()
    try:
        with soundfile.SoundFile(file, "w", info.sample_rate, info.channels, form.subtype, format=kind) as written:
            for block in blocks:
                written.write(_levels(block, form.subtype))
                if file.tell() > MAX_ROW_BYTES:
                    raise _too_large()
            frames = written.frames
    except soundfile.SoundFileError as error:
        raise AudioError(f"impossible to store as {kind}: {one_line(error)}") from error
    return file.getvalue(), frames


def _usable(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same blocks, checked; silence is raised at the end."""
    peak = 0.0
    for block in blocks:
        peak = max(peak, highest := float(np.abs(block).max()))
        if not np.isfinite(highest):
            raise AudioError("non-finite samples")
        yield block
    if peak < SILENT_PEAK:
        raise AudioError("silent")


def _levels(block: np.ndarray, subtype: str) -> np.ndarray:
    """Samples in [-1, 1] → samples of the new file; those of a source with at most as many bits do not change."""
    if subtype == "FLOAT":
        return block
    if subtype == "PCM_16":
        return np.rint(block * np.float32(1 << 15)).astype(np.int16)
    return np.rint(block * np.float32(1 << 23)).astype(np.int32) << 8  # libsndfile uses the upper 24 bits


def _peak(source: Source, start_s: float, end_s: float | None) -> float:
    return max(float(np.abs(block).max()) for block in read_blocks(source, start_s, end_s))


def _whole_file(source: Source) -> bytes:
    if isinstance(source, str | os.PathLike):
        try:
            return read_whole(Path(source), MAX_ROW_BYTES)
        except InputError as error:
            raise _too_large() from error
    source.seek(0)
    content = source.read(MAX_ROW_BYTES + 1)
    if len(content) > MAX_ROW_BYTES:
        raise _too_large()
    return content


def _too_large() -> AudioError:
    return AudioError(f"more than {MAX_ROW_BYTES >> 30} GB, too large for a row: list stretches with start_s and end_s")
