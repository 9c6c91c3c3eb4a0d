"""Windows of sound as rows: FLAC of 16 bits, which the Hub's viewer plays and soundfile reads.

waveform, sample_rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32")    # [samples]
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile
import torch
from datasets import Audio
from transformers import FeatureExtractionMixin, Wav2Vec2FeatureExtractor

from hf_audio.data.stored_values import heads_of
from hf_audio.errors import InputError, one_line

FULL_SCALE = 32768
# a FLAC file's first bytes: the name, then kind (0, but for a bit that says whether it is the last) and length of its
# first block, which describes the stream
FLAC_NAME, FLAC_STREAM = b"fLaC", b"\0\0\x22"
# the viewer tells formats by the ending of a name
FILE_NAME = "window.flac"


class WaveformStorage:
    """Kind "waveform": see `hf_audio.data.feature_storage.FeatureStorage` for what each part is."""

    kind = "waveform"
    feature_type = "waveform"
    described = "waveforms"
    extractor_class = Wav2Vec2FeatureExtractor
    compared = ("sampling_rate",)
    statistics_axis = None

    def columns(self, sample_rate: int) -> dict[str, Any]:
        return {"audio": Audio(sampling_rate=sample_rate)}

    def encode(self, window: np.ndarray, sample_rate: int) -> tuple[dict[str, Any]]:
        return ({"bytes": encode_waveform(window, sample_rate), "path": FILE_NAME},)

    def faults(self, rows: pa.RecordBatch, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        rate = parameters["sampling_rate"]
        fits = are_flac(pc.struct_field(rows["audio"], "bytes"), rate, rows["num_frames"].to_numpy())
        return {f"audio that is no FLAC of num_frames samples, mono, 16 bits, {rate} Hz": ~fits}

    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        return decode_waveform(row["audio"]["bytes"], row["num_frames"])[0]

    def full_frames(self, window_s: float, parameters: Mapping[str, Any]) -> int:
        return round(window_s * parameters["sampling_rate"])

    def window_frames(self, extractor: FeatureExtractionMixin, manifest: Mapping[str, Any]) -> int:
        return round(manifest["window_s"] * manifest["extractor"]["sampling_rate"])

    def batch(self, rows: Sequence[Mapping[str, Any]], extractor: FeatureExtractionMixin) -> dict[str, torch.Tensor]:
        """Whatever a stock extractor gives: `input_values` or `input_features`, and `attention_mask` if it has one.

        Each window goes through the extractor by itself, as in the stock pipeline, and is then padded to the longest
        of the batch, unless the extractor pads to a length of its own (Whisper's). Handed over together, Wav2Vec2's
        would normalise a short window over its padding too, so that its values hung on its neighbours in the batch.
        """
        waveforms, rates = zip(
            *(decode_waveform(row["audio"]["bytes"], row["num_frames"]) for row in rows), strict=True
        )
        extracted = extractor(list(waveforms), sampling_rate=rates[0])
        return dict(extractor.pad(extracted, padding=True, return_tensors="pt"))


def encode_waveform(waveform: np.ndarray, sample_rate: int) -> bytes:
    """float32 `[samples]` → FLAC of 16 bits, mono; what lies outside [-1, 1] is clipped.

    The error is at most half a step, 1.5e-5; samples that came from a 16-bit file come back as they were.
    """
    levels = np.clip(np.rint(waveform * np.float32(FULL_SCALE)), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, levels, sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def are_flac(files: pa.Array, sample_rate: int, num_samples: np.ndarray) -> np.ndarray:
    """Which files say of themselves that they are mono FLAC of 16 bits, of this rate and length; nothing is decoded."""
    heads = heads_of(files, 26)
    begins = (heads[:, :4] == [*FLAC_NAME]).all(axis=1) & (heads[:, 4] & 0x7F == 0)
    begins &= (heads[:, 5:8] == [*FLAC_STREAM]).all(axis=1)
    # 20 bits of rate, 3 of channels less 1, 5 of bits a sample less 1, 36 of length
    wanted = (sample_rate << 44 | 0 << 41 | 15 << 36) + num_samples.astype(np.uint64)
    return begins & (heads[:, 18:26].copy().view(">u8")[:, 0] == wanted)


def decode_waveform(flac: bytes, num_samples: int) -> tuple[np.ndarray, int]:
    """FLAC bytes → float32 `[num_samples]` in [-1, 1], and their sample rate in Hz.

    Raises:
        InputError: no FLAC, or not of this length; no more of it is decoded, whatever there is.
    """
    try:
        if not flac.startswith(FLAC_NAME):
            raise ValueError("it is no FLAC")
        with soundfile.SoundFile(io.BytesIO(flac)) as file:
            if file.channels != 1 or file.frames != num_samples:
                raise ValueError(f"{file.frames} samples of {file.channels} channel(s), not {num_samples} of one")
            levels, sample_rate = file.read(num_samples, dtype="int16"), file.samplerate
        if len(levels) != num_samples:
            raise ValueError(f"{len(levels)} samples, not {num_samples}")
    except (soundfile.SoundFileError, ValueError) as error:
        raise InputError(f"A window's sound is damaged ({one_line(error)}): download or build it again") from error
    return levels.astype(np.float32) * np.float32(1 / FULL_SCALE), sample_rate
