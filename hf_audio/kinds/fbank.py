"""Kind "fbank": Kaldi's log-mel filter banks, equal to those of transformers' ASTFeatureExtractor.

A window is a row with an 8-bit gray PNG, an offset and a scale:

    log_mel = row["offset"] + row["scale"] * np.flipud(row["features"]).T    # [frames, bins]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from transformers import ASTFeatureExtractor, FeatureExtractionMixin

from hf_audio.extractors.fbank import (
    FRAME_S,
    HOP_S,
    LOWEST_HZ,
    PREEMPHASIS,
    FbankFeatureExtractor,
    kaldi_log_mel,
)
from hf_audio.gray_images import decode_features, encode_features, read_pixels
from hf_audio.kinds._kaldi_fbank import (
    LOWEST_RATE,
    NORMALIZATIONS,
    KaldiFbank,
    fbank_frame_s,
    published_extractor,
)
from hf_audio.kinds._kind import Axes, CardText, Form, Kind, Scale, normalized
from hf_audio.kinds._stored_values import are_measured, fill_padding, image_faults
from hf_audio.limits import FIELDS, one_of, whole
from hf_audio.windows import SampleWindows

NATURAL_DB = 10 / math.log(10)  # decibels per natural logarithm of energy, 4.343

LIMITS = {
    "sampling_rate": whole(LOWEST_RATE, 1_000_000),
    "num_mel_bins": FIELDS["num_mel_bins"],
    "frame_s": one_of(FRAME_S),
    "hop_s": one_of(HOP_S),
    "preemphasis": one_of(PREEMPHASIS),
    "lowest_hz": one_of(LOWEST_HZ),
    "normalization": one_of(*NORMALIZATIONS),
}
CARD = CardText(
    title="log-mel features",
    tags=("spectrogram",),
    heard="log-mel windows",
    row="stored as an 8-bit gray image that the dataset viewer can show",
    library="numpy",
    imports="import numpy as np\nfrom datasets import load_dataset",
    code="""row = next(iter(rows))
log_mel = row["offset"] + row["scale"] * np.flipud(row["features"]).T  # [frames, mel bins]""",
    values="""\
{% if preprocessor.do_normalize %}Models read `(log_mel - mean) / (2 * std)`, with the mean \
{{ "%.4f" | format(preprocessor.mean) }} and the standard deviation {{ "%.4f" | format(preprocessor.std) }} of the \
train split.{% else %}Models read these values without normalization.{% endif %} `preprocessor_config.json` configures \
{% if extractor.sampling_rate == 16000 %}the ASTFeatureExtractor of transformers, which computes the same features \
from a waveform.{% else %}hf_audio's FbankFeatureExtractor, which computes the same features from a waveform and is \
published with every model that uses it.{% endif %}""",
    columns="""\
| `features` | gray image: time from left to right, low frequencies at the bottom |
| `offset`, `scale` | value = offset + scale * pixel |
| `num_frames` | number of frames in the window (clips shorter than the window are not padded) |""",
)


