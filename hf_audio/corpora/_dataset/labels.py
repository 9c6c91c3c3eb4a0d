"""The classes of each row, from a column of ClassLabels or names, or of lists of either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Features, Value

from hf_audio.corpora._dataset.columns import (
    element,
    is_list,
    label_candidates,
    require_column,
    told_type,
)
from hf_audio.corpora._dataset.place import Place
from hf_audio.corpora._dataset.reading import NONE, DatasetReading
from hf_audio.corpora.folder.column_names import SEVERAL_LABELS, plain
from hf_audio.corpora.folder.label_cells import is_nothing, no_several, several_labels
from hf_audio.corpora.folder.table_files import Table
from hf_audio.errors import InputError

NO_LABEL = -1  # in datasets without labels for their test split
MAX_CLASSES = 100_000
MAX_NAME = 1_000  # characters of the name of a class


@dataclass(frozen=True)
class Labels:
    """The classes of each row.

    Attributes:
        columns: the columns that they come from.
        values: list<string> `[rows]`; empty if a row has no class, or none is known.
        unlabeled: bool `[rows]`, whether a row's classes are unknown.
        names: all classes in the dataset's own order; None if it has none.
        several: whether a row may have several classes.
        told: how they were read.
    """

    columns: tuple[str, ...]
    values: pa.Array
    unlabeled: np.ndarray
    names: tuple[str, ...] | None
    several: bool
    told: str


def labels_of(features: Features, values: pa.Table, reading: DatasetReading, place: Place) -> Labels:
    """The classes of each row.

    Raises:
        InputError: no column of classes, several candidates, numbers that are not classes, or a class that is not in
            the column's type.
    """
    chosen = reading.label_column_name or ()
    for name in chosen:
        require_column(features, name, place)
    if len(chosen) > 1:
        return _one_column_per_class(values, chosen, place)
    candidates = list(chosen) or label_candidates(features, values.column_names)
    if not candidates:
        raise InputError(
            f"{place.name} has no column of classes (its other columns: {', '.join(values.column_names[:12]) or 'none'}"
            "); choose it with --label_column_name, or give a dataset with labels"
        )
    if candidates[0] not in values.column_names:
        raise InputError(
            f"{place.name}: column {candidates[0]!r} has {told_type(features[candidates[0]])}, which are not classes; "
            "choose the column of classes with --label_column_name"
        )
    name, same = _chosen(features, values, candidates, place)
    feature, column = features[name], pa.chunked_array(values[name]).combine_chunks()
    told = f"labels: column {name} ({_described(feature)}{f'; {same} has the same meaning' if same else ''})"
    if reading.label_separator and not _is_text(feature):
        raise InputError(
            f"--label_separator {reading.label_separator!r} would have no effect here: column {name!r} of {place.name} "
            f"has {_described(feature)}, not texts; leave it out"
        )
    if is_list(feature):
        return _of_lists(name, feature, column, place, told)
    names, numbers, table = _classes(name, feature, column, place)
    nothing = numbers < 0
    separator = reading.label_separator
    if _is_text(feature) and separator != NONE and (separator or plain(name) in SEVERAL_LABELS):
        return _of_texts(name, table, numbers, separator, place, told)
    if separator == NONE and not (
        plain(name) in SEVERAL_LABELS and any(mark in text for text in table for mark in ";|,[")
    ):
        raise no_several(NONE, name, place.name)
    texts = (
        pa.array(table, pa.string()).take(pa.array(np.where(nothing, 0, numbers)))
        if table
        else pa.nulls(len(column), pa.string())
    )
    return Labels((name,), _lists(texts, (~nothing).astype(np.int64), ~nothing), nothing, names, False, told)


def _chosen(features: Features, values: pa.Table, candidates: Sequence[str], place: Place) -> tuple[str, str]:
    """The column of classes among the candidates, and others that correspond to it one to one."""
    words = [one for one in candidates if isinstance(element(features[one]), ClassLabel) or _is_text(features[one])]
    best, *others = sorted(candidates, key=lambda one: (one not in words, candidates.index(one)))
    for other in others:
        if is_list(features[best]) or is_list(features[other]) or not _same_classes(values, best, other):
            raise InputError(
                f"{place.name} has two columns that could be the classes, {best} and {other}; choose one, e.g. "
                f"--label_column_name {best}"
            )
    return best, ", ".join(others)


def _is_text(feature: object) -> bool:
    return isinstance(feature, Value) and feature.dtype in ("string", "large_string")


def _same_classes(values: pa.Table, first: str, second: str) -> bool:
    """Whether two columns correspond one to one, like class names and their numbers."""
    pairs = values.select([first, second]).group_by([first, second], use_threads=False).aggregate([])
    return len(pairs) == pc.count_distinct(pairs[first]).as_py() == pc.count_distinct(pairs[second]).as_py()


def _classes(name: str, feature: object, column: pa.Array, place: Place) -> tuple[tuple | None, np.ndarray, list[str]]:
    """Class names in the dataset's order, each value as a position in a list of names (-1: none), and that list."""
    if isinstance(feature, ClassLabel):
        known = _class_names(name, feature, place)
        if pa.types.is_integer(column.type) or pa.types.is_null(column.type):
            numbers = pc.fill_null(column.cast(pa.int64()), NO_LABEL).to_numpy(zero_copy_only=False)
        else:
            written = column.cast(pa.string())
            numbers = pc.fill_null(pc.index_in(written, pa.array(known)), len(known)).to_numpy(zero_copy_only=False)
            numbers = np.where(pc.is_null(written).to_numpy(zero_copy_only=False), NO_LABEL, numbers).astype(np.int64)
        outside = np.flatnonzero((numbers < NO_LABEL) | (numbers >= len(known)))
        if len(outside):
            raise InputError(
                f"{place.name}: column {name!r} has {column[int(outside[0])].as_py()!r} in row {outside[0]:,}, but its "
                f"{len(known)} classes are numbered 0 to {len(known) - 1}; ask its authors to fix it, or choose "
                "another column with --label_column_name"
            )
        return known, numbers, list(known)
    if not isinstance(feature, Value) or feature.dtype.startswith(("float", "decimal", "time", "date", "duration")):
        raise InputError(
            f"{place.name}: column {name!r} has {told_type(feature)}, which are not classes; choose the column of "
            "classes with --label_column_name, or turn the values into classes"
        )
    encoded = pc.dictionary_encode(column.cast(pa.string()))
    table = encoded.dictionary.to_pylist()
    if len(table) > MAX_CLASSES or max(map(len, table), default=0) > MAX_NAME:
        raise InputError(
            f"{place.name}: column {name!r} has {len(table):,} different values, the longest with "
            f"{max(map(len, table)):,} characters, which are not classes; choose the column of classes with "
            "--label_column_name"
        )
    numbers = pc.fill_null(encoded.indices.cast(pa.int64()), NO_LABEL).to_numpy(zero_copy_only=False)
    empty = np.array([is_nothing(text.strip()) for text in table], dtype=bool)
    if len(table):
        numbers = np.where((numbers >= 0) & empty[numbers], NO_LABEL, numbers)
    return None, numbers, [text.strip() for text in table]


