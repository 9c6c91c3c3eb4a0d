"""Kind "spectrogram": spectrograms as the user sets them, mono or stereo, as channels of one tensor.

A window is a row with an 8-bit grey PNG of all channels, the first on top, and an offset and a scale of each:

    pictures = np.split(np.asarray(row["features"]), len(row["offsets"]))
    pairs = zip(row["offsets"], row["scales"])
    values = [offset + scale * np.flipud(picture).T for picture, (offset, scale) in zip(pictures, pairs)]

Each of the values is `[frames, bins]`, in dB. The pictures have the frames along their width and the low frequencies
at their bottom, as spectrograms are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from hf_audio.errors import InputError, unknown_name
from hf_audio.extractors.spectrogram import (
    CHANNELS,
    LEAST_STD,
    NORMALISATIONS,
    SpectrogramFeatureExtractor,
    mel_filters,
)
from hf_audio.grey_pictures import grey_png, read_pixels, to_pixels
from hf_audio.kinds._cut_sound import CutSound
from hf_audio.kinds._kind import CardText, Form, Kind, Scale
from hf_audio.kinds._stored_values import are_measured, lists_hold, picture_faults
from hf_audio.limits import FIELDS

# Seconds of sound of which one core makes and stores a channel in one second: 2,048 samples a frame, every 512, at
# 22,050 or 44,100 Hz. Harmonic and percussive parts are made together.
SPEEDS = {"mel": 1000.0, "left": 1000.0, "right": 1000.0, "mfcc": 1000.0, "parts": 65.0, "wavelet": 50.0}
PARTS = ("harmonic", "percussive")

LIMITS = {
    name: FIELDS[name]
    for name in ("sampling_rate", "num_mel_bins", "n_fft", "hop_samples", "channels", "normalisation")
}
CARD = CardText(
    title="spectrograms",
    tags=("spectrogram",),
    heard="spectrograms of windows",
    row="""\
an 8-bit grey picture that the viewer shows{% if extractor.channels | length > 1 %}, with \
{{ extractor.channels | length }} spectrograms on top of each other: {{ extractor.channels | join(", ") }}\
{% endif %}""",
    library="numpy",
    imports="import numpy as np\nfrom datasets import load_dataset",
    code="""row = next(iter(rows))
offsets, scales = (np.float32(row[name])[:, None, None] for name in ("offsets", "scales"))
pictures = np.stack(np.split(np.asarray(row["features"]), len(offsets)))  # [channels, bins, frames], highest bin first
spectrograms = (offsets + scales * pictures[:, ::-1]).transpose(0, 2, 1)  # [channels, frames, bins]""",
    values="""\
Values are in dB relative to 1, not under -100 dB{% if "mfcc" in extractor.channels %}, and for MFCCs their \
orthonormal cosine transform over the bins{% endif %}.
{%- if preprocessor.normalisation == "dataset" %} Models read `(spectrograms - mean) / std`, each channel by its own \
of the train split:{% for name in extractor.channels %} {{ name }} \
{{ "%.4f" | format(preprocessor.mean[loop.index0]) }} and {{ "%.4f" | format(preprocessor.std[loop.index0]) }}\
{{ "," if not loop.last else "." }}{% endfor %}
{%- elif preprocessor.normalisation == "clip" %} Models read each channel of a window minus its own mean, by its own \
standard deviation.
{%- else %} Models read these values, not normalised.
{%- endif %} `preprocessor_config.json` is that of hf_audio's SpectrogramFeatureExtractor, which computes the same \
from a waveform and is published with every model that uses it.""",
    columns="""\
| `features` | picture: the channels' spectrograms on top of each other, time along the width, low frequencies at the \
bottom of each |
| `offsets`, `scales` | value = offset + scale * pixel, for each channel |
| `num_frames` | frames of the window: a clip shorter than the window is not padded |""",
)


