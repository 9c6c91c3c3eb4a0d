"""Kind "waveform": the waveform itself, for models that compute their own features.

A window is a row with a 16-bit FLAC file, which the Hub's viewer can play and soundfile can read:

    waveform, sample_rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32")    # [samples]
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile
import torch
from transformers import FeatureExtractionMixin, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from hf_audio.errors import InputError, one_line
from hf_audio.kinds._cut_sound import CutSound
from hf_audio.kinds._kaldi_fbank import KaldiFbank, fbank_frame_s
from hf_audio.kinds._kind import Axes, CardText, Form, Kind
from hf_audio.kinds._mel_middles import slaney_middles_hz
from hf_audio.kinds._stored_values import heads_of
from hf_audio.kinds._whisper_log_mel import WHISPER_HIGHEST_HZ, whisper_log_mel
from hf_audio.limits import FIELDS

HIGHEST_FLAC_RATE = 655_350
FULL_SCALE = 32768
# the first bytes of a FLAC file: its name, then type (0, except a bit for the last block) and length of the first
# block, which describes the stream
FLAC_NAME, FLAC_STREAM = b"fLaC", b"\0\0\x22"
# the viewer identifies formats by file extension
FILE_NAME = "window.flac"

LIMITS = {"sampling_rate": FIELDS["sampling_rate"]}
CARD = CardText(
    title="waveforms",
    tags=(),
    heard="waveform windows",
    row="stored as a FLAC file that the dataset viewer can play",
    library="soundfile",
    imports="import io\nimport soundfile\nfrom datasets import Audio, load_dataset",
    code="""row = next(iter(rows.cast_column("audio", Audio(decode=False))))
waveform, sample_rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32")  # [samples]""",
    values="""\
Without `Audio(decode=False)`, `datasets` decodes the audio itself, which requires torchcodec and FFmpeg. Samples are \
mono, 16-bit, and not normalized.""",
    columns="""\
| `audio` | audio of the window: 16-bit FLAC, mono, {{ extractor.sampling_rate }} Hz |
| `num_frames` | number of samples in the window (clips shorter than the window are not padded) |""",
)


