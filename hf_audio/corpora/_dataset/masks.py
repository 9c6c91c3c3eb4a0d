"""Label masks: the unknown classes of each row, if labels are partial."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.corpora._dataset.labels import Labels
from hf_audio.corpora._dataset.place import Place
from hf_audio.errors import InputError


def unknown_classes(column: str, values: pa.ChunkedArray, labels: Labels, place: Place) -> pa.Array:
    """The names of the unknown classes of each row, list<string>.

    Args:
        column: name of the mask column.
        values: one list per row, with 1 or true for each known class and 0 or false for each unknown one.
        labels: the labels of the rows.
        place: the dataset.

    Raises:
        InputError: the classes have no order, a list has the wrong length or other values, or a mask marks one of the
            row's labels as unknown.
    """
    where = f"{place.name}: the mask {column!r}"
    if labels.names is None or not labels.several:
        raise InputError(
            f"{where} needs labels that are lists of a ClassLabel, or one column per class: --label_column_name A B C"
        )
    lists = values.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(lengths != len(labels.names))
    if len(wrong):
        raise InputError(
            f"{where} has {lengths[wrong[0]]} values in row {wrong[0]:,}, expected {len(labels.names)}, one for each "
            "class"
        )
    flat = pc.list_flatten(lists).cast(pa.float64()).to_numpy(zero_copy_only=False)
    if not np.isin(flat, (0.0, 1.0)).all():
        raise InputError(f"{where} contains {flat[~np.isin(flat, (0.0, 1.0))][0]:g}, expected only 0 and 1")
    known = flat.reshape(len(lengths), len(labels.names)).astype(bool)
    present = np.zeros_like(known)
    rows = np.repeat(np.arange(len(lengths)), pc.list_value_length(labels.values).to_numpy(zero_copy_only=False))
    places = pc.index_in(pc.list_flatten(labels.values), pa.array(labels.names)).to_numpy(zero_copy_only=False)
    present[rows, places] = True
    if (present & ~known).any():
        row, number = np.argwhere(present & ~known)[0]
        raise InputError(
            f"{where} says that {labels.names[number]!r} is unknown in row {row:,}, but it is one of the row's labels"
        )
    names = pa.array(labels.names, pa.string()).take(pa.array(np.nonzero(~known)[1]))
    offsets = np.concatenate([[0], np.cumsum((~known).sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), names)
