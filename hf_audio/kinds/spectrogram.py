"""Kind "spectrogram": spectrograms with user-defined settings, mono or stereo, as channels of one tensor.

A window is a row with an 8-bit gray PNG of all channels, the first on top, and an offset and a scale per channel:

    images = np.split(np.asarray(row["features"]), len(row["offsets"]))
    pairs = zip(row["offsets"], row["scales"])
    values = [offset + scale * np.flipud(image).T for image, (offset, scale) in zip(images, pairs)]

Each of the values is `[frames, bins]`, in dB. In the images, frames are along the width and low frequencies at the
bottom, as in plots of spectrograms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from hf_audio.extractors.spectrogram import MIN_STD, SpectrogramFeatureExtractor, varying
from hf_audio.gray_images import gray_png, read_pixels, to_pixels
from hf_audio.kinds._kind import Axes, CardText, Form, Kind, Scale, normalized
from hf_audio.kinds._mel_middles import slaney_middles_hz
from hf_audio.kinds._spectrogram_settings import Spectrogram
from hf_audio.kinds._stored_values import are_measured, fill_padding, image_faults, lists_hold
from hf_audio.limits import FIELDS

LIMITS = {
    name: FIELDS[name]
    for name in ("sampling_rate", "num_mel_bins", "n_fft", "hop_samples", "channels", "normalization")
}
CARD = CardText(
    title="spectrograms",
    tags=("spectrogram",),
    heard="spectrogram windows",
    row="""\
stored as an 8-bit gray image that the dataset viewer can show{% if extractor.channels | length > 1 %}, with \
{{ extractor.channels | length }} spectrograms stacked vertically: {{ extractor.channels | join(", ") }}\
{% endif %}""",
    library="numpy",
    imports="import numpy as np\nfrom datasets import load_dataset",
    code="""row = next(iter(rows))
offsets, scales = (np.float32(row[name])[:, None, None] for name in ("offsets", "scales"))
images = np.stack(np.split(np.asarray(row["features"]), len(offsets)))  # [channels, bins, frames], highest bin first
spectrograms = (offsets + scales * images[:, ::-1]).transpose(0, 2, 1)  # [channels, frames, bins]""",
    values="""\
Values are in dB relative to 1, clipped at -100 dB{% if "mfcc" in extractor.channels %}; MFCCs are their \
orthonormal cosine transform over the bins{% endif %}.
{%- if preprocessor.normalization == "dataset" %} Models read `(spectrograms - mean) / std`, with the mean and \
standard deviation of each channel in the train split:{% for name in extractor.channels %} {{ name }} \
{{ "%.4f" | format(preprocessor.mean[loop.index0]) }} and {{ "%.4f" | format(preprocessor.std[loop.index0]) }}\
{{ "," if not loop.last else "." }}{% endfor %}
{%- elif preprocessor.normalization == "clip" %} Models read each channel of a window normalized by its own mean and \
standard deviation.
{%- else %} Models read these values without normalization.
{%- endif %} `preprocessor_config.json` configures hf_audio's SpectrogramFeatureExtractor, which computes the same \
features from a waveform and is published with every model that uses it.""",
    columns="""\
| `features` | gray image: the spectrograms of the channels stacked vertically, time from left to right, low \
frequencies at the bottom of each |
| `offsets`, `scales` | value = offset + scale * pixel, per channel |
| `num_frames` | number of frames in the window (clips shorter than the window are not padded) |""",
)


