"""Decodes with PyAV what libsndfile cannot: recordings from phones, browsers and messengers, and audio of videos.

PyAV's wheels contain FFmpeg's decoders, so nothing else has to be installed. The files may be untrusted: FFmpeg is
given the format of a file, reads no other file, and starts only audio decoders.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from hf_audio.data.recordings.headers import Source, at_start
from hf_audio.data.recordings.reasons import AudioError, said

# How files begin: offset in bytes, the bytes there, FFmpeg's name of the format, and ours
BEGINNINGS = (
    (4, b"ftyp", "mov", "MP4"),
    (4, b"moov", "mov", "MP4"),
    (4, b"wide", "mov", "MP4"),
    (0, b"\x1a\x45\xdf\xa3", "matroska", "MATROSKA"),
    (0, bytes.fromhex("3026b2758e66cf11"), "asf", "ASF"),
    (0, b"#!AMR", "amr", "AMR"),
    (0, b"FLV\x01", "flv", "FLV"),
    (8, b"AVI ", "avi", "AVI"),
    (0, b"\x00\x00\x01\xba", "mpeg", "MPEG"),
)
HEAD_BYTES = 16
DECODERS = (
    "aac,aac_fixed,aac_latm,ac3,alac,amrnb,amrwb,eac3,flac,libfdk_aac,libopencore_amrnb,"
    "libopencore_amrwb,libopus,libspeex,libvorbis,mp1,mp1float,mp2,mp2float,mp3,mp3float,opus,pcm_alaw,"
    "pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le,pcm_s32be,"
    "pcm_s32le,pcm_s8,pcm_u8,speex,vorbis,wmalossless,wmapro,wmav1,wmav2,wmavoice,adpcm_ima_qt,"
    "adpcm_ima_wav,adpcm_ms,nellymoser"
)
# Formats whose headers state the right length: the others have none, or estimate it from the file's size
TOLD_LENGTHS = ("MP4", "ASF", "AVI")
# Up to NEAR_S ahead, sound is decoded and discarded. A longer jump lands LEAD_S early, since decoders need some packets
LEAD_S, NEAR_S = 1.0, 10.0
FULL_SCALES = {"u8": 1 << 7, "s16": 1 << 15, "s32": 1 << 31, "s64": 1 << 63, "flt": 1, "dbl": 1}


def is_for_ffmpeg(source: Source) -> bool:
    """Whether a file begins like one that only FFmpeg can read."""
    return _format_of(source) is not None


class FfmpegFile:
    """The sound of a file, with the interface of soundfile.SoundFile: blocks of float32 `[samples, channels]`.

    Attributes:
        samplerate, channels, frames: of the sound; `frames` according to the header or the packets' times.
        format, subtype: container and codec, such as "MP4" and "AAC".

    Raises:
        AudioError: it has no sound, cannot be decoded, or PyAV is missing.
    """

    def __init__(self, source: Source) -> None:
        self._av, self._open_files = _library(), contextlib.ExitStack()
        self._held: np.ndarray | None
        self._position: int
        self._first_time: int | None
        try:
            self._file = self._open_files.enter_context(_content(source))
            self._name, self.format = _format_of(self._file) or ("", "")
            self._begin()
            if self._held is None:
                raise AudioError("unreadable: no sample could be decoded")
            self.subtype = self._stream.codec_context.name.upper()
            self.frames = self._told_frames() or self._counted_frames()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> FfmpegFile:
        return self

    def __exit__(self, *of_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file if it was opened here."""
        self._open_files.close()

    def seek(self, position: int) -> None:
        """Moves to a sample, counted from 0.

        Raises:
            AudioError: the sound before it cannot be decoded.
        """
        if position < self._position:
            self._begin()
        if position - self._position > (LEAD_S + NEAR_S) * self.samplerate:
            self._jump(position)
        while self._held is not None and self._position < position:
            self._take(min(position - self._position, len(self._held)))

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """At most `frames` samples, fewer at the end: always float32 `[samples, channels]`.

        Raises:
            AudioError: they cannot be decoded.
        """
        blocks, wanted = [np.empty((0, self.channels), np.float32)], frames
        while wanted > 0 and self._held is not None:
            blocks.append(self._take(min(wanted, len(self._held))))
            wanted -= len(blocks[-1])
        return np.concatenate(blocks)

    def _take(self, num_samples: int) -> np.ndarray:
        """The next samples of the decoded block; decodes the next block if none are left."""
        taken, rest = self._held[:num_samples], self._held[num_samples:]
        self._position += len(taken)
        self._held = rest if len(rest) else next(self._blocks, None)
        return taken

    def _begin(self) -> None:
        """Opens the file again and decodes its first block, which is more reliable than the header.

        A decoder that seeks back to the beginning gives other samples there than a new one.
        """
        self._file.seek(0)
        options = {"codec_whitelist": DECODERS, "protocol_whitelist": ""}
        # Titles may have any bytes; PyAV 19 always accepts them, and no longer takes the argument
        accept = {"metadata_errors": "replace"} if int(self._av.__version__.partition(".")[0]) < 19 else {}
        with self._errors_in_words():
            self._container = self._av.open(self._file, format=self._name, options=options, **accept)
        self._open_files.callback(self._container.close)
        if not self._container.streams.audio:
            raise AudioError("without sound: it has no audio stream")
        self._stream, self._first_time = self._container.streams.audio[0], None
        self._blocks = self._decoded()
        self._held, self._position = next(self._blocks, None), 0

    def _jump(self, position: int) -> None:
        """Continues shortly before a sample far ahead, if the packets' times say where that is."""
        self._jumped_to: int | None = None
        time = self._first_time + int((position / self.samplerate - LEAD_S) / self._stream.time_base)
        with self._errors_in_words():
            self._container.seek(time, stream=self._stream)
        self._blocks = self._decoded()
        self._held = next(self._blocks, None)
        if self._jumped_to is None or self._jumped_to > position:
            self._begin()
        else:
            self._position = self._jumped_to

    def _decoded(self) -> Iterator[np.ndarray]:
        """Blocks float32 `[samples, channels]` from the container's current position."""
        is_first = True
        with self._errors_in_words():
            for frame in self._container.decode(self._stream):
                if not frame.samples:
                    continue
                if self._first_time is None:
                    self._first_time = frame.pts or 0
                    self.samplerate, self.channels = frame.sample_rate, frame.layout.nb_channels
                if (frame.sample_rate, frame.layout.nb_channels) != (self.samplerate, self.channels):
                    raise AudioError("unreadable: its sample rate or number of channels changes within the file")
                if is_first and frame.pts is not None:
                    self._jumped_to = round((frame.pts - self._first_time) * self._stream.time_base * self.samplerate)
                is_first = False
                yield _as_floats(frame, self.channels)

    def _told_frames(self) -> int:
        """The number of samples according to the header; 0 if it is missing or unreliable."""
        seconds: Fraction | float = 0
        if self.format in TOLD_LENGTHS and self._stream.duration:
            seconds = self._stream.duration * self._stream.time_base
        elif self.format == "MATROSKA" and len(self._container.streams) == 1 and self._container.duration:
            seconds = self._container.duration / 1_000_000
        return round(seconds * self.samplerate)

    def _counted_frames(self) -> int:
        """The number of samples according to the packets' times, without decoding."""
        start = end = self._first_time
        with self._errors_in_words():
            for packet in self._container.demux(self._stream):
                if packet.pts is not None:
                    end = max(end, packet.pts + (packet.duration or 0))
        self._begin()
        return round((end - start) * self._stream.time_base * self.samplerate)

    @contextlib.contextmanager
    def _errors_in_words(self) -> Iterator[None]:
        try:
            yield
        except (self._av.FFmpegError, ValueError, OverflowError, MemoryError) as error:
            raise AudioError(f"unreadable: {said(error)}") from error


