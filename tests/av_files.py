"""Recordings in the formats of phones, browsers and messengers, written with PyAV's encoders."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

# name: codec, PyAV's name of the format, sample rate, channels, whether there is also a video stream
KINDS = {
    "phone.m4a": ("aac", "ipod", 44_100, 2, False),
    "lossless.m4a": ("alac", "ipod", 48_000, 2, False),
    "phone.mp4": ("aac", "mp4", 44_100, 2, True),
    "phone.3gp": ("aac", "3gp", 16_000, 1, False),
    "camera.mov": ("pcm_s16le", "mov", 48_000, 2, True),
    "stream.aac": ("aac", "adts", 22_050, 1, False),
    "browser.webm": ("libopus", "webm", 48_000, 2, False),
    "vorbis.webm": ("vorbis", "webm", 44_100, 2, False),
    "video.mkv": ("flac", "matroska", 44_100, 1, True),
    "windows.wma": ("wmav2", "asf", 44_100, 2, False),
    "messenger.amr": ("libopencore_amrnb", "amr", 8_000, 1, False),
    "old.avi": ("mp3", "avi", 44_100, 2, True),
    "old.flv": ("aac", "flv", 44_100, 2, False),
    "old.mpg": ("mp2", "mpeg", 44_100, 2, False),
}


def tone(seconds: float, rate: int) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate).astype(np.float32)


def write_recording(path: Path, kind: str, seconds: float = 2.0, sound: np.ndarray | None = None) -> Path:
    """A tone of 440 Hz, or mono `sound`, in a file of one of the KINDS.

    Raises:
        av.codec.codec.UnknownCodecError: this PyAV has no such encoder.
    """
    codec, name, rate, channels, has_image = KINDS[kind]
    with av.open(str(path), "w", format=name) as file:
        video = file.add_stream("mpeg4", rate=10) if has_image else None
        audio = file.add_stream(codec, rate=rate, layout="stereo" if channels == 2 else "mono")
        audio.codec_context.bit_rate = 12_200 if "amr" in codec else 128_000
        audio.codec_context.options = {"strict": "experimental"}
        if video:
            video.width = video.height = 64
            video.pix_fmt = "yuv420p"
            for number in range(round(10 * seconds)):
                shade = np.full((64, 64, 3), 8 * number % 256, np.uint8)
                file.mux(video.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
            file.mux(video.encode(None))
        sound = tone(seconds, rate) if sound is None else sound.astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([sound] * channels), "fltp", "stereo" if channels == 2 else "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        context = audio.codec_context
        cut = av.AudioResampler(context.format.name, context.layout, rate, frame_size=context.frame_size or None)
        for part in [*cut.resample(frame), *cut.resample(None)]:
            file.mux(audio.encode(part))
        file.mux(audio.encode(None))
    return path
