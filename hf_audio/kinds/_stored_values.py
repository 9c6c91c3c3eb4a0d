"""What of stored windows can be told without decoding them, heads of files and numbers; and batches of images."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from hf_audio.gray_images import PNG_GREY, PNG_HEADER, PNG_PIXELS, PNG_SIGNATURE

# far beyond what any feature reaches, and far below where float32 ends
LARGEST_VALUE = 1e9


def heads_of(files: pa.Array, num_bytes: int) -> np.ndarray:
    """The first bytes of each file, uint8 `[files, num_bytes]`, with zeros behind a shorter one."""
    heads = pc.binary_slice(files, 0, num_bytes).to_pylist()
    return np.frombuffer(b"".join(head.ljust(num_bytes, b"\0") for head in heads), np.uint8).reshape(-1, num_bytes)


def are_measured(numbers: pa.Array) -> np.ndarray:
    """Which of these are finite and not beyond measure, bool `[numbers]`."""
    return np.abs(numbers.to_numpy(zero_copy_only=False)) <= LARGEST_VALUE


def lists_hold(lists: pa.ListArray, lengths: np.ndarray | int, holds: np.ndarray) -> np.ndarray:
    """Which lists have the right length and only numbers for which it `holds`, bool `[lists]`.

    Args:
        holds: bool, of each of `lists.flatten()`.
    """
    found = lists.value_lengths().to_numpy(zero_copy_only=False)
    owners = np.repeat(np.arange(len(lists)), found)
    faults = np.bincount(owners[~holds], minlength=len(lists))
    return (found == lengths) & (faults == 0)


def image_faults(rows: pa.RecordBatch, height: int) -> dict[str, np.ndarray]:
    """Which rows' `features` are not images as `gray_png` writes them, `num_frames` wide: told by their heads."""
    heads = heads_of(pc.struct_field(rows["features"], "bytes"), 41)
    widths_and_heights = heads[:, 16:24].copy().view(">u4")
    parts = ((0, PNG_SIGNATURE + PNG_HEADER), (24, PNG_GREY), (37, PNG_PIXELS))
    is_grey = np.all([(heads[:, at : at + len(part)] == [*part]).all(axis=1) for at, part in parts], axis=0)
    fits = (widths_and_heights[:, 0] == rows["num_frames"].to_numpy()) & (widths_and_heights[:, 1] == height)
    return {f"features that are no 8-bit gray PNG, num_frames wide and {height} high": ~(is_grey & fits)}


def fill_padding(values: torch.Tensor, num_frames: torch.Tensor, padding_value: float) -> torch.Tensor:
    """`[batch, ..., frames, bins]` with a value behind each window's `num_frames` `[batch]`, in place."""
    size = values.shape[-2]
    # Asking an accelerator whether any window is short would wait for it; on a CPU filling takes longer.
    if values.device.type == "cpu" and num_frames.numpy().min(initial=size) >= size:
        return values
    is_padding = torch.arange(size, device=values.device) >= num_frames[:, None]
    return values.masked_fill_(is_padding.view(len(is_padding), *[1] * (values.ndim - 3), size, 1), padding_value)