class Fbank(Kind):
    """See `Kind`."""

    name = "fbank"
    form = Form.IMAGE
    described = "log-mel spectrograms"
    extractor = KaldiFbank
    published = (ASTFeatureExtractor, FbankFeatureExtractor)
    compared = ("sampling_rate", "num_mel_bins")
    statistics_axis = None  # one mean and standard deviation over all bins, as AST's authors use
    limits = LIMITS
    cuts = True
    is_computable = True
    card = CARD

    def published_class(self, parameters: Mapping[str, Any]) -> type[FeatureExtractionMixin]:
        return published_extractor(parameters["sampling_rate"])

    def columns(self, sample_rate: int) -> dict[str, Any]:
        from datasets import Image, Value  # not needed by those who only predict

        return {"features": Image(), "offset": Value("float32"), "scale": Value("float32")}

    def encode(self, window: np.ndarray, sample_rate: int) -> tuple[dict[str, Any], float, float]:
        png, offset, scale = encode_features(window)
        return {"bytes": png, "path": None}, offset, scale

    def faults(self, rows: pa.RecordBatch, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        height = parameters["num_mel_bins"]
        return {
            **image_faults(rows, height),
            "an offset or a scale that is not a number": ~(
                are_measured(rows["offset"])
                & are_measured(rows["scale"])
                & pc.greater_equal(rows["scale"], 0).to_numpy(zero_copy_only=False)
            ),
        }

    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        return decode_features(row["features"], row["offset"], row["scale"])

    def window_shape(self, window_s: float, parameters: Mapping[str, Any]) -> tuple[int, ...]:
        fbank = KaldiFbank(parameters["sampling_rate"])
        return fbank.window_frames(window_s), parameters["num_mel_bins"]

    def window_frames(self, extractor: ASTFeatureExtractor, manifest: Mapping[str, Any]) -> int:
        return extractor.max_length

    def sample_windows(self, parameters: Mapping[str, Any], window_s: float, hop_s: float) -> SampleWindows:
        """On the grid of frames, since windows are cut from frames."""
        fbank = KaldiFbank(parameters["sampling_rate"])
        return SampleWindows(*fbank.window_samples(window_s, hop_s), fbank.frame_samples, fbank.hop_samples)

    def longest_samples(self, extractor: ASTFeatureExtractor) -> int:
        fbank = KaldiFbank(extractor.sampling_rate)
        return (extractor.max_length - 1) * fbank.hop_samples + fbank.frame_samples

    def inputs_of_sound(self, windows: Sequence[np.ndarray], extractor: ASTFeatureExtractor) -> dict[str, torch.Tensor]:
        """The extractor's output, computed for all windows together: several times faster than one by one."""
        sounds = [torch.from_numpy(np.ascontiguousarray(window)) for window in windows]
        values = torch.zeros(len(sounds), extractor.max_length, extractor.num_mel_bins)
        frames = kaldi_log_mel(sounds, extractor.sampling_rate, extractor.num_mel_bins)
        for value, of_window in zip(values, frames, strict=True):
            value[: len(of_window)] = of_window[: len(value)]
        if extractor.do_normalize:
            values = normalized(values, extractor.mean, 2 * extractor.std, in_place=True)
        return {"input_values": values}

    def batch(self, rows: Sequence[Mapping[str, Any]], extractor: ASTFeatureExtractor) -> dict[str, torch.Tensor]:
        """Exactly ASTFeatureExtractor's output: short windows are padded with 0 before normalization."""
        num_frames = torch.tensor([row["num_frames"] for row in rows])
        return self.inputs_of(self.stored_batch(rows, extractor), num_frames, extractor)

    def stored_batch(
        self, rows: Sequence[Mapping[str, Any]], extractor: ASTFeatureExtractor
    ) -> dict[str, torch.Tensor]:
        """`pixels` uint8 `[batch, frames, bins]`, `offsets` and `scales` float32 `[batch]`."""
        pixels = np.zeros((len(rows), extractor.max_length, extractor.num_mel_bins), dtype=np.uint8)
        for window, row in zip(pixels, rows, strict=True):
            frames = read_pixels(row["features"]).T[: len(window), ::-1]
            window[: len(frames)] = frames
        offsets, scales = np.array([(row["offset"], row["scale"]) for row in rows], dtype=np.float32).T
        found = {"pixels": pixels, "offsets": offsets.copy(), "scales": scales.copy()}
        return {name: torch.from_numpy(values) for name, values in found.items()}

    def inputs_of(
        self, stored: Mapping[str, torch.Tensor], num_frames: torch.Tensor, extractor: ASTFeatureExtractor
    ) -> dict[str, torch.Tensor]:
        values = stored["pixels"].float().mul_(stored["scales"][:, None, None]).add_(stored["offsets"][:, None, None])
        values = fill_padding(values, num_frames, 0.0)
        if extractor.do_normalize:
            values = normalized(values, extractor.mean, 2 * extractor.std, in_place=True)
        return {"input_values": values}

    def inputs_of_waveforms(
        self, waveforms: torch.Tensor, num_samples: torch.Tensor, extractor: ASTFeatureExtractor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        source = self.source_of(extractor)
        values = waveforms.new_zeros(len(waveforms), extractor.max_length, extractor.num_mel_bins)
        frames = source(waveforms)[:, : extractor.max_length]
        values[:, : frames.shape[1]] = frames
        num_frames = 1 + (num_samples - source.frame_samples).div(source.hop_samples, rounding_mode="floor")
        num_frames = num_frames.clamp(0, extractor.max_length)
        values = fill_padding(values, num_frames, 0.0)
        if extractor.do_normalize:
            values = normalized(values, extractor.mean, 2 * extractor.std, in_place=True)
        return values, num_frames

    def source_of(self, extractor: ASTFeatureExtractor) -> KaldiFbank:
        normalization = "dataset" if extractor.do_normalize else "none"
        return KaldiFbank(extractor.sampling_rate, extractor.num_mel_bins, normalization)

    def scale(self, extractor: ASTFeatureExtractor) -> Scale:
        mean, std = (extractor.mean, extractor.std) if extractor.do_normalize else (0.0, 0.5)
        frame_s = fbank_frame_s(extractor.sampling_rate)
        return Scale(mean, std, 2.0, NATURAL_DB, None, extractor.do_normalize, frame_s)

    def axes(self, extractor: ASTFeatureExtractor) -> Axes:
        fbank = self.source_of(extractor)
        return Axes(
            fbank.hop_samples / fbank.sample_rate, fbank.frame_samples / fbank.sample_rate / 2, fbank.middles_hz
        )

    def padding_value(self, extractor: ASTFeatureExtractor) -> float:
        """The input for a log-mel of 0."""
        scale: Any = self.scale(extractor)  # numbers, for one channel
        return normalized(0.0, scale.mean, scale.deviations * scale.std)

    def frame_s(self, manifest: Mapping[str, Any]) -> float:
        return fbank_frame_s(manifest["extractor"]["sampling_rate"])


KIND = Fbank()
