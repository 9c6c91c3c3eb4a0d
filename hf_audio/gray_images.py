"""Stores frames as 8-bit grayscale PNGs with an offset and a scale, which any PNG reader can decode.

    values = offset + scale * np.flipud(image).T    # [frames, bins]

As in plots of spectrograms, time goes from left to right, and low frequencies are at the bottom.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image as Images

from hf_audio.errors import InputError, one_line

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# After the signature: length and type of the header; type of the next chunk; and the header's bit depth, color type,
# compression, filter and interlace methods
PNG_HEADER, PNG_PIXELS, PNG_GREY = b"\0\0\0\rIHDR", b"IDAT", bytes((8, 0, 0, 0, 0))
PNG_SUB_FILTER = 1
MAX_PIXEL = 255


def encode_features(frames: np.ndarray) -> tuple[bytes, float, float]:
    """float32 `[frames, bins]` → PNG bytes, offset, scale with value = offset + scale * pixel.

    The error is at most half a step, scale / 2: about 0.04 for log-mel energies, which span some 20 units.
    """
    pixels, offset, scale = to_pixels(frames)
    return gray_png(pixels), offset, scale


def to_pixels(frames: np.ndarray) -> tuple[np.ndarray, float, float]:
    """float32 `[frames, bins]` → uint8 `[bins, frames]` with the highest bin on top, offset and scale."""
    offset = np.float32(frames.min())
    scale = np.float32((frames.max() - offset) / MAX_PIXEL)
    steps = np.float32(1.0) / scale if scale > 0 else np.float32(0.0)
    levels = (frames - offset) * steps
    levels += np.float32(0.5)  # rounds, since the cast below truncates
    return np.ascontiguousarray(levels.astype(np.uint8).T[::-1]), float(offset), float(scale)


def decode_features(image: bytes | Images.Image | dict[str, Any], offset: float, scale: float) -> np.ndarray:
    """PNG bytes, or an image decoded by `datasets.Image` → float32 `[frames, bins]`."""
    values = np.multiply(read_pixels(image).T[:, ::-1], np.float32(scale), dtype=np.float32)
    values += np.float32(offset)
    return values


def read_pixels(image: Any) -> np.ndarray:
    """PNG bytes, or an image as `datasets.Image` stores or decodes it → uint8 `[height, width]`.

    Raises:
        InputError: it is damaged, or not an 8-bit gray image.
    """
    if isinstance(image, dict):
        image = image["bytes"]
    try:
        if isinstance(image, bytes):
            image = Images.open(io.BytesIO(image), formats=("PNG",))
        if image.mode == "L":
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Images.DecompressionBombError) as error:
        raise InputError(f"The image of a window is damaged ({one_line(error)}): download or build it again") from error
    raise InputError(f"A window's image has Pillow's mode {image.mode}, expected 8-bit gray (L): build it again")


def gray_png(pixels: np.ndarray) -> bytes:
    """uint8 `[height, width]` → PNG (RFC 2083).

    Pillow tries five filters per row, and takes twice as long for images that are 5 % smaller. Here every row stores
    differences along time, deflated at level 1 with run lengths only.
    """
    height, width = pixels.shape
    rows = np.empty((height, 1 + width), dtype=np.uint8)
    rows[:, 0] = PNG_SUB_FILTER
    rows[:, 1] = pixels[:, 0]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=rows[:, 2:])
    deflater = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    deflated = deflater.compress(rows.data) + deflater.flush()
    bit_depth, gray = 8, 0
    header = struct.pack(">IIBBBBB", width, height, bit_depth, gray, 0, 0, 0)
    return PNG_SIGNATURE + _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", deflated) + _png_chunk(b"IEND", b"")


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)))
