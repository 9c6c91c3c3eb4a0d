"""Extractor and rows of a feature dataset, which may be untrusted: both as its manifest and index say."""

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

# start, length, offset and scale take that much or more, in whatever way a window is stored
MIN_ROW_BYTES = 16
# and beside its values and texts, its head, checksums and lengths at most that much
HEAD_BYTES = 1 << 14
FOOTER_BYTES = 1 << 20


def checked_extractor(path: Path, manifest: Mapping[str, Any]) -> FeatureExtractionMixin:
    """The extractor of a dataset, if it makes windows as the manifest describes them.

    Raises:
        InputError: names the setting that differs, or statistics that nothing can be normalized by.
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
                f"{path} is damaged: {name} is {found}, and {wanted} by manifest.json; download or build the dataset "
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
    """The rows of a split, each of which is checked.

    Args:
        listed: what the index has of it.
        columns: what its rows say of their clip.

    Raises:
        InputError: see `load_features`.
    """
    rows = split_reader(files, split, manifest, listed, columns, streaming=False).local()
    _check_clips(files.source, split, manifest, pc.count_distinct(rows.data["clip_id"]).as_py())
    return rows


def check_split(
    files: DatasetFiles, split: str, manifest: Mapping[str, Any], listed: IndexedSplit, columns: ClipColumns
) -> None:
    """Reads a split once and keeps nothing of it; arguments and errors are those of `read_split`."""
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
    """What reads a split, a row after another where it is streamed; arguments and errors are those of `read_split`."""
    parameters, facts = manifest["extractor"], manifest["splits"][split]
    most_frames = kind_of(parameters).window_shape(manifest["window_s"], parameters)[0]
    rules = RowRules(columns, parameters, most_frames, listed.facts)
    names = [f"data/{name}.parquet" for name in shard_names(split, facts["num_shards"])]
    sizes = files.sizes(names)
    num_bytes = sum(sizes.values())
    _check_size(files.source, split, num_bytes, manifest, listed.row_bytes)
    shards = files.shards(names, sizes, streaming)
    versions = [] if streaming else [file_version(shard) for shard in shards]
    return ShardReader(split, shards, files.open, rules, manifest[SHARD_WINDOWS][split], num_bytes, versions)


def _check_clips(source: str, split: str, manifest: Mapping[str, Any], num_clips: int) -> None:
    """Raises InputError where the rows of a split are of more or fewer clips than its manifest counts."""
    counted = manifest["splits"][split]["num_clips"]
    if counted != num_clips:
        raise InputError(
            f"{source} is damaged: its {split} split has {num_clips} clips but its manifest counts {counted}; "
            "download or build it again"
        )


def _check_size(source: str, split: str, num_bytes: int, manifest: Mapping[str, Any], text_bytes: int) -> None:
    """Raises InputError where shards are smaller, or much larger, than the windows that the manifest counts."""
    facts = manifest["splits"][split]
    most_row_bytes = 4 * window_values(manifest) + 16 * len(manifest["label_names"]) + text_bytes + HEAD_BYTES
    most_bytes = facts["num_windows"] * most_row_bytes + facts["num_shards"] * FOOTER_BYTES
    least_bytes = facts["num_windows"] * MIN_ROW_BYTES
    if not least_bytes <= num_bytes <= most_bytes:
        raise InputError(
            f"{source} is damaged: the {facts['num_windows']:,} windows of its {split} split take {least_bytes:,} to "
            f"{most_bytes:,} bytes, and it has {num_bytes:,}; download or build it again"
        )
