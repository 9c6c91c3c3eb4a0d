"""Converts a dataset to clips: uses each column according to its meaning, and lists unused columns."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.corpora._dataset.card import card_of
from hf_audio.corpora._dataset.columns import is_list, mask_column
from hf_audio.corpora._dataset.contents import Contents, contents_of, described
from hf_audio.corpora._dataset.facts import STRETCH, clip_ids, file_ids, metadata, odd_times, single_values, stretches
from hf_audio.corpora._dataset.groups import Groups, groups_of
from hf_audio.corpora._dataset.labels import Labels, labels_of
from hf_audio.corpora._dataset.masks import unknown_classes
from hf_audio.corpora._dataset.place import Place
from hf_audio.corpora._dataset.reading import DatasetReading
from hf_audio.corpora._dataset.splits import SplitColumn, split_column, told_splits
from hf_audio.corpora._dataset.unlabeled import with_labels
from hf_audio.corpora.folder.class_names import odd_class_names
from hf_audio.data.index.columns import in_order
from hf_audio.data.index.table import CLIP_COLUMNS, SPLITS, CorpusCard
from hf_audio.data.index.understanding import Understanding, counted

COMMIT_LETTERS = 10


class ReadDataset(NamedTuple):
    """A dataset as a corpus: its index, how it was read, and its card."""

    clips: pa.Table
    understanding: Understanding
    card: CorpusCard


class _Meanings(NamedTuple):
    """The facts about all rows; arrays have one value per row."""

    labels: Labels
    unknown: pa.Array | None
    ids: pa.Array
    splits: pa.Array
    split_column: SplitColumn
    groups: Groups
    start_s: pa.Array
    end_s: pa.Array
    metadata: dict[str, pa.ChunkedArray]
    told: list[str]
    not_used: list[str]


def read_dataset(place: Place, reading: DatasetReading | None = None) -> ReadDataset:
    """The clips of a dataset, and how it was read.

    Args:
        place: where the dataset is.
        reading: the user's settings.

    Raises:
        InputError: it is not a dataset with audio and labels, it can be read in several ways and none is chosen, or
            values do not fit their column.
    """
    reading = reading or DatasetReading()
    contents = contents_of(place, reading)
    labels = labels_of(contents.features, contents.values, reading, place)
    contents, labels, hidden = with_labels(contents, labels, place)
    meanings = _meanings(contents, labels, reading, place)
    clips = _index(contents, meanings)
    card = card_of(place, contents.told.declared, contents.told.info)
    if labels.names is not None:
        card = dataclasses.replace(card, label_names=labels.names)
    others = [
        f"split {name}, which is not train, validation or test (--train_split_name and similar flags use it)"
        for name in contents.told.unused_splits
    ]
    return ReadDataset(clips, _understanding(contents, meanings, clips, [*others, *hidden], place), card)


def read_card(place: Place, reading: DatasetReading | None = None) -> CorpusCard:
    """The card of a dataset, without reading any rows.

    Raises:
        InputError: the card cannot be read, see `read_dataset`.
    """
    declared, _, info = described(place, reading or DatasetReading())
    return card_of(place, declared, info)


def _meanings(contents: Contents, labels: Labels, reading: DatasetReading, place: Place) -> _Meanings:
    features, values = contents.features, contents.values
    mask = mask_column(features, values.column_names, labels.several, reading, place)
    unknown = unknown_classes(mask, values[mask], labels, place) if mask else None
    single = single_values(features, values)
    taken = {*labels.columns, mask, "clip_id", *STRETCH}
    free = [name for name in single.column_names if name not in taken]
    ours = contents.our_splits
    by_column = split_column(single, free, reading, place, has_splits=len(contents.split_of) > 1)
    splits = ours if by_column.values is None else by_column.values
    free = [name for name in free if name != by_column.column]
    start_s, end_s = stretches(single, place)
    times = [name for name in STRETCH if name in single.column_names]
    if contents.are_files:
        ids, told_ids = file_ids(contents.places["name"], start_s, end_s, place), "the paths of their files"
    else:
        ids, told_ids = clip_ids(contents.places, single, contents.their_splits, contents.row_in_split)
    by_itself = contents.places["name"].combine_chunks() if contents.are_files else ids
    groups = groups_of(features, single, free, by_itself, splits, reading, place)
    kept, machine_paths = metadata(single, [name for name in free if name != groups.column])
    told = [
        f"sound: column {contents.audio}" if contents.audio else contents.told.how,
        labels.told,
        f"mask of known classes: column {mask}" if mask else "",
        f"stretches: columns {' and '.join(times)}" if times else "",
        f"clips named by {told_ids}",
    ]
    not_used = [counted(list(kept), "column kept as metadata only", "columns kept as metadata only")] if kept else []
    if machine_paths:
        not_used.append(counted(machine_paths, "column of local file paths", "columns of local file paths"))
    others = [name for name in features if name not in (*values.column_names, contents.audio)]
    others += [name for name in values.column_names if is_list(features[name]) and name not in (*labels.columns, mask)]
    if others:
        not_used.append(counted(others, "column of lists or objects", "columns of lists or objects"))
    return _Meanings(
        labels, unknown, ids, splits, by_column, groups, start_s, end_s, kept, list(filter(None, told)), not_used
    )


def _index(contents: Contents, found: _Meanings) -> pa.Table:
    """CLIP_COLUMNS and metadata."""
    number = len(found.ids)
    empty = pa.array([[]], pa.list_(pa.string())).take(pa.array(np.zeros(number, np.int64)))
    columns: Mapping[str, object] = {
        "clip_id": found.ids,
        **{name: contents.places[name] for name in ("audio", "audio_row", "audio_field")},
        "labels": found.labels.values,
        "unknown": empty if found.unknown is None else found.unknown,
        "group": found.groups.values,
        "split": found.splits,
        "start_s": found.start_s,
        "end_s": found.end_s,
    }
    table = pa.table([columns[name] for name in CLIP_COLUMNS.names], schema=CLIP_COLUMNS)
    for name, column in found.metadata.items():
        table = table.append_column(name, column)
    return table


def _understanding(
    contents: Contents, found: _Meanings, clips: pa.Table, left_out: Sequence[str], place: Place
) -> Understanding:
    flat = pc.value_counts(pc.list_flatten(found.labels.values)).to_pylist()
    number_of = {one["values"]: one["counts"] for one in flat}
    counts = {name: number_of[name] for name in in_order(number_of)}
    where = f"the dataset {place.name}" + (f" at commit {place.commit[:COMMIT_LETTERS]}" if place.commit else "")
    config = [f"configuration {contents.told.layout.config}"] if contents.told.layout.config else []
    splits = Counter(clips["split"].to_pylist() if found.split_column.column else contents.their_splits.to_pylist())
    listed = {name or "none": splits[name] for name in sorted(splits, key=lambda one: (one not in SPLITS, str(one)))}
    remarks = [found.split_column.remark, found.groups.remark, odd_times(found.metadata), *contents.told.remarks]
    if place.is_on_hub and place.name != place.asked:
        remarks.append(f"{place.asked} is now called {place.name}")
    without = int((pc.list_value_length(found.labels.values).to_numpy(zero_copy_only=False) == 0).sum())
    if without:
        remarks.append(f"{without:,} rows have no label and are negative examples of every class")
    not_used = list(found.not_used)
    not_used += contents.told.not_used
    if contents.told.layout.not_used:
        not_used.append(counted(contents.told.layout.not_used, "other file"))
    return Understanding(
        layout=f"{where} ({'; '.join([*config, *found.told])})",
        class_counts=counts,
        num_clips=len(clips),
        groups=found.groups.told,
        groups_known=found.groups.known,
        splits=told_splits(listed, found.split_column, set(contents.split_of.values()) == {None}),
        not_used=tuple(not_used),
        left_out=tuple(left_out),
        remarks=(*filter(None, remarks), *odd_class_names(counts)),
    )