def _class_names(name: str, feature: ClassLabel, place: Place) -> tuple[str, ...]:
    known = tuple(map(str, feature.names or ()))
    if not known or len(known) > MAX_CLASSES or len(set(known)) < len(known) or not all(map(str.strip, known)):
        raise InputError(
            f"{place.name}: column {name!r} has invalid class names ({len(known):,} names, {len(set(known)):,} of them "
            "different); ask its authors to fix it, or choose another column with --label_column_name"
        )
    return known


def _of_lists(name: str, feature: object, column: pa.Array, place: Place, told: str) -> Labels:
    lists = column.cast(pa.list_(column.type.value_type)) if not pa.types.is_list(column.type) else column
    flat = pc.list_flatten(lists)
    names, numbers, table = _classes(name, element(feature), flat, place)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    if names is None and set(table) <= {"0", "1", "true", "false"} and len(set(lengths)) == 1 and lengths[0] > 1:
        raise InputError(
            f"{place.name}: column {name!r} has lists of {lengths[0]} yes/no values without class names; "
            "choose a column with class names with --label_column_name"
        )
    if (numbers < 0).any():
        row = int(np.repeat(np.arange(len(lengths)), lengths)[np.flatnonzero(numbers < 0)[0]])
        raise InputError(
            f"{place.name}: column {name!r} has an empty class in row {row:,}; ask its authors to fix it, or choose "
            "another column with --label_column_name"
        )
    texts = pa.array(table, pa.string()).take(pa.array(numbers)) if table else pa.array([], pa.string())
    listed = _lists(texts, *_once_each(texts, lengths))
    unlabeled = pc.is_null(lists).to_numpy(zero_copy_only=False)
    return Labels((name,), listed, unlabeled, names, True, told)


