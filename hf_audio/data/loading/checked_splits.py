"""Checks the extractor and rows of a feature dataset, which may be untrusted, against its manifest and index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset
from transformers import FeatureExtractionMixin

from hf_audio.data.feature_format import SHARD_WINDOWS, ClipColumns, shard_names
from hf_audio.data.foreign.extractor import extractor_from_file
from hf_audio.data.foreign.index import IndexedSplit
from hf_audio.data.foreign.manifest import window_values
from hf_audio.data.foreign.rows import RowRules
from hf_audio.data.loading.dataset_files import DatasetFiles
from hf_audio.data.loading.shard_reader import ShardReader
from hf_audio.data.loading.values_in_place import file_version
from hf_audio.errors import InputError
from hf_audio.kinds import kind_of

# Minimum size of start, length, offset and scale of a window, however it is stored
MIN_ROW_BYTES = 16
# Maximum size of headers, checksums and lengths of a row, in addition to its values and strings
HEAD_BYTES = 1 << 14
FOOTER_BYTES = 1 << 20


def checked_extractor(path: Path, manifest: Mapping[str, Any]) -> FeatureExtractionMixin:
    """The extractor of a dataset, checked against the manifest.

    Raises:
        InputError: a setting differs, or a standard deviation is not positive; the message names it.
    """
    parameters = manifest["extractor"]
    kind = kind_of(parameters)
    extractor = extractor_from_file(kind.published_class(parameters), path)
    settings = {name: (getattr(extractor, name), parameters[name]) for name in kind.compared}
    full_frames = kind.window_shape(manifest["window_s"], parameters)[0]
    settings["length of a window"] = (kind.window_frames(extractor, manifest), full_frames)
    for name, (found, wanted) in settings.items():
        if found != wanted:
            raise InputError(
                f"{path} is damaged: {name} is {found}, but {wanted} in manifest.json; download or build the dataset "
                "again"
            )
    std = getattr(extractor, "std", None)
    std = np.ravel(1.0 if std is None else std)
    if not (std > 0).all():
        raise InputError(
            f"{path} is damaged: std is {std.min():g}, expected above 0; download or build the dataset again"
        )
    return extractor


def read_split(
    files: DatasetFiles,
    split: str,
    manifest: Mapping[str, Any],
    listed: IndexedSplit,
    columns: ClipColumns,
) -> Dataset:
    """The rows of a split, all of them checked.

    Args:
        files: the files of the dataset.
        split: the name of the split.
        manifest: the manifest of the dataset.
        listed: the split's clips in the index.
        columns: the columns that describe the clip.

    Raises:
        InputError: see `load_features`.
    """
    rows = split_reader(files, split, manifest, listed, columns, streaming=False).local()
    _check_clips(files.source, split, manifest, pc.count_distinct(rows.data["clip_id"]).as_py())
    return rows


def check_split(
    files: DatasetFiles, split: str, manifest: Mapping[str, Any], listed: IndexedSplit, columns: ClipColumns
) -> None:
    """Reads and checks a split once without storing it; arguments and errors are those of `read_split`."""
    clip_ids = set()
    for rows in split_reader(files, split, manifest, listed, columns, streaming=False).tables():
        clip_ids.update(pc.unique(rows["clip_id"]).to_pylist())
    _check_clips(files.source, split, manifest, len(clip_ids))


def split_reader(
    files: DatasetFiles,
    split: str,
    manifest: Mapping[str, Any],
    listed: IndexedSplit,
    columns: ClipColumns,
    streaming: bool,
) -> ShardReader:
    """The reader of a split, row by row if it is streamed; arguments and errors are those of `read_split`."""
    parameters, facts = manifest["extractor"], manifest["splits"][split]
    max_frames = kind_of(parameters).window_shape(manifest["window_s"], parameters)[0]
    rules = RowRules(columns, parameters, max_frames, listed.facts)
    names = [f"data/{name}.parquet" for name in shard_names(split, facts["num_shards"])]
    sizes = files.sizes(names)
    num_bytes = sum(sizes.values())
    _check_size(files.source, split, num_bytes, manifest, listed.row_bytes)
    shards = files.shards(names, sizes, streaming)
    versions = [] if streaming else [file_version(shard) for shard in shards]
    return ShardReader(split, shards, files.open, rules, manifest[SHARD_WINDOWS][split], num_bytes, versions)


def _check_clips(source: str, split: str, manifest: Mapping[str, Any], num_clips: int) -> None:
    """Raises InputError if a split's number of clips differs from its manifest."""
    counted = manifest["splits"][split]["num_clips"]
    if counted != num_clips:
        raise InputError(
            f"{source} is damaged: its {split} split has {num_clips} clips but its manifest says {counted}; "
            "download or build it again"
        )


def _check_size(source: str, split: str, num_bytes: int, manifest: Mapping[str, Any], text_bytes: int) -> None:
    """Raises InputError if shards are smaller or much larger than the manifest's number of windows allows."""
    facts = manifest["splits"][split]
    max_row_bytes = 4 * window_values(manifest) + 16 * len(manifest["label_names"]) + text_bytes + HEAD_BYTES
    max_bytes = facts["num_windows"] * max_row_bytes + facts["num_shards"] * FOOTER_BYTES
    min_bytes = facts["num_windows"] * MIN_ROW_BYTES
    if not min_bytes <= num_bytes <= max_bytes:
        raise InputError(
            f"{source} is damaged: its {split} split has {num_bytes:,} bytes, expected {min_bytes:,} to "
            f"{max_bytes:,} for {facts['num_windows']:,} windows; download or build it again"
        )
