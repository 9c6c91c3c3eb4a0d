"""Log-mel windows as rows: an 8-bit grey PNG with an offset and a scale, readable by anyone.

    log_mel = row["offset"] + row["scale"] * np.flipud(row["features"]).T    # [frames, bins]

The picture has the frames along its width and the low frequencies at its bottom, as spectrograms are drawn.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Image, Value
from PIL import Image as Pictures
from transformers import ASTFeatureExtractor

from hf_audio.data.stored_values import are_measured, heads_of
from hf_audio.errors import InputError, one_line

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# behind the signature: length and kind of the header, then of what follows it; and what is said between them of depth,
# colour, compression, filters and interlacing
PNG_HEADER, PNG_PIXELS, PNG_GREY = b"\0\0\0\rIHDR", b"IDAT", bytes((8, 0, 0, 0, 0))
PNG_SUB_FILTER = 1
LARGEST_PIXEL = 255


class PictureStorage:
    """Kind "fbank": see `hf_audio.data.feature_storage.FeatureStorage` for what each part is."""

    kind = "fbank"
    feature_type = "kaldi_fbank"
    described = "log-mel pictures"
    extractor_class = ASTFeatureExtractor
    compared = ("sampling_rate", "num_mel_bins")
    statistics_axis = None  # one mean and deviation over all bins, as AST's authors take them

    def columns(self, sample_rate: int) -> dict[str, Any]:
        return {"features": Image(), "offset": Value("float32"), "scale": Value("float32")}

    def encode(self, window: np.ndarray, sample_rate: int) -> tuple[dict[str, Any], float, float]:
        png, offset, scale = encode_features(window)
        return {"bytes": png, "path": None}, offset, scale

    def faults(self, rows: pa.RecordBatch, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        height = parameters["num_mel_bins"]
        return {
            **picture_faults(rows, height),
            "an offset or a scale that is no number": ~(
                are_measured(rows["offset"])
                & are_measured(rows["scale"])
                & pc.greater_equal(rows["scale"], 0).to_numpy(zero_copy_only=False)
            ),
        }

    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        return decode_features(row["features"], row["offset"], row["scale"])

    def full_frames(self, window_s: float, parameters: Mapping[str, Any]) -> int:
        frame_samples, hop_samples = (
            int(parameters["sampling_rate"] * parameters[name]) for name in ("frame_s", "hop_s")
        )
        return 1 + (round(window_s * parameters["sampling_rate"]) - frame_samples) // hop_samples

    def window_frames(self, extractor: ASTFeatureExtractor, manifest: Mapping[str, Any]) -> int:
        return extractor.max_length

    def batch(self, rows: Sequence[Mapping[str, Any]], extractor: ASTFeatureExtractor) -> dict[str, torch.Tensor]:
        """Exactly what ASTFeatureExtractor would have given: a short window is padded with 0 before normalising."""
        values = np.zeros((len(rows), extractor.max_length, extractor.num_mel_bins), dtype=np.float32)
        for window, row in zip(values, rows, strict=True):
            frames = self.decode(row)[: len(window)]
            window[: len(frames)] = frames
        if extractor.do_normalize:
            values -= np.float32(extractor.mean)
            values /= np.float32(2 * extractor.std)
        return {"input_values": torch.from_numpy(values)}


def encode_features(frames: np.ndarray) -> tuple[bytes, float, float]:
    """float32 `[frames, bins]` → PNG bytes, offset, scale with value = offset + scale * pixel.

    The error is at most half a step, scale / 2: about 0.04 for log-mel energies, which span some 20 units.
    """
    pixels, offset, scale = to_pixels(frames)
    return grey_png(pixels), offset, scale


def to_pixels(frames: np.ndarray) -> tuple[np.ndarray, float, float]:
    """float32 `[frames, bins]` → uint8 `[bins, frames]` with the highest bin on top, offset and scale."""
    offset = np.float32(frames.min())
    scale = np.float32((frames.max() - offset) / LARGEST_PIXEL)
    steps = np.float32(1.0) / scale if scale > 0 else np.float32(0.0)
    levels = (frames - offset) * steps
    levels += np.float32(0.5)  # the cast below cuts off: this rounds
    return np.ascontiguousarray(levels.astype(np.uint8).T[::-1]), float(offset), float(scale)


def decode_features(picture: bytes | Pictures.Image | dict[str, Any], offset: float, scale: float) -> np.ndarray:
    """PNG bytes, or the picture that `datasets.Image` decoded → float32 `[frames, bins]`."""
    values = np.multiply(read_pixels(picture).T[:, ::-1], np.float32(scale), dtype=np.float32)
    values += np.float32(offset)
    return values


def picture_faults(rows: pa.RecordBatch, height: int) -> dict[str, np.ndarray]:
    """Which rows' `features` are no pictures as `grey_png` writes them, `num_frames` wide: told by their heads."""
    heads = heads_of(pc.struct_field(rows["features"], "bytes"), 41)
    widths_and_heights = heads[:, 16:24].copy().view(">u4")
    parts = ((0, PNG_SIGNATURE + PNG_HEADER), (24, PNG_GREY), (37, PNG_PIXELS))
    is_grey = np.all([(heads[:, at : at + len(part)] == [*part]).all(axis=1) for at, part in parts], axis=0)
    fits = (widths_and_heights[:, 0] == rows["num_frames"].to_numpy()) & (widths_and_heights[:, 1] == height)
    return {f"features that are no 8-bit grey PNG, num_frames wide and {height} high": ~(is_grey & fits)}


def read_pixels(picture: bytes | Pictures.Image | dict[str, Any]) -> np.ndarray:
    """PNG bytes, as `datasets.Image` stores or as it decodes them → uint8 `[height, width]`.

    Raises:
        InputError: no grey picture of 8 bits, or a damaged one.
    """
    if isinstance(picture, dict):
        picture = picture["bytes"]
    try:
        if isinstance(picture, bytes):
            picture = Pictures.open(io.BytesIO(picture), formats=("PNG",))
        if picture.mode == "L":
            return np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Pictures.DecompressionBombError) as error:
        raise InputError(f"A window's picture is damaged ({one_line(error)}): download or build it again") from error
    raise InputError(f"A window's picture has Pillow's mode {picture.mode}, expected grey of 8 bits: build it again")


def grey_png(pixels: np.ndarray) -> bytes:
    """uint8 `[height, width]` → PNG (RFC 2083).

    Pillow tries five filters a row and takes twice as long for a picture 5 % smaller. Here every row is the difference
    along time, deflated at level 1 with run lengths only.
    """
    height, width = pixels.shape
    rows = np.empty((height, 1 + width), dtype=np.uint8)
    rows[:, 0] = PNG_SUB_FILTER
    rows[:, 1] = pixels[:, 0]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=rows[:, 2:])
    deflater = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    deflated = deflater.compress(rows) + deflater.flush()
    bit_depth, grey = 8, 0
    header = struct.pack(">IIBBBBB", width, height, bit_depth, grey, 0, 0, 0)
    return PNG_SIGNATURE + _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", deflated) + _png_chunk(b"IEND", b"")


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)))
