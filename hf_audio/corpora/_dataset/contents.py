"""The rows of all splits of a dataset as one table, for all kinds of files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from datasets import DatasetInfo, Features

from hf_audio.corpora._dataset.audio_files import audio_file_rows
from hf_audio.corpora._dataset.columns import audio_column, small_columns
from hf_audio.corpora._dataset.declared import Declared, declared_by, saved_info
from hf_audio.corpora._dataset.layout import ARROW, AUDIO_FILES, SAVED_SPLITS, TAR, Layout, layout_of
from hf_audio.corpora._dataset.place import Place
from hf_audio.corpora._dataset.reading import DatasetReading
from hf_audio.corpora._dataset.records import features_of
from hf_audio.corpora._dataset.rows import Rows, joined, rows, schemas
from hf_audio.corpora._dataset.splits import splits_of
from hf_audio.corpora._dataset.tars import tar_rows
from hf_audio.errors import InputError, one_line


class Told(NamedTuple):
    """The facts about a dataset outside its rows.

    Attributes:
        layout, declared, info: its files, its card, and its description by `datasets`.
        not_used: files that have no effect, a phrase each.
        unused_splits: splits that are not used.
        how: how folders were read, if they have a meaning.
        remarks: what looks like a mistake, a sentence each.
    """

    layout: Layout
    declared: Declared
    info: DatasetInfo
    not_used: tuple[str, ...]
    unused_splits: tuple[str, ...]
    how: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """The contents of a dataset.

    Attributes:
        told: facts about it outside its rows.
        features: the types of all columns.
        audio: the column with the audio; "" if recordings are files.
        places: the location of each row's sound, see `rows.PLACES`.
        values: the small columns, as they are stored.
        split_of: the role of each of its splits: train, validation, test, a fold, or None.
        their_splits: the dataset's own name for the split of each row.
        row_in_split: the number of each row in that split, int64 `[rows]`.
    """

    told: Told
    features: Features
    audio: str
    places: pa.Table
    values: pa.Table
    split_of: dict[str, str | None]
    their_splits: pa.Array
    row_in_split: np.ndarray

    @property
    def are_files(self) -> bool:
        """Whether each recording is a file of its own; several rows may be stretches of one."""
        return self.told.layout.kind == AUDIO_FILES

    @property
    def our_splits(self) -> pa.Array:
        """The role of each row: train, validation, test, a fold, or null."""
        names = list(self.split_of)
        ours = pa.array([self.split_of[name] for name in names], pa.string())
        return ours.take(pa.compute.index_in(self.their_splits, pa.array(names, pa.string())))

    def only(self, kept: np.ndarray) -> Contents:
        """Some of the rows, by a mask, bool `[rows]`."""
        mask = pa.array(kept)
        splits = self.their_splits.filter(mask)
        there = set(splits.unique().to_pylist())
        return dataclasses.replace(
            self,
            places=self.places.filter(mask),
            values=self.values.filter(mask),
            split_of={name: split for name, split in self.split_of.items() if name in there},
            their_splits=splits,
            row_in_split=self.row_in_split[kept],
        )


def contents_of(place: Place, reading: DatasetReading) -> Contents:
    """All rows of a dataset, from the requested configuration and splits.

    Raises:
        InputError: see `layout_of`, `splits_of`, `audio_column` and `rows`.
    """
    declared, layout, info = described(place, reading)
    splits = splits_of(list(layout.files), reading, place)
    told, audio = Told(layout, declared, info, (), splits.left_out), ""
    if layout.kind == AUDIO_FILES:
        of_split, features, not_used, how, remarks = audio_file_rows(place, layout, list(splits.of), reading)
        told = told._replace(not_used=not_used, how=how, remarks=remarks)
    elif layout.kind == TAR:
        of_split, features = tar_rows(place, layout, list(splits.of), reading)
    else:
        features = _features(place, declared, layout)
        audio = audio_column(features, reading, place)
        columns = small_columns(features, audio, reading)
        of_split = {name: rows(place, layout.kind, layout.files[name], audio, columns) for name in splits.of}
    return _contents(place, told, features, audio, of_split, splits.of)


def described(place: Place, reading: DatasetReading) -> tuple[Declared, Layout, DatasetInfo]:
    """The card, the files, and the description by `datasets`; no rows are read.

    Raises:
        InputError: see `declared_by` and `layout_of`.
    """
    declared = declared_by(place)
    layout = layout_of(place, declared, reading.dataset_config_name)
    return declared, layout, _info(place, declared, layout)


def _contents(
    place: Place,
    told: Told,
    features: Features,
    audio: str,
    of_split: dict[str, Rows],
    split_of: dict[str, str | None],
) -> Contents:
    counts = {name: len(found.places) for name, found in of_split.items()}
    if not any(counts.values()):
        raise InputError(f"{place.name} has no rows; expected one per clip")
    whole = joined(place, list(of_split.values()))
    names = pa.array(list(counts), pa.string()).take(pa.array(np.repeat(np.arange(len(counts)), list(counts.values()))))
    numbers = np.concatenate([np.arange(count) for count in counts.values()])
    return Contents(told, features, audio, whole.places, whole.values, split_of, names, numbers)


def _info(place: Place, declared: Declared, layout: Layout) -> DatasetInfo:
    """The description of the dataset by `datasets`."""
    if layout.kind != ARROW:
        return declared.info(layout.config)
    split = next(iter(layout.files)) if place.holds(SAVED_SPLITS) else ""
    return saved_info(place, f"{split}/dataset_info.json".lstrip("/"))


def _schema(place: Place, layout: Layout) -> pa.Schema:
    """The unified schema of the first file of each split."""
    first = schemas(place, layout.kind, [files[0] for files in layout.files.values()])
    try:
        return pa.unify_schemas([one.remove_metadata() for one in first], promote_options="permissive").with_metadata(
            first[0].metadata
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(
            f"The splits of {place.name} have columns of different types ({one_line(error)}); choose a configuration "
            "with --dataset_config_name, or ask its authors to fix it"
        ) from error


def _features(place: Place, declared: Declared, layout: Layout) -> Features:
    """The type of each column: from the card, else from the metadata of `datasets` in the file, else as stored."""
    schema = _schema(place, layout)
    try:
        found = Features.from_arrow_schema(schema)
    except Exception:  # untrusted metadata can be wrong in any way: use the stored types then
        found = features_of(schema)
    told = declared.features(layout.config)
    return Features({name: told.get(name, feature) for name, feature in found.items()})