@dataclass(frozen=True)
class Spectrogram(CutSound):
    """What SpectrogramFeatureExtractor computes, of every window by itself, not normalised.

    Frames are centred, so the first and last ones of a window see zeros beyond its ends, and so do harmonic and
    percussive parts and wavelets: overlapping windows are computed anew, and equal what the published extractor makes
    of the window's sound. A window of `n` samples has 1 + n // hop_samples frames.

    Args:
        sample_rate: in Hz.
        num_mel_bins: mel bands, and so MFCCs and wavelets.
        n_fft: samples under one spectrum; even.
        hop_samples: samples from one frame to the next.
        channels: names of CHANNELS, in the order in which they are stacked.
        normalisation: "dataset", "clip" or "none"; see SpectrogramFeatureExtractor.

    Raises:
        InputError: a setting that cannot be; see `_check`.
    """

    sample_rate: int = 22_050
    num_mel_bins: int = 128
    n_fft: int = 2048
    hop_samples: int = 512
    channels: tuple[str, ...] = ("mel",)
    normalisation: str = "dataset"

    slow_imports = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        _check(self)

    @property
    def times_real_time(self) -> float:
        """Seconds of sound of which one core makes features in one second."""
        made = {"parts" if name in PARTS else name for name in self.channels}
        return 1 / sum(1 / SPEEDS[name] for name in sorted(made))

    @property
    def is_stereo(self) -> bool:
        """Whether left and right are told apart; mono features of a stereo file are of the mean of both."""
        return self.published.is_stereo

    @property
    def frame_samples(self) -> int:
        """Samples under one spectrum, and so the shortest waveform that is used."""
        return self.n_fft

    @property
    def parameters(self) -> dict[str, float | int | str | list[str]]:
        """Everything that decides the values, for a manifest."""
        return {
            "kind": "spectrogram",
            "sampling_rate": self.sample_rate,
            "num_mel_bins": self.num_mel_bins,
            "n_fft": self.n_fft,
            "hop_samples": self.hop_samples,
            "channels": list(self.channels),
            "normalisation": self.normalisation,
        }

    def count(self, num_samples: int) -> int:
        """431 frames of 5 s at 44,100 Hz, 1,292 of 30 s at 22,050 Hz."""
        return self.published.num_frames(num_samples)

    def extract(self, sound: np.ndarray) -> np.ndarray:
        """float32 `[frames, channels, bins]` in dB."""
        return self.published.extract(sound)

    def to_feature_extractor(
        self, max_length: int, mean: Sequence[float] | float, std: Sequence[float] | float
    ) -> SpectrogramFeatureExtractor:
        """The extractor that computes the same of a waveform, for `max_length` frames, with training statistics."""
        return SpectrogramFeatureExtractor(
            sampling_rate=self.sample_rate,
            num_mel_bins=self.num_mel_bins,
            n_fft=self.n_fft,
            hop_samples=self.hop_samples,
            channels=self.channels,
            max_length=max_length,
            normalisation=self.normalisation,
            mean=mean,
            std=std,
        )


def _check(wanted: Spectrogram) -> None:
    """Raises InputError where settings are wrong or do not go together."""
    for name in wanted.channels:
        if name not in CHANNELS:
            raise unknown_name("channel", name, CHANNELS)
    if not wanted.channels or len(set(wanted.channels)) < len(wanted.channels):
        raise InputError(
            f"--channels must name each channel once, found {' '.join(wanted.channels) or 'none'}; there are "
            f"{', '.join(CHANNELS)}"
        )
    if wanted.normalisation not in NORMALISATIONS:
        raise unknown_name("normalisation", wanted.normalisation, NORMALISATIONS)
    if wanted.sample_rate < 1 or wanted.num_mel_bins < 1:
        raise InputError(
            f"--sample_rate and --num_mel_bins must be positive, found {wanted.sample_rate} and {wanted.num_mel_bins}"
        )
    if wanted.n_fft < 2 or wanted.n_fft % 2:
        raise InputError(f"--n_fft must be an even number of samples, found {wanted.n_fft}: try 2048")
    if not 1 <= wanted.hop_samples <= wanted.n_fft:
        raise InputError(
            f"--hop_samples must be from 1 to --n_fft ({wanted.n_fft}), or sound between two frames would be lost, "
            f"found {wanted.hop_samples}: try {wanted.n_fft // 4 or 1}"
        )
    if set(wanted.channels) != {"wavelet"}:
        _check_filters(wanted.sample_rate, wanted.n_fft, wanted.num_mel_bins)


def _check_filters(sample_rate: int, n_fft: int, num_mel_bins: int) -> None:
    """Raises InputError where mel filters are so narrow that some hear nothing."""

    def num_empty(n_fft: int, num_mel_bins: int) -> int:
        return int((~mel_filters(sample_rate, n_fft, num_mel_bins).any(axis=0)).sum())

    empty = num_empty(n_fft, num_mel_bins)
    if empty:
        fewer = next((bins for bins in range(num_mel_bins - 1, 1, -1) if not num_empty(n_fft, bins)), 1)
        longer = n_fft
        while num_empty(longer, num_mel_bins):
            longer *= 2
        raise InputError(
            f"{num_mel_bins} mel bins are too many for --n_fft {n_fft} at {sample_rate} Hz, {empty} of them would be "
            f"empty: give --num_mel_bins {fewer} or fewer, or --n_fft {longer}"
        )


