"""Decides which splits of a dataset are for training, validation and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.corpora._dataset.place import Place
from hf_audio.corpora._dataset.reading import NONE, DatasetReading
from hf_audio.corpora.folder.column_names import MORE_SPLITS, SPLITS, plain
from hf_audio.corpora.folder.columns import fold_name, hold_splits
from hf_audio.corpora.folder.idle import nothing_to_leave_out
from hf_audio.corpora.folder.label_cells import is_nothing
from hf_audio.corpora.folder.split_names import is_fold, split_called
from hf_audio.data.index.understanding import some
from hf_audio.errors import InputError, unknown_name

FLAGS = {"train": "--train_split_name", "validation": "--eval_split_name", "test": "--test_split_name"}


class Splits(NamedTuple):
    """The role of each split of a dataset: train, validation, test, a fold, or None if splits will be drawn."""

    of: dict[str, str | None]
    left_out: tuple[str, ...] = ()


def splits_of(names: Sequence[str], reading: DatasetReading, place: Place) -> Splits:
    """The role of each split of a dataset; unused splits are left out.

    Raises:
        InputError: there is no such split, two candidates for the same split, or no split to train on.
    """
    given = reading.split_names
    for split, name in given.items():
        if name not in names:
            raise InputError(
                f"{FLAGS[split]} {name}: {place.name} has no such split; {unknown_name('split', name, names)}"
            )
    if len(set(given.values())) < len(given):
        raise InputError(
            f"{' and '.join(FLAGS[split] for split in given)} use the same split twice; give different splits"
        )
    if len(names) == 1 and not given:
        return Splits({names[0]: None})
    if all(map(is_fold, names)) and not given:
        return Splits({name: name for name in names})
    of: dict[str, str | None] = {name: split for split, name in given.items()}
    for name in names:
        split = split_called(name)
        if name in of or split is None or split in given:
            continue
        first = next((other for other, taken in of.items() if taken == split), None)
        if first:
            raise InputError(
                f"{place.name} has two splits that could be {split}, {first} and {name}; choose one, e.g. "
                f"{FLAGS[split]} {first}"
            )
        of[name] = split
    if "train" not in of.values():
        free = [name for name in names if name not in of]
        if not free:
            raise InputError(
                f"No split of {place.name} ({some(list(names))}) is left to train on"
                f"{''.join(f', {FLAGS[split]} uses {name}' for split, name in given.items())}; without such a flag, "
                "that split is drawn from the training split"
            )
        raise InputError(
            f"{place.name} has the splits {some(list(names))}, but none is called train; choose the one to train on, "
            f"e.g. --train_split_name {free[0]}"
        )
    return Splits({name: of[name] for name in names if name in of}, tuple(name for name in names if name not in of))


class SplitColumn(NamedTuple):
    """The column with the split or fold of each row, its values as splits, and a remark."""

    column: str | None
    values: pa.Array | None = None
    remark: str = ""


def split_column(
    values: pa.Table, columns: Sequence[str], reading: DatasetReading, place: Place, has_splits: bool
) -> SplitColumn:
    """The column of splits or folds, if the dataset itself has only one split.

    Raises:
        InputError: no such column, several candidates, or the setting is "none" and there is no candidate.
    """
    chosen = reading.split_column_name
    if chosen and chosen != NONE:
        if chosen not in values.column_names:
            raise unknown_name(f"column of {place.name}", chosen, values.column_names)
        return SplitColumn(chosen, _as_splits(values[chosen]))
    found = [name for name in columns if plain(name) in SPLITS] or [
        name
        for name in columns
        if (plain(name) in MORE_SPLITS or pa.types.is_string(values[name].type))
        and hold_splits(name, set(map(str, values[name].unique().drop_null().to_pylist())))
    ]
    if chosen == NONE and not found:
        raise nothing_to_leave_out("split_column_name", "the splits", place.name)
    if not found or chosen == NONE:
        return SplitColumn(None)
    if has_splits:
        return SplitColumn(
            None, None, f"column {found[0]} could also be the splits: --split_column_name {found[0]} uses it"
        )
    if len(found) > 1:
        raise InputError(
            f"{place.name} has two columns that could be the splits, {found[0]} and {found[1]}; choose one, e.g. "
            f"--split_column_name {found[0]}"
        )
    return SplitColumn(found[0], _as_splits(values[found[0]]))


def _as_splits(column: pa.ChunkedArray) -> pa.Array:
    """The splits or folds named by strings or numbers; null if empty."""
    encoded = pc.dictionary_encode(column.cast(pa.string()).combine_chunks())
    names = [None if is_nothing(one) else split_called(one) or fold_name(one) for one in encoded.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(encoded.indices)


def told_splits(counts: Mapping[str, int], column: SplitColumn, drawn: bool) -> str:
    """Where splits come from, with the number of rows of each."""
    listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    if column.column:
        return f"column {column.column} ({listed})"
    return (
        f"the dataset's only one ({listed}), from which others are drawn" if drawn else f"the dataset's own ({listed})"
    )
