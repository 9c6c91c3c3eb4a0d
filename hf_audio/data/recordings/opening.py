"""Opens recordings from files or bytes: with libsndfile, or with PyAV if libsndfile does not support the format.

Headers are checked for plausibility before anything is decoded.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import Any, TypeAlias

import soundfile

from hf_audio.data.recordings.ffmpeg import FfmpegFile, is_for_ffmpeg
from hf_audio.data.recordings.headers import Source, missing_bytes, unpromised_bytes
from hf_audio.data.recordings.reasons import AudioError, said

# libsndfile's number of frames for a stream without an end
UNKNOWN_FRAMES = 2**62
# Headers of good MP3 files promise up to 0.3 s too much. A file that lacks more than both of these is truncated.
SHORTFALL_S, SHORTFALL = 0.5, 0.25
# From heart sounds at 2 kHz to bats at 500 kHz. Beyond, the header is broken, and resampling a second could take hours
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000
# Silence in FLAC takes about 100 bytes per second: a header that promises far more sound per byte is broken.
MIN_BYTES_A_SECOND = 10
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe would wait for its writer

SoundFile: TypeAlias = soundfile.SoundFile | FfmpegFile


def opened(source: Source) -> SoundFile:
    """A recording, open for decoding, with a plausible header.

    Raises:
        AudioError: missing, empty, unreadable or implausible.
    """
    try:
        if isinstance(source, str | os.PathLike):
            size = _size_of_file(source)
        else:
            size = source.seek(0, io.SEEK_END)
            source.seek(0)
        if size == 0:
            raise AudioError("empty")
        file = _file_of(source)
    except (OSError, RuntimeError) as error:
        raise AudioError(f"unreadable: {said(error)}") from error
    reason = _implausible(source, file, size)
    if reason:
        file.close()
        raise AudioError(reason)
    return file


def check_is_whole(source: Source, file: SoundFile) -> None:
    """Refuses a truncated download: a header that promises far more bytes than the file has."""
    lacking, promised = missing_bytes(source) or (0, 1)
    promised_s = file.frames / file.samplerate / (1 - min(lacking / promised, 0.999))
    missing_s = promised_s - file.frames / file.samplerate
    if missing_s > max(SHORTFALL_S, SHORTFALL * promised_s):
        raise AudioError(f"unreadable: truncated after {promised_s - missing_s:.2f} of {promised_s:.2f} s")


def check_can_seek(source: Source, file: SoundFile) -> None:
    """Refuses Ogg files without a decodable sample: libvorbis would crash on a jump to a later one."""
    if file.format == "OGG":
        # opened a second time, because jumps miss their target in a file that was already read from
        held = None if isinstance(source, str | os.PathLike) else source
        place = 0 if held is None else held.tell()
        with _by_libsndfile(source) as another:
            if not len(another.read(1)):
                raise AudioError("unreadable: no sample could be decoded")
        if held is not None:
            held.seek(place)


def _size_of_file(path: str | os.PathLike) -> int:
    try:
        facts = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        if isinstance(error, OSError) and error.errno not in NOT_THERE:
            raise
        raise AudioError("missing: a link that leads nowhere" if os.path.islink(path) else "missing") from error
    if not stat.S_ISREG(facts.st_mode):  # a pipe would wait for its writer
        raise AudioError("not a file")
    return facts.st_size


def _file_of(source: Source) -> SoundFile:
    try:
        return _by_libsndfile(source)
    except soundfile.LibsndfileError:
        if not is_for_ffmpeg(source):
            raise
    return FfmpegFile(source)


def _by_libsndfile(source: Source) -> soundfile.SoundFile:
    """Opens by file descriptor or as bytes, never by name.

    libsndfile treats any bytes as headerless sound if the file name ends in .au, .vox or .gsm, and file names need not
    be UTF-8. libsndfile closes the descriptor, even if opening fails.
    """
    if isinstance(source, str | os.PathLike):
        return soundfile.SoundFile(os.open(source, FLAGS), closefd=True)
    source.seek(0)
    return soundfile.SoundFile(_Nameless(source))


class _Nameless:
    """The methods of a file that soundfile needs, without its name, which libsndfile would trust."""

    def __init__(self, file: Any) -> None:
        self.read, self.readinto, self.tell, self._seek = file.read, file.readinto, file.tell, file.seek

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Stays in place if a broken header leads to before the beginning, as the system's own files do."""
        try:
            return self._seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _implausible(source: Source, file: SoundFile, size: int) -> str | None:
    """What is implausible in a header, checked before anything is decoded."""
    if not LOWEST_RATE <= file.samplerate <= HIGHEST_RATE:
        return f"unreadable: a sample rate of {file.samplerate} Hz, not {LOWEST_RATE} to {HIGHEST_RATE}"
    if file.frames <= 0:
        following = unpromised_bytes(source)
        return f"empty by its header, but {following:,} bytes of sound follow: fix the header" if following else "empty"
    if file.frames >= UNKNOWN_FRAMES:
        return "unreadable: its length is unknown"
    if file.frames / file.samplerate > 1 + size / MIN_BYTES_A_SECOND:
        return f"unreadable: its header promises {file.frames / file.samplerate:.0f} s in {size} bytes"
    return None