class Spectrograms(Kind):
    """See `Kind` for what each part is.

    Windows are `[frames, channels, bins]`. Each channel has 256 levels between its own least and greatest value: half
    a step is about 0.2 dB of mel, and 2 dB of MFCCs, whose first coefficient spans ten times as much as the others.
    """

    name = "spectrogram"
    form = Form.PICTURE
    described = "spectrograms"
    extractor = Spectrogram
    published = (SpectrogramFeatureExtractor,)
    compared = ("sampling_rate", "num_mel_bins", "n_fft", "hop_samples", "channels", "normalisation")
    statistics_axis = (0, 2)
    limits = LIMITS
    cuts = True
    card = CARD

    def columns(self, sample_rate: int) -> dict[str, Any]:
        from datasets import Image, List, Value  # not needed by those who only predict

        return {"features": Image(), "offsets": List(Value("float32")), "scales": List(Value("float32"))}

    def encode(self, window: np.ndarray, sample_rate: int) -> tuple[dict[str, Any], list[float], list[float]]:
        pixels, offsets, scales = zip(*(to_pixels(channel) for channel in window.swapaxes(0, 1)), strict=True)
        return {"bytes": grey_png(np.concatenate(pixels)), "path": None}, list(offsets), list(scales)

    def faults(self, rows: pa.RecordBatch, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        count = len(parameters["channels"])
        offsets, scales = rows["offsets"].flatten(), rows["scales"].flatten()
        are_scales = are_measured(scales) & (scales.to_numpy(zero_copy_only=False) >= 0)
        hold = lists_hold(rows["offsets"], count, are_measured(offsets)) & lists_hold(rows["scales"], count, are_scales)
        return {
            **picture_faults(rows, count * parameters["num_mel_bins"]),
            f"other offsets or scales than {count} numbers each": ~hold,
        }

    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        pixels = read_pixels(row["features"])
        scales, offsets = (np.asarray(row[name], dtype=np.float32)[:, None] for name in ("scales", "offsets"))
        channels = pixels.reshape(len(offsets), -1, pixels.shape[1])[:, ::-1]
        values = np.multiply(channels.transpose(2, 0, 1), scales, dtype=np.float32)
        values += offsets
        return values

    def window_shape(self, window_s: float, parameters: Mapping[str, Any]) -> tuple[int, int, int]:
        num_frames = 1 + round(window_s * parameters["sampling_rate"]) // parameters["hop_samples"]
        return num_frames, len(parameters["channels"]), parameters["num_mel_bins"]

    def window_frames(self, extractor: SpectrogramFeatureExtractor, manifest: Mapping[str, Any]) -> int:
        return extractor.max_length

    def shortest_samples(self, parameters: Mapping[str, Any]) -> int:
        """Samples under one spectrum."""
        return parameters["n_fft"]

    def longest_samples(self, extractor: SpectrogramFeatureExtractor) -> int | None:
        return None if extractor.max_length is None else extractor.max_length * extractor.hop_samples - 1

    def batch(
        self, rows: Sequence[Mapping[str, Any]], extractor: SpectrogramFeatureExtractor
    ) -> dict[str, torch.Tensor]:
        """Normalised, and padded or cut to the extractor's `max_length`, by the extractor itself."""
        return {"input_values": torch.from_numpy(extractor.normalise([self.decode(row) for row in rows]))}

    def frames(self, window: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        """The first channel."""
        return window[:, 0]

    def scale(self, extractor: SpectrogramFeatureExtractor) -> Scale:
        """Of one that normalises by clips, whose statistics nobody knows, that of no normalisation."""
        mean, std = (0.0,), (1.0,)
        if extractor.normalisation == "dataset" and extractor.mean is not None:
            mean, std = tuple(extractor.mean), tuple(1.0 if one < LEAST_STD else one for one in extractor.std)
        is_centred = extractor.normalisation == "clip" or mean != (0.0,)
        mean, std = (one[0] if len(one) == 1 else one for one in (mean, std))
        frame_s = extractor.hop_samples / extractor.sampling_rate
        return Scale(mean, std, 1.0, 1.0, extractor.padding_value, is_centred, frame_s)

    def padding_value(self, extractor: SpectrogramFeatureExtractor) -> float:
        return extractor.padding_value

    def frame_s(self, manifest: Mapping[str, Any]) -> float:
        return manifest["extractor"]["hop_samples"] / manifest["extractor"]["sampling_rate"]

    def drawn(self, window: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        """All channels `[frames, channels * bins]`: each from 0 to 1, the first one last, so on top."""
        low, high = window.min(axis=(0, 2), keepdims=True), window.max(axis=(0, 2), keepdims=True)
        return ((window - low) / np.maximum(high - low, 1e-6))[:, ::-1].reshape(len(window), -1)

    def channels(self, parameters: Mapping[str, Any]) -> Sequence[str]:
        return parameters["channels"]


KIND = Spectrograms()
