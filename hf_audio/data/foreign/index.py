"""Reads and checks index.parquet and excluded.csv of a feature dataset, which may be untrusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hf_audio.data.feature_format import MAX_TEXT_BYTES, ClipColumns
from hf_audio.data.foreign.clip_facts import clip_facts
from hf_audio.data.foreign.parquet import VALUE_BYTES, check_columns, check_packing, in_words
from hf_audio.data.index.columns import (
    check_disjoint,
    groups_and_splits,
    is_one_of,
    names_in,
    of_split,
    places_of,
    repeated,
    whole,
)
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import SPLITS
from hf_audio.data.tables import written_rows
from hf_audio.errors import InputError
from hf_audio.files import MAX_TABLE_BYTES, open_regular

MAX_NAME = 4096


@dataclass(frozen=True)
class IndexedSplit:
    """The clips of a split, without those that were excluded from the build.

    Attributes:
        num_clips, num_groups: numbers of clips and groups; for mixtures the groups of their parts.
        label_counts, unknown_counts: int `[classes]`, clips that have a class, and clips for which it is unknown.
        facts: the `clip_facts` of all clips, sorted uint64 `[clips]`.
        row_bytes: maximum size in bytes of one clip's names and strings.
    """

    num_clips: int
    num_groups: int
    label_counts: np.ndarray
    unknown_counts: np.ndarray
    facts: np.ndarray
    row_bytes: int


def read_clips(index: Path, columns: ClipColumns) -> pa.Table:
    """The clips that an index lists, one row each, with groups, splits, class names, stretches and metadata.

    Raises:
        InputError: not a Parquet file with these columns, or a compressed one; values that no build writes; a duplicate
            clip.
    """
    clips = _plainly(_stored(index, columns.index))
    _check(index, clips, _with_places(clips, columns.labels), columns)
    return clips


def read_index(index: Path, excluded: Path, columns: ClipColumns, source: str) -> dict[str, IndexedSplit]:
    """The clips that an index lists, by split.

    Raises:
        InputError: see `read_clips`; a group in two splits; or no table of excluded clips.
    """
    left_out = [row["clip_id"] for row in written_rows(excluded, required=("clip_id", "reason"))]
    clips = _plainly(_stored(index, columns.index))
    placed = _with_places(clips, columns.labels)
    _check(index, clips, placed, columns)
    try:
        check_disjoint(groups_and_splits(clips))
    except InputError as error:
        raise InputError(f"{source} cannot be trained on. {error}") from error
    kept = placed.filter(pc.invert(is_one_of(clips["clip_id"], left_out)))
    return {split: _of_split(of_split(kept, split), columns) for split in names_in(kept["split"])}


def facts_of_rows(rows: pa.RecordBatch | pa.Table, columns: ClipColumns) -> np.ndarray:
    """`clip_facts` of all columns that both rows and index have; classes are sorted numbers."""
    names = ["clip_id", "group", "labels", *(("unknown",) if columns.is_partial else ())]
    names += [*(("part_groups",) if columns.is_mixed else ()), *(name for name, _ in columns.metadata)]
    return clip_facts([rows[name] for name in names])


def check_counts(
    manifest: Mapping[str, Any], splits: Mapping[str, IndexedSplit], labels: LabelSpace, path: Path
) -> None:
    """Refuses a manifest whose numbers of clips differ from index.parquet.

    Raises:
        InputError: the numbers differ; the message names the first difference.
    """
    for split, facts in manifest["splits"].items():
        if split not in splits:
            raise InputError(f"{path} is damaged: index.parquet lists no clips of its {split} split; build it again")
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
            f"{path} is damaged: it has no {more[0]} split, but index.parquet lists clips of it; build it again"
        )


def _counts(found: IndexedSplit, labels: LabelSpace) -> dict[str, Any]:
    """The numbers that the manifest must have for a split."""
    known = found.num_clips - found.unknown_counts
    return {
        "num_clips": found.num_clips,
        "num_groups": found.num_groups,
        "label_counts": dict(zip(labels.names, found.label_counts.tolist(), strict=True)),
        "known_counts": dict(zip(labels.names, known.tolist(), strict=True)),
    }


def _stored(index: Path, schema: pa.Schema) -> pa.Table:
    """The content of the file, read after its metadata was checked."""
    name = str(index)
    with open_regular(index) as file:
        parquet = in_words(name, lambda: pq.ParquetFile(file))
        check_columns(parquet.schema_arrow, schema, name)
        for number in range(parquet.num_row_groups):
            check_packing(parquet.metadata.row_group(number), name)
        if VALUE_BYTES * len(schema) * parquet.metadata.num_rows > MAX_TABLE_BYTES:
            raise InputError(
                f"{name} has {parquet.metadata.num_rows:,} rows, too many for an index of features; build it again"
            )
        table = in_words(name, lambda: parquet.read(schema.names, use_threads=False))
        in_words(name, lambda: table.validate(full=True))  # checks offsets and UTF-8
    return table.combine_chunks()


def _plainly(table: pa.Table) -> pa.Table:
    """The same table with nullable types, like tables of clips."""
    return table.cast(pa.schema([pa.field(field.name, _plain(field.type)) for field in table.schema]))


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in kind])
    return kind


def _with_places(clips: pa.Table, labels: LabelSpace) -> pa.Table:
    """The clips with sorted class numbers instead of names; -1 for names that are not a class."""
    for name in ("labels", "unknown"):
        lists = whole(clips[name])
        rows, classes = pc.list_parent_indices(lists).to_numpy(), places_of(pc.list_flatten(lists), labels.names)
        size = len(labels) + 1
        ordered = np.sort(rows * size + classes + 1) % size - 1
        offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy())]).astype(np.int32)
        placed = pa.ListArray.from_arrays(pa.array(offsets), pa.array(ordered))
        clips = clips.set_column(clips.column_names.index(name), name, placed)
    return clips


def _check(index: Path, clips: pa.Table, placed: pa.Table, columns: ClipColumns) -> None:
    """Raises InputError for the first faulty clip."""
    for fault, is_faulty in _faults(clips, placed, columns):
        if is_faulty.any():
            row = int(is_faulty.argmax())
            raise InputError(
                f"{index} is damaged at row {row} (clip {clips['clip_id'][row].as_py()[:100]!r}): {fault}; download or "
                "build the dataset again"
            )


def _faults(clips: pa.Table, placed: pa.Table, columns: ClipColumns) -> Iterator[tuple[str, np.ndarray]]:
    """Each possible fault in words, and the rows that have it, bool `[rows]`."""
    for name in ("clip_id", "group"):
        lengths = pc.utf8_length(clips[name]).to_numpy()
        yield f"{name} must have 1 to {MAX_NAME:,} characters", (lengths < 1) | (lengths > MAX_NAME)
    yield "the clip is listed twice", _are_there_before(clips["clip_id"])
    yield f"split must be one of {', '.join(SPLITS)}", ~is_one_of(clips["split"], SPLITS).to_numpy()
    start_s = clips["start_s"].to_numpy()
    end_s = pc.fill_null(clips["end_s"], np.finfo(np.float64).max).to_numpy()
    is_stretch = np.isfinite(start_s) & (start_s >= 0) & np.isfinite(end_s) & (end_s > start_s)
    yield "start_s and end_s are not a valid stretch in seconds", ~is_stretch
    yield from _label_faults(placed, columns.labels)
    if columns.is_mixed:
        counts = [pc.list_value_length(clips[name]).to_numpy() for name in ("parts", "part_groups")]
        yield "a mixture must name the group of each of its parts", counts[0] != counts[1]
    for name, kind in columns.metadata:
        if kind == "string":
            lengths = pc.fill_null(pc.binary_length(clips[name]), 0).to_numpy()
            yield f"{name} has more than {MAX_TEXT_BYTES:,} bytes", lengths > MAX_TEXT_BYTES


def _label_faults(placed: pa.Table, labels: LabelSpace) -> Iterator[tuple[str, np.ndarray]]:
    pairs = {}
    for name in ("labels", "unknown"):
        lists = whole(placed[name])
        rows, classes = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists).to_numpy()
        yield f"{name} contains a name that is not a class in the manifest", _any_of(rows[classes < 0], len(placed))
        pairs[name] = rows * len(labels) + classes
        twice = repeated(pairs[name]) // len(labels)
        yield f"a class is named twice in {name}", _any_of(twice, len(placed))
    if not labels.is_multi_label:
        given, unknown = (pc.list_value_length(placed[name]).to_numpy() for name in ("labels", "unknown"))
        fault = "the clip has none, several or unknown classes, but each clip must have exactly one"
        yield fault, (given != 1) | (unknown > 0)
    both = repeated(pairs["labels"], pairs["unknown"]) // len(labels)
    yield "a class is both in labels and unknown", _any_of(both, len(placed))


def _are_there_before(values: pa.ChunkedArray) -> np.ndarray:
    """Which values have occurred before, bool `[values]`: those without a new dictionary code."""
    codes = whole(pc.dictionary_encode(values)).indices.to_numpy()
    return codes <= np.concatenate([[-1], np.maximum.accumulate(codes)[:-1]])


def _any_of(rows: np.ndarray, num_rows: int) -> np.ndarray:
    found = np.zeros(num_rows, dtype=bool)
    found[rows] = True
    return found


def _of_split(placed: pa.Table, columns: ClipColumns) -> IndexedSplit:
    num_groups = len(names_in(groups_and_splits(placed)["group"]))
    rows = placed.combine_chunks().to_batches()[0]
    given, unknown = (pc.list_flatten(rows[name]).to_numpy() for name in ("labels", "unknown"))
    given, unknown = (np.bincount(classes, minlength=len(columns.labels)) for classes in (given, unknown))
    facts = np.sort(facts_of_rows(rows, columns))
    return IndexedSplit(len(rows), num_groups, given, unknown, facts, _row_bytes(rows))


def _row_bytes(rows: pa.RecordBatch) -> int:
    """Maximum size of one clip's values, including the length before each string."""
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
