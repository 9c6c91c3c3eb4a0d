"""index.parquet and excluded.csv of a feature dataset, which may be a stranger's: what they list, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hf_audio.data.feature_format import MOST_TEXT_BYTES, ClipColumns
from hf_audio.data.foreign.clip_facts import clip_facts
from hf_audio.data.foreign.parquet import VALUE_BYTES, check_columns, check_packing, in_words
from hf_audio.data.index.columns import (
    check_disjoint,
    groups_and_splits,
    is_one_of,
    names_in,
    of_split,
    places_of,
    whole,
)
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import SPLITS
from hf_audio.data.tables import written_rows
from hf_audio.errors import InputError
from hf_audio.files import MOST_TABLE_BYTES, open_regular

MOST_NAME = 4096


@dataclass(frozen=True)
class IndexedSplit:
    """The clips of a split, without those that were left out of the build.

    Attributes:
        num_clips, num_groups: clips, and their groups; those of mixtures are their parts'.
        label_counts, unknown_counts: int `[classes]`, clips that have a class, or may have it.
        facts: of each clip what `clip_facts` says of it, sorted uint64 `[clips]`.
        row_bytes: what the names and texts of one clip take at most.
    """

    num_clips: int
    num_groups: int
    label_counts: np.ndarray
    unknown_counts: np.ndarray
    facts: np.ndarray
    row_bytes: int


def read_clips(index: Path, columns: ClipColumns) -> pa.Table:
    """The clips that an index lists, a row each, with their groups, splits, names of classes, stretches and metadata.

    Raises:
        InputError: no Parquet file with these columns, or one that is packed; values that no build writes; a clip
            twice; a group in two splits.
    """
    schema = columns.index
    plain = pa.schema([pa.field(field.name, _plain(field.type)) for field in schema])
    with open_regular(index) as file:
        parquet = in_words(str(index), lambda: pq.ParquetFile(file))
        check_columns(parquet.schema_arrow, schema, str(index))
        for number in range(parquet.num_row_groups):
            check_packing(parquet.metadata.row_group(number), str(index))
        if VALUE_BYTES * len(schema) * parquet.metadata.num_rows > MOST_TABLE_BYTES:
            raise InputError(f"{index} has {parquet.metadata.num_rows:,} rows: more than any index; build it again")
        clips = in_words(str(index), lambda: _validated(parquet.read(schema.names, use_threads=False)).cast(plain))
    for fault, is_faulty in _faults(clips, columns):
        if is_faulty.any():
            row = int(is_faulty.argmax())
            raise InputError(
                f"{index} is damaged at row {row} (clip {clips['clip_id'][row].as_py()[:100]!r}): {fault}; download or "
                "build the dataset again"
            )
    return clips


def read_index(index: Path, excluded: Path, columns: ClipColumns, source: str) -> dict[str, IndexedSplit]:
    """What an index lists of each split.

    Raises:
        InputError: see `read_clips`; or no table of clips that were left out.
    """
    left_out = [row["clip_id"] for row in written_rows(excluded, required=("clip_id", "reason"))]
    clips = read_clips(index, columns)
    try:
        check_disjoint(groups_and_splits(clips))
    except InputError as error:
        raise InputError(f"{source} cannot be trained on. {error}") from error
    kept = clips.filter(pc.invert(is_one_of(clips["clip_id"], left_out)))
    return {split: _of_split(of_split(kept, split), columns) for split in names_in(kept["split"])}


def facts_of_rows(rows: pa.RecordBatch | pa.Table, columns: ClipColumns) -> np.ndarray:
    """`clip_facts` of all that rows and index both have; classes as their places among the names, in order."""
    names = ["clip_id", "group", "labels", *(("unknown",) if columns.is_partial else ())]
    names += [*(("part_groups",) if columns.is_mixed else ()), *(name for name, _ in columns.metadata)]
    return clip_facts([rows[name] for name in names])


def check_counts(
    manifest: Mapping[str, Any], splits: Mapping[str, IndexedSplit], labels: LabelSpace, path: Path
) -> None:
    """Refuse a manifest that counts other clips than index.parquet lists.

    Raises:
        InputError: names the count.
    """
    for split, facts in manifest["splits"].items():
        if split not in splits:
            raise InputError(f"{path} is damaged: index.parquet lists no clip of its split {split}; build it again")
        for name, listed in _counts(splits[split], labels).items():
            if name == "known_counts" and name not in facts and not splits[split].unknown_counts.any():
                continue
            if facts.get(name) != listed:
                found, wanted = facts.get(name), listed
                if not isinstance(listed, int):
                    found, wanted = _first_difference(facts.get(name), listed)
                raise InputError(
                    f"{path} is damaged: splits.{split}.{name} is {found}, and index.parquet lists {wanted}; download "
                    "or build the dataset again"
                )
    more = [split for split in splits if split not in manifest["splits"]]
    if more:
        raise InputError(
            f"{path} is damaged: splits has no {more[0]}, and index.parquet lists clips of it; build it again"
        )


def _counts(found: IndexedSplit, labels: LabelSpace) -> dict[str, Any]:
    """What a manifest says of a split."""
    known = found.num_clips - found.unknown_counts
    return {
        "num_clips": found.num_clips,
        "num_groups": found.num_groups,
        "label_counts": dict(zip(labels.names, found.label_counts.tolist(), strict=True)),
        "known_counts": dict(zip(labels.names, known.tolist(), strict=True)),
    }


def _validated(table: pa.Table) -> pa.Table:
    table.validate(full=True)  # offsets, and that texts are UTF-8
    return table.combine_chunks()


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type without a word on what cannot be empty."""
    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in kind])
    return kind