def _once_each(texts: pa.Array, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of the lists without duplicates, as in tables, and which elements are kept."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    codes = texts.dictionary_encode().indices.to_numpy()
    _, first = np.unique(np.stack([rows, codes], axis=1), axis=0, return_index=True)
    kept = np.zeros(len(texts), dtype=bool)
    kept[first] = True
    return np.bincount(rows[kept], minlength=len(lengths)), kept


def _of_texts(
    name: str, table: list[str], numbers: np.ndarray, separator: str | None, place: Place, told: str
) -> Labels:
    """Several names in one string, by the same rules as in tables."""
    facade = Table(Path(place.name), [name], [(number, {name: text}) for number, text in enumerate(table)])
    of_text, how = several_labels(facade, name, separator)
    lists = pa.array([*of_text, ()], pa.list_(pa.string()))
    values = lists.take(pa.array(np.where(numbers < 0, len(table), numbers)))
    return Labels((name,), values, numbers < 0, None, True, f"{told}{f', {how}' if how else ''}")


def _one_column_per_class(values: pa.Table, columns: Sequence[str], place: Place) -> Labels:
    """Labels from one column of 0 and 1 per class."""
    marked = []
    for name in columns:
        if name not in values.column_names:
            raise InputError(f"{place.name}: column {name!r} does not have values 0 and 1, so it cannot be a class")
        texts = values[name].cast(pa.string())
        known = set(texts.unique().to_pylist())
        if not known <= {"0", "1", "0.0", "1.0", "true", "false"}:
            odd = next(value for value in known if value not in ("0", "1", "0.0", "1.0", "true", "false"))
            raise InputError(
                f"{place.name}: column {name!r} has {odd!r}, but each of the class columns "
                f"({', '.join(columns[:3])} ...) must have 0 or 1 in every row"
            )
        marked.append(pc.is_in(texts, pa.array(["1", "1.0", "true"])).to_numpy())
    present = np.stack(marked, axis=1)
    texts = pa.array(list(columns), pa.string()).take(pa.array(np.nonzero(present)[1]))
    lists = _lists(texts, present.sum(axis=1), np.ones(len(texts), dtype=bool))
    told = f"labels: columns {', '.join(columns[:6])}{' ...' if len(columns) > 6 else ''} one class each"
    return Labels(tuple(columns), lists, np.zeros(len(values), dtype=bool), tuple(columns), True, told)


def _lists(texts: pa.Array, lengths: np.ndarray, kept: np.ndarray) -> pa.Array:
    """Lists with these lengths, from the kept texts."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), texts.filter(pa.array(kept)))


def _described(feature: object) -> str:
    inner = element(feature)
    kind = f"{len(inner.names or ())} classes" if isinstance(inner, ClassLabel) else told_type(inner)
    return f"lists of {kind}" if is_list(feature) else kind