class Spectrograms(Kind):
    """See `Kind`.

    Windows are `[frames, channels, bins]`. Each channel has 256 levels between its minimum and maximum: half a step is
    about 0.2 dB for mel, and 2 dB for MFCCs, whose first coefficient has ten times the range of the others.
    """

    name = "spectrogram"
    form = Form.IMAGE
    described = "spectrograms"
    extractor = Spectrogram
    published = (SpectrogramFeatureExtractor,)
    compared = ("sampling_rate", "num_mel_bins", "n_fft", "hop_samples", "channels", "normalization")
    statistics_axis = (0, 2)
    limits = LIMITS
    cuts = True
    is_computable = True
    card = CARD

    def columns(self, sample_rate: int) -> dict[str, Any]:
        from datasets import Image, List, Value  # not needed by those who only predict

        return {"features": Image(), "offsets": List(Value("float32")), "scales": List(Value("float32"))}

    def encode(self, window: np.ndarray, sample_rate: int) -> tuple[dict[str, Any], list[float], list[float]]:
        pixels, offsets, scales = zip(*(to_pixels(channel) for channel in window.swapaxes(0, 1)), strict=True)
        return {"bytes": gray_png(np.concatenate(pixels)), "path": None}, list(offsets), list(scales)

    def faults(self, rows: pa.RecordBatch, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        count = len(parameters["channels"])
        offsets, scales = rows["offsets"].flatten(), rows["scales"].flatten()
        are_scales = are_measured(scales) & (scales.to_numpy(zero_copy_only=False) >= 0)
        hold = lists_hold(rows["offsets"], count, are_measured(offsets)) & lists_hold(rows["scales"], count, are_scales)
        return {
            **image_faults(rows, count * parameters["num_mel_bins"]),
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
        """Samples per spectrum."""
        return parameters["n_fft"]

    def longest_samples(self, extractor: SpectrogramFeatureExtractor) -> int | None:
        return None if extractor.max_length is None else extractor.max_length * extractor.hop_samples - 1

    def batch(
        self, rows: Sequence[Mapping[str, Any]], extractor: SpectrogramFeatureExtractor
    ) -> dict[str, torch.Tensor]:
        """The output of the extractor's `normalize` for decoded windows: padded or cut to its `max_length`."""
        num_frames = torch.tensor([row["num_frames"] for row in rows])
        return self.inputs_of(self.stored_batch(rows, extractor), num_frames, extractor)

    def stored_batch(
        self, rows: Sequence[Mapping[str, Any]], extractor: SpectrogramFeatureExtractor
    ) -> dict[str, torch.Tensor]:
        """`pixels` uint8 `[batch, channels, frames, bins]`, and float32 `[batch, channels]` to convert them to
        inputs."""
        num_channels, num_bins = extractor.num_channels, extractor.num_mel_bins
        pixels = np.zeros((len(rows), num_channels, extractor.max_length, num_bins), dtype=np.uint8)
        numbers = np.empty((4, len(rows), num_channels), dtype=np.float32)
        numbers[2:] = np.stack(extractor.constants)[:, None]
        for index, row in enumerate(rows):
            image = read_pixels(row["features"]).reshape(num_channels, num_bins, -1)
            window = image[:, ::-1, : extractor.max_length].transpose(0, 2, 1)
            pixels[index, :, : window.shape[1]] = window
            numbers[:2, index] = row["offsets"], row["scales"]
            if extractor.normalization == "clip":
                numbers[2:, index] = _statistics(window, *numbers[:2, index])
        found = {"pixels": pixels, **dict(zip(("offsets", "scales", "means", "stds"), numbers, strict=True))}
        return {name: torch.from_numpy(values) for name, values in found.items()}

    def inputs_of(
        self, stored: Mapping[str, torch.Tensor], num_frames: torch.Tensor, extractor: SpectrogramFeatureExtractor
    ) -> dict[str, torch.Tensor]:
        numbers = (stored[name][:, :, None, None] for name in ("offsets", "scales", "means", "stds"))
        offsets, scales, means, stds = numbers
        # normalizes the few scales and offsets of pixels instead of all values
        values = stored["pixels"].float().mul_(scales / stds).add_(normalized(offsets, means, stds))
        values = fill_padding(values, num_frames, extractor.padding_value)
        return {"input_values": values[:, 0] if extractor.num_channels == 1 else values}

    def inputs_of_waveforms(
        self, waveforms: torch.Tensor, num_samples: torch.Tensor, extractor: SpectrogramFeatureExtractor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        size = extractor.max_length
        num_frames = (1 + num_samples.div(extractor.hop_samples, rounding_mode="floor")).clamp(max=size)
        values = of_waveforms(waveforms, num_samples, extractor)
        values = functional.pad(values[:, :, :size], (0, 0, 0, size - min(size, values.shape[2])))
        means, stds = _statistics_on_device(values, num_frames, extractor)
        values = fill_padding(normalized(values, means, stds, in_place=True), num_frames, extractor.padding_value)
        return values[:, 0] if extractor.num_channels == 1 else values, num_frames

    def source_of(self, extractor: SpectrogramFeatureExtractor) -> Spectrogram:
        return Spectrogram(
            sample_rate=extractor.sampling_rate,
            **{name: getattr(extractor, name) for name in ("num_mel_bins", "n_fft", "hop_samples")},
            channels=tuple(extractor.channels),
            normalization=extractor.normalization,
        )

    def frames(self, window: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        """The first channel."""
        return window[:, 0]

    def scale(self, extractor: SpectrogramFeatureExtractor) -> Scale:
        """With normalization per clip, whose statistics are unknown, the scale without normalization."""
        of_channels = [tuple(map(float, numbers)) for numbers in extractor.constants]
        is_centered = extractor.normalization == "clip" or any(of_channels[0])
        mean, std = (one[0] if len(one) == 1 else one for one in of_channels)
        frame_s = extractor.hop_samples / extractor.sampling_rate
        return Scale(mean, std, 1.0, 1.0, extractor.padding_value, is_centered, frame_s)

    def axes(self, extractor: SpectrogramFeatureExtractor) -> Axes:
        """With frequencies only if all channels share them: not with MFCCs, or wavelets, which have other spacing."""
        rate = extractor.sampling_rate
        is_mel = not {"mfcc", "wavelet"} & set(extractor.channels)
        hz = slaney_middles_hz(rate / 2, extractor.num_mel_bins) if is_mel else None
        return Axes(extractor.hop_samples / rate, 0.0, hz)

    def padding_value(self, extractor: SpectrogramFeatureExtractor) -> float:
        return extractor.padding_value

    def frame_s(self, manifest: Mapping[str, Any]) -> float:
        return manifest["extractor"]["hop_samples"] / manifest["extractor"]["sampling_rate"]

    def drawn(self, window: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        """All channels `[frames, channels * bins]`, each from 0 to 1; the first comes last, so it is drawn on top."""
        low, high = window.min(axis=(0, 2), keepdims=True), window.max(axis=(0, 2), keepdims=True)
        return ((window - low) / np.maximum(high - low, 1e-6))[:, ::-1].reshape(len(window), -1)

    def channels(self, parameters: Mapping[str, Any]) -> Sequence[str]:
        return parameters["channels"]


def of_waveforms(
    waveforms: torch.Tensor, num_samples: torch.Tensor, extractor: SpectrogramFeatureExtractor
) -> torch.Tensor:
    """Waveforms `[batch, samples]`, 0 after `num_samples` of each → decibels `[batch, channels, frames, bins]`.

    Medians and wavelets depend on samples after a window's end, so they are computed for each window separately.
    """
    if {*extractor.channels} <= {"mel", "mfcc"}:
        return extractor.decibels_of(waveforms).transpose(1, 2)
    windows = [
        extractor.decibels_of(one[None, :length])[0]
        for one, length in zip(waveforms, num_samples.tolist(), strict=True)
    ]
    return pad_sequence(windows, batch_first=True).transpose(1, 2)


def _statistics(pixels: np.ndarray, offsets: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and divisor `[channels]` of the values of a window `[channels, frames, bins]`, as in the extractor."""
    mean, std = (function(pixels, axis=(1, 2), dtype=np.float64) for function in (np.mean, np.std))
    return offsets + scales * mean, varying(scales * std)


def _statistics_on_device(
    values: torch.Tensor, num_frames: torch.Tensor, extractor: SpectrogramFeatureExtractor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and divisor of `[batch, channels, frames, bins]`, as in the extractor: per channel, or per window and
    channel, with trailing dimensions of 1."""
    if extractor.normalization != "clip":
        return tuple(torch.from_numpy(one).to(values.device)[:, None, None] for one in extractor.constants)
    is_sound = (torch.arange(values.shape[2], device=values.device) < num_frames[:, None])[:, None, :, None]
    count = (num_frames * values.shape[3]).view(-1, 1, 1, 1)
    mean = (values.double() * is_sound).sum(dim=(2, 3), keepdim=True) / count
    std = ((((values - mean) * is_sound) ** 2).sum(dim=(2, 3), keepdim=True) / count).sqrt()
    return mean.float(), torch.where(std < MIN_STD, 1.0, std).float()


KIND = Spectrograms()