def _faults(clips: pa.Table, columns: ClipColumns) -> Iterator[tuple[str, np.ndarray]]:
    """What rows of an index can have that they must not, in words, and bool `[rows]` of those that have it."""
    labels = columns.labels
    for name in ("clip_id", "group"):
        lengths = pc.utf8_length(clips[name]).to_numpy()
        yield f"{name} must have 1 to {MOST_NAME:,} characters", (lengths < 1) | (lengths > MOST_NAME)
    yield "the clip is listed twice", _repeats(clips["clip_id"])
    yield f"split must be one of {', '.join(SPLITS)}", ~is_one_of(clips["split"], SPLITS).to_numpy()
    start_s = clips["start_s"].to_numpy()
    end_s = pc.fill_null(clips["end_s"], np.finfo(np.float64).max).to_numpy()
    is_stretch = np.isfinite(start_s) & (start_s >= 0) & np.isfinite(end_s) & (end_s > start_s)
    yield "start_s and end_s are no stretch of seconds", ~is_stretch
    yield from _label_faults(clips, labels)
    if columns.is_mixed:
        counts = [pc.list_value_length(clips[name]).to_numpy() for name in ("parts", "part_groups")]
        yield "a mixture must name the group of each of its parts", counts[0] != counts[1]
    for name, kind in columns.metadata:
        if kind == "string":
            lengths = pc.fill_null(pc.binary_length(clips[name]), 0).to_numpy()
            yield f"{name} has more than {MOST_TEXT_BYTES:,} bytes", lengths > MOST_TEXT_BYTES


def _label_faults(clips: pa.Table, labels: LabelSpace) -> Iterator[tuple[str, np.ndarray]]:
    num_rows, places = len(clips), {}
    for name in ("labels", "unknown"):
        lists = clips[name].combine_chunks()
        rows, classes = pc.list_parent_indices(lists).to_numpy(), places_of(pc.list_flatten(lists), labels.names)
        yield f"{name} has a name that is no class of the manifest", _any_of(rows[classes < 0], num_rows)
        pairs = rows * len(labels) + classes
        yield f"a class is named twice in {name}", _any_of(rows[_repeats(pa.array(pairs))], num_rows)
        places[name] = pairs
    if not labels.is_multi_label:
        given, unknown = (pc.list_value_length(clips[name]).to_numpy() for name in ("labels", "unknown"))
        fault = "the clip has none or several classes, or unknown ones, where each has exactly one"
        yield fault, (given != 1) | (unknown > 0)
    both = np.intersect1d(places["labels"], places["unknown"])
    yield "a class is both given and unknown", _any_of(both // len(labels), num_rows)


def _repeats(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Which values are there before, bool `[values]`."""
    codes = whole(pc.dictionary_encode(values)).indices.to_numpy()
    is_repeated = np.ones(len(codes), dtype=bool)
    is_repeated[np.unique(codes, return_index=True)[1]] = False
    return is_repeated


def _any_of(rows: np.ndarray, num_rows: int) -> np.ndarray:
    found = np.zeros(num_rows, dtype=bool)
    found[rows] = True
    return found


def _of_split(clips: pa.Table, columns: ClipColumns) -> IndexedSplit:
    labels = columns.labels
    num_groups = len(names_in(groups_and_splits(clips)["group"]))
    for name in ("labels", "unknown"):
        clips = clips.set_column(clips.column_names.index(name), name, _as_places(clips[name], labels))
    rows = clips.combine_chunks().to_batches()[0]
    given, unknown = (pc.list_flatten(rows[name]).to_numpy() for name in ("labels", "unknown"))
    counts = (np.bincount(classes, minlength=len(labels)) for classes in (given, unknown))
    facts = np.sort(facts_of_rows(rows, columns))
    return IndexedSplit(len(clips), num_groups, *counts, facts, _row_bytes(rows))


def _as_places(column: pa.ChunkedArray, labels: LabelSpace) -> pa.ListArray:
    """Lists of names as lists of their places among the classes, as rows have them: sorted."""
    _, classes = labels.places(column)
    lengths = pc.list_value_length(column).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(classes, pa.int64()))


def _row_bytes(rows: pa.RecordBatch) -> int:
    """What texts of one clip take at most, with the length before each."""
    longest = 0
    for column in rows.columns:
        if pa.types.is_string(column.type):
            longest += 4 + (pc.max(pc.binary_length(column)).as_py() or 0)
        elif pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type):
            each = 4 + (pc.max(pc.binary_length(pc.list_flatten(column))).as_py() or 0)
            longest += each * (pc.max(pc.list_value_length(column)).as_py() or 0)
        else:
            longest += 8
    return longest


def _first_difference(found: Mapping[str, int] | None, wanted: Mapping[str, int]) -> tuple[str, str]:
    if found is None:
        return "missing", "unknown classes"
    name = next(name for name in wanted if found.get(name) != wanted[name])
    return f"{found.get(name)} of {name}", str(wanted[name])