def _format_of(source: Source) -> tuple[str, str] | None:
    with at_start(source) as file:
        head = file.read(HEAD_BYTES)
        if head[:3] == b"ID3" and len(head) >= 10:  # a tag comes first: four bytes of seven bits hold its length
            file.seek(10 + sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(head[6:10])))
            head = file.read(HEAD_BYTES)
    for at, begins, name, ours in BEGINNINGS:
        if head[at : at + len(begins)] == begins:
            return name, ours
    is_aac = len(head) > 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    return ("aac", "AAC") if is_aac else None


@contextlib.contextmanager
def _content(source: Source) -> Iterator[BinaryIO]:
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            yield file
    else:
        source.seek(0)
        yield source


def _as_floats(frame: Any, channels: int) -> np.ndarray:
    """A decoder's frame as float32 `[samples, channels]` in [-1, 1]."""
    values, kind = frame.to_ndarray(), frame.format.name.removesuffix("p")
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    full_scale = FULL_SCALES.get(kind)
    if full_scale is None or values.shape[1] != channels:
        raise AudioError(f"unreadable: unknown sample format {kind}")
    if kind == "u8":
        values = values.astype(np.float32) - full_scale
    return np.ascontiguousarray(values, dtype=np.float32) * np.float32(1 / full_scale)


def _library() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise AudioError(
            'unreadable: m4a, aac, wma, webm, mp4, amr and similar files need PyAV: pip install "hf_audio[av]"'
        ) from error
    return av
