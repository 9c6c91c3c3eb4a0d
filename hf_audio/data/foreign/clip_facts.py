"""Hashes all facts about a clip to one number, to compare rows with the index a column at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array

# splitmix64 (Steele et al. 2014): every bit of a number changes about half the bits of the result
GOLDEN, FIRST, SECOND = (np.uint64(one) for one in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
EMPTY = np.uint64(0x5851F42D4C957F2D)  # represents a null


def clip_facts(columns: Sequence[pa.Array]) -> np.ndarray:
    """64-bit numbers, uint64 `[rows]`: equal if all values are equal, otherwise different except by chance.

    This does not protect against an author who writes both files: it finds files that do not match, by accident or
    because one of them was edited.

    Args:
        columns: strings, numbers, booleans, or lists of them.
    """
    found = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        found = _mixed(found + GOLDEN ^ _hashes(column))
    return found


def _hashes(column: pa.Array) -> np.ndarray:
    """uint64 `[values]`."""
    kind = column.type
    if pa.types.is_list(kind):
        return _hashes_of_lists(column)
    is_there = column.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_string(kind):
        values = hash_array(column.fill_null("").to_numpy(zero_copy_only=False), categorize=False)
    elif pa.types.is_boolean(kind):
        values = column.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint64)
    else:
        numbers = column.cast(pa.float64() if pa.types.is_floating(kind) else pa.int64()).fill_null(0)
        values = np.ascontiguousarray(numbers.to_numpy()).view(np.uint64)
    return np.where(is_there, _mixed(values), EMPTY)


def _hashes_of_lists(lists: pa.ListArray) -> np.ndarray:
    """Hashes each value with its position in its list, and each list with its length."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    ends = np.cumsum(lengths)
    places = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    values = _mixed(_hashes(pc.list_flatten(lists)) ^ _mixed(places.astype(np.uint64)))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)])  # wraps around
    return _mixed(sums[ends] - sums[ends - lengths] ^ lengths.astype(np.uint64))


def _mixed(numbers: np.ndarray) -> np.ndarray:
    numbers = numbers + GOLDEN
    numbers = (numbers ^ numbers >> np.uint64(30)) * FIRST
    numbers = (numbers ^ numbers >> np.uint64(27)) * SECOND
    return numbers ^ numbers >> np.uint64(31)
