"""Groups of a dataset's rows (speaker, song, session), and whether official splits keep them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Features

from hf_audio.corpora._dataset.columns import require_column
from hf_audio.corpora._dataset.place import Place
from hf_audio.corpora._dataset.reading import NONE, DatasetReading
from hf_audio.corpora.folder.column_names import GROUPS, is_grouping, plain
from hf_audio.corpora.folder.idle import nothing_to_leave_out
from hf_audio.errors import InputError

MAX_NAME = 500  # characters of the name of a group
NO_GROUPS = "NO column says which recordings belong together, so every recording is a group of its own"
LEFT_OUT = "none because of --group_column_name none, so every recording is a group of its own"


class Groups(NamedTuple):
    """The group of each row: `column` is None if no groups are known; `remark` describes what looks wrong."""

    column: str | None
    values: pa.Array | pa.ChunkedArray
    known: bool
    told: str
    remark: str = ""


def groups_of(
    features: Features,
    values: pa.Table,
    columns: Sequence[str],
    by_itself: pa.Array,
    splits: pa.Array,
    reading: DatasetReading,
    place: Place,
) -> Groups:
    """The group of each row; a row without one is its own group.

    Args:
        features: types of all columns.
        values: the columns of single values.
        columns: the columns without another meaning.
        by_itself: the group of each row if none is known.
        splits: the split of each row.
        reading: the user's settings.
        place: the dataset.

    Raises:
        InputError: there is no such column, there are several candidates that are not nested, or the setting is "none"
            without a candidate.
    """
    column = _column(features, values, columns, reading, place)
    if column is None:
        return Groups(None, by_itself, False, LEFT_OUT if reading.group_column_name == NONE else NO_GROUPS)
    names = values[column].cast(pa.string()).combine_chunks()
    if (pc.max(pc.utf8_length(names)).as_py() or 0) > MAX_NAME:
        raise InputError(
            f"{place.name}: column {column!r} has values of more than {MAX_NAME} characters, which are not group "
            f"names; choose another with --group_column_name, or {NONE}"
        )
    nothing = pc.or_kleene(pc.is_null(names), pc.equal(pc.fill_null(names, ""), ""))
    without = pc.sum(nothing).as_py() or 0
    groups = pc.if_else(nothing, by_itself, names)
    told = f"column {column} ({pc.count_distinct(names).as_py():,} groups)"
    if without:
        told += f"; rows without a group, each a group of its own: {without:,}"
    shared = _shared(groups, splits)
    if not shared:
        keeps = pc.count_distinct(groups).as_py() < len(groups)
        remark = f"column {column} has a different group for each recording, so it keeps nothing together"
        return Groups(column, groups, keeps and without == 0, told, "" if keeps else remark)
    where = ", ".join(sorted(set(pc.fill_null(splits, "").unique().to_pylist()) - {""}))
    apart = pc.if_else(pc.is_null(splits), groups, pc.binary_join_element_wise(pc.fill_null(splits, ""), groups, "/"))
    return Groups(
        column,
        apart,
        False,
        f"{told}, separate in each official split",
        f"{shared:,} groups of column {column} are in more than one of the official splits ({where}), which is leakage",
    )


def _column(
    features: Features, values: pa.Table, columns: Sequence[str], reading: DatasetReading, place: Place
) -> str | None:
    chosen = reading.group_column_name
    if chosen and chosen != NONE:
        require_column(features, chosen, place)
        if chosen not in values.column_names:
            raise InputError(
                f"--group_column_name {chosen}: this column of {place.name} does not have one value per row"
            )
        return chosen
    exact = [name for name in columns if plain(name) in GROUPS and values[name].null_count < len(values)]
    found = exact[:1] or [name for name in columns if is_grouping(name) and _groups_some(values[name])]
    if chosen == NONE:
        if not found:
            raise nothing_to_leave_out("group_column_name", "the groups", place.name)
        return None
    if len(found) < 2:
        return next(iter(found), None)
    found.sort(key=lambda name: pc.count_distinct(values[name]).as_py())
    coarsest = found[0]
    other = next((name for name in found[1:] if not _lies_within(values, name, coarsest)), None)
    if other:
        raise InputError(
            f"{place.name} has several columns that could be the groups, {coarsest} and {other}; choose the one whose "
            f"values must not be in two splits, e.g. --group_column_name {coarsest}, or --group_column_name {NONE}"
        )
    return coarsest


def _groups_some(column: pa.ChunkedArray) -> bool:
    """Whether a column keeps some rows together and others apart."""
    return 1 < pc.count_distinct(column).as_py() < len(column) - column.null_count


def _lies_within(values: pa.Table, fine: str, coarse: str) -> bool:
    """Whether each value of one column has one value of the other."""
    pairs = values.select([fine, coarse]).group_by([fine, coarse], use_threads=False).aggregate([])
    return len(pairs) == pc.count_distinct(pairs[fine], mode="all").as_py()


def _shared(groups: pa.Array, splits: pa.Array) -> int:
    """The number of groups in more than one official split."""
    pairs = pa.table({"group": groups, "split": splits}).group_by(["group", "split"], use_threads=False).aggregate([])
    pairs = pairs.filter(pc.is_valid(pairs["split"]))
    counts = pairs.group_by("group", use_threads=False).aggregate([("split", "count")])
    return pc.sum(pc.greater(counts["split_count"], 1)).as_py() or 0
