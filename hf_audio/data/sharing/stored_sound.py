"""A recording, or a stretch of one, as a row of a shared dataset has it: exactly what it was, in a file of its own.

| the recording | whole | a stretch of it |
|---|---|---|
| whole numbers of up to 24 bits (WAV, AIFF, FLAC ...) | FLAC of 16 or 24 bits; FLAC files stay | the same |
| 32-bit whole numbers, floats | the file as it is | WAV of 32-bit floats, as which it is read for training |
| lossy (MP3, Ogg, Opus, A-law ...) | the file as it is | FLAC of 24 bits, or such a WAV beyond full scale |

Nothing is ever packed lossily a second time. FLAC of 24 bits differs from a decoded lossy file by at most 6e-8 of full
scale; all else comes back sample by sample.
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

# Bits of FLAC that hold what libsndfile calls a subtype; 8 bits are stored in 16, since few players know such FLAC
FLAC_BITS = {"PCM_S8": 16, "PCM_U8": 16, "PCM_16": 16, "ALAC_16": 16, "PCM_24": 24, "ALAC_20": 24, "ALAC_24": 24}
FLAC_CHANNELS, HIGHEST_FLAC_RATE = 8, 655_350
FLAC_SHARE = 0.65  # of the same samples in a WAV: music takes about so much
EXACT = ("FLOAT", "DOUBLE", "PCM_32")  # as far as float32 goes, which training reads
# The viewer tells formats by the endings of names
ENDINGS = {"WAV": ".wav", "WAVEX": ".wav", "RF64": ".wav", "FLAC": ".flac", "MP3": ".mp3", "AIFF": ".aiff"}
# Of one row, in memory as a whole: five hours of FLAC in stereo
MAX_ROW_BYTES = 1 << 30


class StoredSound(NamedTuple):
    """An audio file in memory.

    Attributes:
        content: its bytes.
        ending: of its name, with the dot.
        duration_s: length in seconds.
        sample_rate: in Hz.
    """

    content: bytes
    ending: str
    duration_s: float
    sample_rate: int


class Form(NamedTuple):
    """How a recording will be stored: `subtype` of a new file in libsndfile's names, None for the file as it is."""

    ending: str
    subtype: str | None


def form_of(name: str, info: AudioInfo, is_stretch: bool, audio_format: str) -> Form:
    """How a recording with such a header is stored, see the table above; the last row depends on its samples too."""
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
    """About how much a recording of which `seconds` are stored will take."""
    form = form_of(path, info, is_stretch, audio_format)
    if form.subtype is None:
        return Path(path).stat().st_size
    width = {"PCM_16": 2 * FLAC_SHARE, "PCM_24": 3 * FLAC_SHARE, "FLOAT": 4}[form.subtype]
    return seconds * info.sample_rate * info.channels * width


def stored_sound(
    source: Source, start_s: float, end_s: float | None, audio_format: str, suffix: str = ""
) -> StoredSound:
    """The file of a row, after all of its sound was decoded and looked at.

    Args:
        source: the recording.
        start_s, end_s: the stretch of it; 0 and None, or an end behind that of the recording, are all of it.
        audio_format: "flac", or "original": files as they are, which have no stretches.
        suffix: of its name, where the source has none.

    Raises:
        AudioError: missing, empty, unreadable, broken off, too short, too large for a row, silent, or non-finite
            samples: what no features can be made of either.
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
    """A new audio file of these blocks, and the samples in it."""
    file, kind = io.BytesIO(), form.ending.removeprefix(".").upper()
    try:
        with soundfile.SoundFile(file, "w", info.sample_rate, info.channels, form.subtype, format=kind) as written:
            for block in blocks:
                written.write(_levels(block, form.subtype))
                if file.tell() > MAX_ROW_BYTES:
                    raise _too_large()
            frames = written.frames
    except soundfile.SoundFileError as error:
        raise AudioError(f"not to be stored as {kind}: {one_line(error)}") from error
    return file.getvalue(), frames


def _usable(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same blocks; what is wrong with the whole of them is said at the end."""
    peak = 0.0
    for block in blocks:
        peak = max(peak, highest := float(np.abs(block).max()))
        if not np.isfinite(highest):
            raise AudioError("non-finite samples")
        yield block
    if peak < SILENT_PEAK:
        raise AudioError("silent")


def _levels(block: np.ndarray, subtype: str) -> np.ndarray:
    """Samples in [-1, 1] as a file of so many bits has them; those of a file with no more bits come out unchanged."""
    if subtype == "FLOAT":
        return block
    if subtype == "PCM_16":
        return np.rint(block * np.float32(1 << 15)).astype(np.int16)
    return np.rint(block * np.float32(1 << 23)).astype(np.int32) << 8  # libsndfile takes the upper 24 bits


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
    return AudioError(f"more than {MAX_ROW_BYTES >> 30} GB, too much for a row: list stretches by start_s and end_s")
