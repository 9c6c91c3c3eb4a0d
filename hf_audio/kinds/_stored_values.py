"""Checks stored windows by file headers and numbers, without decoding them, and pads batches of images."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from hf_audio.gray_images import PNG_GREY, PNG_HEADER, PNG_PIXELS, PNG_SIGNATURE

# far above any feature, and far below the maximum of float32
LARGEST_VALUE = 1e9


def heads_of(files: pa.Array, num_bytes: int) -> np.ndarray:
    """The first bytes of each file, uint8 `[files, num_bytes]`; shorter files are padded with zeros."""
    heads = pc.binary_slice(files, 0, num_bytes).to_pylist()
    return np.frombuffer(b"".join(head.ljust(num_bytes, b"\0") for head in heads), np.uint8).reshape(-1, num_bytes)


def are_measured(numbers: pa.Array) -> np.ndarray:
    """Which numbers are finite and not implausibly large, bool `[numbers]`."""
    return np.abs(numbers.to_numpy(zero_copy_only=False)) <= LARGEST_VALUE


def lists_hold(lists: pa.ListArray, lengths: np.ndarray | int, holds: np.ndarray) -> np.ndarray:
    """Which lists have the right length and only valid numbers, bool `[lists]`.

    Args:
        holds: bool, whether each number of `lists.flatten()` is valid.
    """
    found = lists.value_lengths().to_numpy(zero_copy_only=False)
    owners = np.repeat(np.arange(len(lists)), found)
    faults = np.bincount(owners[~holds], minlength=len(lists))
    return (found == lengths) & (faults == 0)


def image_faults(rows: pa.RecordBatch, height: int) -> dict[str, np.ndarray]:
    """Which rows' `features` are not images from `gray_png` with a width of `num_frames`, by their headers."""
    heads = heads_of(pc.struct_field(rows["features"], "bytes"), 41)
    widths_and_heights = heads[:, 16:24].copy().view(">u4")
    parts = ((0, PNG_SIGNATURE + PNG_HEADER), (24, PNG_GREY), (37, PNG_PIXELS))
    is_grey = np.all([(heads[:, at : at + len(part)] == [*part]).all(axis=1) for at, part in parts], axis=0)
    fits = (widths_and_heights[:, 0] == rows["num_frames"].to_numpy()) & (widths_and_heights[:, 1] == height)
    return {f"features that are not an 8-bit gray PNG, num_frames wide and {height} high": ~(is_grey & fits)}


def fill_padding(values: torch.Tensor, num_frames: torch.Tensor, padding_value: float) -> torch.Tensor:
    """Sets frames of `[batch, ..., frames, bins]` after each window's `num_frames` `[batch]` to a value, in place."""
    size = values.shape[-2]
    # On a GPU, checking whether any window is short would force a synchronization; on a CPU, filling takes longer.
    if values.device.type == "cpu" and num_frames.numpy().min(initial=size) >= size:
        return values
    is_padding = torch.arange(size, device=values.device) >= num_frames[:, None]
    return values.masked_fill_(is_padding.view(len(is_padding), *[1] * (values.ndim - 3), size, 1), padding_value)