@dataclass(frozen=True)
class Waveform(CutSound):
    """Mono waveforms in [-1, 1], at one sample rate, unchanged: a frame is a sample.

    Raises:
        InputError: FLAC, in which windows are stored, does not support the sample rate.
    """

    sample_rate: int = 16_000

    times_real_time = 2500.0  # seconds of audio that a core reads and writes per second
    is_stereo = False
    slow_imports = ()

    def __post_init__(self) -> None:
        if not 1 <= self.sample_rate <= HIGHEST_FLAC_RATE:
            raise InputError(
                f"Waveforms are stored as FLAC, which supports 1 to {HIGHEST_FLAC_RATE} Hz, found --sample_rate "
                f"{self.sample_rate}: try the rate of the recordings, e.g. 44100"
            )

    @property
    def frame_samples(self) -> int:
        """Minimum length of a waveform: 25 ms, which the convolutions of Wav2Vec2 and similar models need."""
        return round(0.025 * self.sample_rate)

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next."""
        return 1

    @property
    def parameters(self) -> dict[str, float | int | str]:
        """All settings that determine the values, for a manifest."""
        return {"kind": "waveform", "sampling_rate": self.sample_rate}

    def count(self, num_samples: int) -> int:
        """Each sample is a frame."""
        return num_samples

    def extract(self, sound: np.ndarray) -> np.ndarray:
        """The waveform itself."""
        return sound

    def to_feature_extractor(self, max_length: int, mean: float, std: float) -> Wav2Vec2FeatureExtractor:
        """The stock extractor of Wav2Vec2, HuBERT and WavLM, which standardizes each waveform on its own.

        Models that need another extractor, such as Whisper, provide it. Length and statistics of the training data are
        not used.
        """
        return Wav2Vec2FeatureExtractor(sampling_rate=self.sample_rate, do_normalize=True)


class SoundItself(Kind):
    """See `Kind`."""

    name = "waveform"
    form = Form.SOUND
    described = "waveforms"
    extractor = Waveform
    published = (Wav2Vec2FeatureExtractor,)
    compared = ("sampling_rate",)
    limits = LIMITS
    card = CARD

    def columns(self, sample_rate: int) -> dict[str, Any]:
        from datasets import Audio  # not needed by those who only predict

        return {"audio": Audio(sampling_rate=sample_rate)}

    def encode(self, window: np.ndarray, sample_rate: int) -> tuple[dict[str, Any]]:
        return ({"bytes": encode_waveform(window, sample_rate), "path": FILE_NAME},)

    def faults(self, rows: pa.RecordBatch, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        rate = parameters["sampling_rate"]
        fits = are_flac(pc.struct_field(rows["audio"], "bytes"), rate, rows["num_frames"].to_numpy())
        return {f"audio that is not FLAC of num_frames samples, mono, 16 bits, {rate} Hz": ~fits}

    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        return decode_waveform(row["audio"]["bytes"], row["num_frames"])[0]

    def window_shape(self, window_s: float, parameters: Mapping[str, Any]) -> tuple[int]:
        return (round(window_s * parameters["sampling_rate"]),)

    def longest_samples(self, extractor: FeatureExtractionMixin) -> int | None:
        return getattr(extractor, "n_samples", None)  # 30 s for Whisper

    def axes(self, extractor: FeatureExtractionMixin) -> Axes | None:
        """The axes of Whisper's log-mel, which has Slaney's filters."""
        if not isinstance(extractor, WhisperFeatureExtractor):
            return None
        rate = extractor.sampling_rate
        hz = slaney_middles_hz(WHISPER_HIGHEST_HZ, extractor.feature_size)
        return Axes(extractor.hop_length / rate, 0.0, hz, bins_first=True)

    def batch(self, rows: Sequence[Mapping[str, Any]], extractor: FeatureExtractionMixin) -> dict[str, torch.Tensor]:
        """The output of a stock extractor: `input_values` or `input_features`, and `attention_mask` if it has one.

        The extractor processes each window separately, as in the stock pipeline. Windows are then padded to the longest
        of the batch, unless the extractor has a fixed length (Whisper). If all windows were given together, Wav2Vec2's
        extractor would include padding in the normalization, so values would depend on the other windows.
        """
        waveforms, rates = zip(
            *(decode_waveform(row["audio"]["bytes"], row["num_frames"]) for row in rows), strict=True
        )
        extracted = extractor(list(waveforms), sampling_rate=rates[0])
        return dict(extractor.pad(extracted, padding=True, return_tensors="pt"))

    def stored_batch(
        self, rows: Sequence[Mapping[str, Any]], extractor: FeatureExtractionMixin
    ) -> dict[str, torch.Tensor] | None:
        """For Whisper, whose log-mel takes longer on a CPU than the rest of a batch: `levels` int16 `[batch, samples]`,
        with the length of the longest window. None if its extractor has further steps."""
        if type(extractor) is not WhisperFeatureExtractor or extractor.return_attention_mask or extractor.dither:
            return None
        longest = max(row["num_frames"] for row in rows)
        return {"levels": levels_of(rows, extractor.sampling_rate, min(longest, extractor.n_samples))}

    def inputs_of(
        self, stored: Mapping[str, torch.Tensor], num_frames: torch.Tensor, extractor: WhisperFeatureExtractor
    ) -> dict[str, torch.Tensor]:
        return {"input_features": whisper_log_mel(waveforms_of(stored["levels"]), extractor)}

    def frames(self, window: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        return _fbank(parameters["sampling_rate"])([torch.from_numpy(window)])[0].numpy()

    def frame_s(self, manifest: Mapping[str, Any]) -> float:
        return fbank_frame_s(manifest["extractor"]["sampling_rate"])


@lru_cache(maxsize=4)
def _fbank(sample_rate: int) -> KaldiFbank:
    return KaldiFbank(sample_rate)


def encode_waveform(waveform: np.ndarray, sample_rate: int) -> bytes:
    """float32 `[samples]` → 16-bit mono FLAC; values outside [-1, 1] are clipped.

    The error is at most half a step, 1.5e-5; samples from a 16-bit file are restored exactly.
    """
    levels = np.clip(np.rint(waveform * np.float32(FULL_SCALE)), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, levels, sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def are_flac(files: pa.Array, sample_rate: int, num_samples: np.ndarray) -> np.ndarray:
    """Which files have the header of 16-bit mono FLAC with this rate and length; nothing is decoded."""
    heads = heads_of(files, 26)
    begins = (heads[:, :4] == [*FLAC_NAME]).all(axis=1) & (heads[:, 4] & 0x7F == 0)
    begins &= (heads[:, 5:8] == [*FLAC_STREAM]).all(axis=1)
    # 20 bits: rate, 3 bits: channels - 1, 5 bits: bits per sample - 1, 36 bits: length
    wanted = (sample_rate << 44 | 0 << 41 | 15 << 36) + num_samples.astype(np.uint64)
    return begins & (heads[:, 18:26].copy().view(">u8")[:, 0] == wanted)


def decode_waveform(flac: bytes, num_samples: int) -> tuple[np.ndarray, int]:
    """FLAC bytes → float32 `[num_samples]` in [-1, 1], and their sample rate in Hz; see `decode_levels`."""
    levels, sample_rate = decode_levels(flac, num_samples)
    return levels.astype(np.float32) * np.float32(1 / FULL_SCALE), sample_rate


def decode_levels(flac: bytes, num_samples: int) -> tuple[np.ndarray, int]:
    """FLAC bytes → int16 `[num_samples]`, and their sample rate in Hz.

    Raises:
        InputError: the file is not FLAC, or has another length; at most `num_samples` are decoded.
    """
    try:
        if not flac.startswith(FLAC_NAME):
            raise ValueError("it is not FLAC")
        with soundfile.SoundFile(io.BytesIO(flac)) as file:
            if file.channels != 1 or file.frames != num_samples:
                raise ValueError(f"{file.frames} samples of {file.channels} channel(s), not {num_samples} of one")
            levels, sample_rate = file.read(num_samples, dtype="int16"), file.samplerate
        if len(levels) != num_samples:
            raise ValueError(f"{len(levels)} samples, not {num_samples}")
    except (soundfile.SoundFileError, ValueError) as error:
        raise InputError(f"The audio of a window is damaged ({one_line(error)}): download or build it again") from error
    return levels, sample_rate


def levels_of(rows: Sequence[Mapping[str, Any]], sample_rate: int, num_samples: int) -> torch.Tensor:
    """Stored windows as int16 `[batch, num_samples]`, cut or padded with zeros.

    Raises:
        InputError: a window is damaged, or has another rate.
    """
    levels = np.zeros((len(rows), num_samples), dtype=np.int16)
    for row, stored in zip(levels, rows, strict=True):
        window, found = decode_levels(stored["audio"]["bytes"], stored["num_frames"])
        if found != sample_rate:
            raise InputError(f"A window has {found} Hz, expected {sample_rate} Hz: build the features again")
        row[: len(window)] = window[:num_samples]
    return torch.from_numpy(levels)


def waveforms_of(levels: torch.Tensor) -> torch.Tensor:
    """int16 → float32 in [-1, 1], on any device."""
    return levels / FULL_SCALE


KIND = SoundItself()
