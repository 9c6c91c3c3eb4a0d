"""What of stored windows can be told without decoding them: heads of files, and whether numbers are numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
