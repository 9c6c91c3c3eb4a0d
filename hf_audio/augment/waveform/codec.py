"""Lossy compression of sound."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor

from hf_audio.augment.draws import Lot
from hf_audio.augment.waveform.speed import one_of
from hf_audio.augment.waveform.step import WaveformStep, between
from hf_audio.errors import InputError, one_line

# libsndfile's names of containers and codecs
CODECS = {"mp3": ("MP3", "MPEG_LAYER_III"), "vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}
NUM_THREADS = 8  # libsndfile releases the GIL
SMALLEST = 0.999  # maximum compression: libsndfile refuses 1 for MP3
PEAK = 0.9  # leaves headroom, so that decoded samples are not clipped at 1


class CodecNumbers(NamedTuple):
    """Per window: whether it is chosen, its codec, and its compression."""

    chosen: Any
    codec: Any
    compression: Any


@dataclass(frozen=True)
class Codec(WaveformStep):
    """Encodes and decodes windows from any device, on the CPU and in several threads.

    Attributes:
        codecs: names in CODECS, all equally likely.
        compression: minimum and maximum, as in libsndfile: from 0, the best quality, to 1, the smallest file.
        sample_rate: sample rate in Hz.

    Raises:
        InputError: a codec does not support the sample rate.
    """

    probability: float
    codecs: tuple[str, ...]
    compression: tuple[float, ...]
    sample_rate: int

    def __post_init__(self) -> None:
        for name in self.codecs:
            try:
                through_codec(np.zeros(self.sample_rate // 10, dtype=np.float32), name, 0.5, self.sample_rate)
            except soundfile.LibsndfileError as error:
                why = one_line(error.error_string)
                raise InputError(
                    f"--wave_codec_names {name} cannot encode sound at {self.sample_rate} Hz ({why}): leave it out of "
                    f"{' '.join(CODECS)}, or use --sample_rate 16000"
                ) from error

    def draw(self, lot: Lot) -> CodecNumbers:
        return CodecNumbers(self.choice(lot), one_of(lot, len(self.codecs)), between(lot, self.compression))

    def changed(self, values: Tensor, num_frames: Tensor, drawn: CodecNumbers) -> tuple[Tensor, Tensor]:
        peaks = values.abs().amax(dim=1, keepdim=True)
        sounds = (values / peaks.clamp(min=1e-9) * PEAK).cpu().numpy()  # this waits for the device
        found = np.zeros_like(sounds)

        def fill(row: int, length: int, codec: float, compression: float) -> None:
            sound, name = sounds[row, :length], self.codecs[int(codec)]
            found[row, :length] = through_codec(sound, name, compression, self.sample_rate)

        numbers = (num_frames.tolist(), drawn.codec.tolist(), drawn.compression.tolist())
        with ThreadPoolExecutor(min(NUM_THREADS, len(sounds))) as threads:
            list(threads.map(fill, range(len(sounds)), *numbers))
        return torch.from_numpy(found).to(values.device) * (peaks / PEAK), num_frames


def through_codec(sound: np.ndarray, codec: str, compression: float, sample_rate: int) -> np.ndarray:
    """A sound `[samples]` in [-1, 1] after encoding and decoding, with the same length and alignment."""
    file = encoded(sound, codec, compression, sample_rate)
    found, _ = soundfile.read(io.BytesIO(file), frames=len(sound), dtype="float32")
    return np.pad(found, (0, len(sound) - len(found)))


def encoded(
    sound: np.ndarray, codec: str, compression: float, sample_rate: int, bitrate_mode: str | None = None
) -> bytes:
    """A sound `[samples]` in [-1, 1] as a file; `bitrate_mode` as in soundfile, for MP3 only."""
    file, (container, subtype) = io.BytesIO(), CODECS[codec]
    given = {"format": container, "subtype": subtype, "compression_level": min(compression, SMALLEST)}
    soundfile.write(file, sound, sample_rate, **given, bitrate_mode=bitrate_mode)
    return file.getvalue()
