"""Of which classes anything is known in each row, where labels are partial."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.corpora._dataset.labels import Labels
from hf_audio.corpora._dataset.place import Place
from hf_audio.errors import InputError


def unknown_classes(column: str, values: pa.ChunkedArray, labels: Labels, place: Place) -> pa.Array:
    """The names of the classes of which nothing is known, list<string>, a row each.

    Args:
        column: the mask, whose name is told.
        values: a list for each row, of 1 or true for each class that is known, 0 or false for each that is not.

    Raises:
        InputError: no order of classes that it could follow, lists of another length, other values, or a row that has
            a class of which its mask says that nothing is known.
    """
    where = f"{place.name}: the mask {column!r}"
    if labels.names is None or not labels.several:
        raise InputError(
            f"{where} says of which classes anything is known, and needs labels that are lists of a ClassLabel, or a "
            "column for each class: --label_column_name A B C"
        )
    lists = values.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(lengths != len(labels.names))
    if len(wrong):
        raise InputError(
            f"{where} has {lengths[wrong[0]]} values in row {wrong[0]:,} for {len(labels.names)} classes; expected one "
            "for each"
        )
    flat = pc.list_flatten(lists).cast(pa.float64()).to_numpy(zero_copy_only=False)
    if not np.isin(flat, (0.0, 1.0)).all():
        raise InputError(f"{where} holds {flat[~np.isin(flat, (0.0, 1.0))][0]:g}, and must hold 0 and 1 alone")
    known = flat.reshape(len(lengths), len(labels.names)).astype(bool)
    present = np.zeros_like(known)
    rows = np.repeat(np.arange(len(lengths)), pc.list_value_length(labels.values).to_numpy(zero_copy_only=False))
    places = pc.index_in(pc.list_flatten(labels.values), pa.array(labels.names)).to_numpy(zero_copy_only=False)
    present[rows, places] = True
    if (present & ~known).any():
        row, number = np.argwhere(present & ~known)[0]
        raise InputError(
            f"{where} says that nothing is known of {labels.names[number]!r} in row {row:,}, whose labels have it"
        )
    names = pa.array(labels.names, pa.string()).take(pa.array(np.nonzero(~known)[1]))
    offsets = np.concatenate([[0], np.cumsum((~known).sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), names)
