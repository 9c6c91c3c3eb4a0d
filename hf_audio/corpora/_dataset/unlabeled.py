"""Rows without labels: whole splits without labels are left out, single rows without labels are refused."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.corpora._dataset.contents import Contents
from hf_audio.corpora._dataset.labels import Labels
from hf_audio.corpora._dataset.place import Place
from hf_audio.errors import InputError


def with_labels(contents: Contents, labels: Labels, place: Place) -> tuple[Contents, Labels, list[str]]:
    """The rows and labels without unlabeled splits, and a phrase for each of these splits.

    Datasets without public labels for their test split have -1 or null there.

    Raises:
        InputError: no row at all, or of the training split, has a label; or some rows of a single-label split have
            none.
    """
    if not labels.unlabeled.any():
        return contents, labels, []
    without = Counter(contents.their_splits.filter(pa.array(labels.unlabeled)).to_pylist())
    of_all = Counter(contents.their_splits.to_pylist())
    hidden = [name for name, count in without.items() if count == of_all[name]]
    _check_training(contents, labels, hidden, place)
    partly = next((name for name in without if name not in hidden), None)
    if partly and not labels.several:
        first = contents.row_in_split[labels.unlabeled & _are_of(contents, [partly])][0]
        raise InputError(
            f"{place.name}: {without[partly]:,} of {of_all[partly]:,} rows of split {partly} have no label in column "
            f"{labels.columns[0]!r}, first row {int(first):,}, expected exactly one in each; report it to its "
            "authors, or choose another column with --label_column_name"
        )
    told = [f"split {name} ({of_all[name]:,} rows), which has no public labels" for name in hidden]
    kept = ~_are_of(contents, hidden)
    values = labels.values.filter(pa.array(kept))
    return contents.only(kept), dataclasses.replace(labels, values=values, unlabeled=labels.unlabeled[kept]), told


def _check_training(contents: Contents, labels: Labels, hidden: list[str], place: Place) -> None:
    if len(hidden) == len(contents.split_of):
        where = "no row"
    elif any(contents.split_of[name] == "train" for name in hidden):
        where = "no row of its training split"
    else:
        return
    raise InputError(
        f"{place.name}: {where} has a label in column {labels.columns[0]!r}; choose the column of classes with "
        "--label_column_name"
    )


def _are_of(contents: Contents, splits: list[str]) -> np.ndarray:
    """Which rows are in some splits, bool `[rows]`."""
    return pc.is_in(contents.their_splits, pa.array(splits, pa.string())).to_numpy(zero_copy_only=False)
