"""Operations on whole columns of an index, fast for millions of clips."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.table import CLIP_COLUMNS, metadata_columns
from hf_audio.errors import InputError, unknown_name

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def of_split(clips: pa.Table, split: str | None) -> pa.Table:
    """The clips of one split; None for the clips without a split."""
    column = clips["split"]
    return clips.filter(pc.is_null(column) if split is None else pc.equal(column, split))


def with_values(clips: pa.Table, column: str, values: pa.Array | pa.ChunkedArray | Sequence | np.ndarray) -> pa.Table:
    """The clips with new values in one of CLIP_COLUMNS."""
    kind = CLIP_COLUMNS.field(column)
    if not isinstance(values, pa.Array | pa.ChunkedArray):
        values = pa.array(values, kind.type)
    return clips.set_column(clips.column_names.index(column), kind, values)


def with_split(clips: pa.Table, split: str | None, where: pa.ChunkedArray | None = None) -> pa.Table:
    """The clips moved to a split: all of them, or only where `where` is true."""
    value = pa.scalar(split, pa.string())
    everywhere = pa.repeat(value, len(clips))
    return with_values(clips, "split", everywhere if where is None else pc.if_else(where, value, clips["split"]))


def spread_over(clips: pa.Table, num_clips: int) -> pa.Table:
    """Clips evenly spaced over the index: at least `num_clips` (or all, if fewer), and fewer than twice as many."""
    return clips.take(pa.array(np.arange(0, len(clips), max(1, len(clips) // num_clips))))


def untrained(clips: pa.Table, names: Sequence[str]) -> list[str]:
    """The classes that no training clip has."""
    trained = set(names_in(of_split(clips, "train")["labels"]))
    return [name for name in names if name not in trained]


def num_recordings(clips: pa.Table) -> int:
    """The number of distinct recordings of the clips; a file may hold many."""
    return len(clips.group_by(["audio", "audio_row", "audio_field"], use_threads=False).aggregate([]))


def names_in(column: pa.ChunkedArray) -> list[str]:
    """The names in a column of strings or lists of strings, sorted."""
    return sorted(values_in(pc.list_flatten(column) if pa.types.is_list(column.type) else column))


def in_order(names: Iterable[str]) -> list[str]:
    """Class names in the order that people expect: by value if all are numbers (1, 2, 10), else alphabetically."""
    names = list(names)
    if all(_NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names)


def values_in(column: pa.ChunkedArray) -> list[Any]:
    """The unique values of a column, without null."""
    return column.unique().drop_null().to_pylist()


def metadata_values(clips: pa.Table, fields: Iterable[str]) -> dict[str, list[str]]:
    """The values of some metadata fields among the clips, sorted, as strings: {"drums": ["no", "yes"]}.

    Raises:
        InputError: a field that no clip has.
    """
    found = {fact: values_in(clips[column]) for column, fact in metadata_columns(clips).items()}
    for field in fields:
        if not found.get(field):
            raise unknown_name("metadata field", field, sorted(fact for fact, values in found.items() if values))
    return {field: sorted(map(str, found[field])) for field in fields}


def places_of(column: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
    """The position of each string in `names`, or -1 if it is not in `names`."""
    return pc.fill_null(pc.index_in(column, pa.array(names, pa.string())), -1).to_numpy()


def repeated(*numbers: np.ndarray) -> np.ndarray:
    """The numbers that occur more than once, in one array or in several, sorted.

    A stable sort is fast for arrays that are nearly sorted, as these usually are; np.unique is not.
    """
    ordered = np.sort(np.concatenate(numbers), kind="stable")
    return ordered[1:][np.diff(ordered) == 0]


def is_one_of(column: pa.ChunkedArray, names: Iterable[str]) -> pa.ChunkedArray:
    """Whether each string is one of `names`."""
    return pc.is_in(column, pa.array(list(names), pa.string()))


def has_mixtures(clips: pa.Table) -> bool:
    """Whether any clip is a mixture."""
    return bool(is_mixture(clips).any())


def is_mixture(clips: pa.Table) -> np.ndarray:
    """Which clips are mixtures, bool `[clips]`."""
    if "parts" not in clips.column_names:
        return np.zeros(len(clips), dtype=bool)
    return pc.fill_null(pc.list_value_length(clips["parts"]), 0).to_numpy() > 0


def mixtures_in(clips: pa.Table) -> pa.Table:
    """The clips that are mixtures."""
    return clips.filter(pa.array(is_mixture(clips)))


def without_mixtures(clips: pa.Table) -> pa.Table:
    """The clips that are not mixtures."""
    return clips.filter(pa.array(~is_mixture(clips)))


def mixed_parts(clips: pa.Table) -> tuple[np.ndarray, pa.Table]:
    """The row of each part's mixture, and all parts as a table with MixPart's attributes as columns."""
    lists = whole(clips["parts"])
    parts = pa.Table.from_struct_array(pc.list_flatten(lists))
    return pc.list_parent_indices(lists).to_numpy(), parts


def is_file(clips: pa.Table) -> np.ndarray:
    """Which clips are files of their own on this machine, bool `[clips]`: not in a container, not on the Hub.

    It is true for mixtures too, which are made from files.
    """
    on_hub = pc.starts_with(clips["audio"], "hf://")
    return pc.and_(pc.is_null(clips["audio_row"]), pc.invert(on_hub)).to_numpy()


def require_files(clips: pa.Table, what: str) -> None:
    """Raises InputError if the audio of a clip is in a container or on the Hub; `what` names what needs files."""
    elsewhere = np.flatnonzero(~is_file(clips))
    if len(elsewhere):
        place = clips["audio"][int(elsewhere[0])].as_py()
        raise InputError(
            f"{what} recordings that are files on this machine, but {len(elsewhere):,} of {len(clips):,} are in "
            f"{place if place.startswith('hf://') else PurePath(place).name} and similar containers: save them as "
            "files first, or leave it out"
        )


def groups_and_splits(clips: pa.Table) -> pa.Table:
    """The group and split of each clip; a mixture has one row for the group of each part."""
    if not has_mixtures(clips):
        return clips.select(["group", "split"])
    groups = whole(clips["part_groups"])
    splits = clips["split"].take(pc.list_parent_indices(groups))
    of_parts = pa.table({"group": pc.list_flatten(groups), "split": splits})
    return pa.concat_tables([without_mixtures(clips).select(["group", "split"]), of_parts])


def check_disjoint(groups: pa.Table) -> None:
    """Raises InputError naming a group that is in two splits; `groups` comes from `groups_and_splits`."""
    pairs = groups.group_by(["group", "split"], use_threads=False).aggregate([])
    counts = pairs.group_by("group", use_threads=False).aggregate([("split", "count")])
    several = counts.filter(pc.greater(counts["split_count"], 1))["group"]
    if len(several):
        group = several[0].as_py()
        first, split, *_ = pairs.filter(pc.equal(pairs["group"], group))["split"].to_pylist()
        raise InputError(
            f"Group {group!r} is in two splits, {first} and {split}, which is leakage; move all of its clips to one "
            "split"
        )


def digest(values: pa.Array | pa.ChunkedArray) -> str:
    """SHA-256 of a column's values in order, independent of their layout in memory."""
    found = hashlib.sha256()
    _feed(found, whole(values))
    return found.hexdigest()


def whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one contiguous array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _feed(found: hashlib._Hash, values: pa.Array) -> None:
    """Adds which values are valid, their lengths and their bytes to a hash."""
    kind = values.type
    found.update(f"{kind} {len(values)} ".encode())
    found.update(np.packbits(pc.is_valid(values).to_numpy(zero_copy_only=False)).tobytes())
    values = values.drop_null()
    if pa.types.is_list(kind):
        found.update(pc.list_value_length(values).to_numpy().tobytes())
        _feed(found, pc.list_flatten(values))
    elif pa.types.is_struct(kind):
        for child in values.flatten():
            _feed(found, child)
    elif pa.types.is_string(kind):
        found.update(pc.binary_length(values).to_numpy().tobytes())
        if len(values):
            ends = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
            found.update(values.buffers()[2][int(ends[0]) : int(ends[-1])] if ends[-1] > ends[0] else b"")
    else:
        found.update(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).tobytes())
