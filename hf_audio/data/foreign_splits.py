"""Extractor and rows of a feature dataset, which may be a stranger's: both as its manifest and index say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset, IterableDataset
from transformers import FeatureExtractionMixin

from hf_audio.data.dataset_files import DatasetFiles
from hf_audio.data.feature_plan import shard_names
from hf_audio.data.feature_storage import storage_of
from hf_audio.data.foreign_extractor import extractor_from_file
from hf_audio.data.foreign_index import IndexedSplit
from hf_audio.data.foreign_manifest import window_values
from hf_audio.data.foreign_rows import RowRules
from hf_audio.data.labels import LabelSpace
from hf_audio.data.shard_reader import ShardReader
from hf_audio.data.values_in_place import file_version
from hf_audio.errors import InputError

# start, length, offset and scale take that much or more, in whatever way a window is stored
FEWEST_ROW_BYTES = 16
# and its names, head and checksums at most that much
NAME_BYTES = 1 << 17
FOOTER_BYTES = 1 << 20


def checked_extractor(path: Path, manifest: Mapping[str, Any]) -> FeatureExtractionMixin:
    """The extractor of a dataset, if it makes windows as the manifest describes them.

    Raises:
        InputError: names the setting that differs, or statistics that nothing can be normalised by.
    """
    parameters = manifest["extractor"]
    storage = storage_of(parameters)
    extractor = extractor_from_file(storage.extractor_class, path)
    settings = {name: (getattr(extractor, name), parameters[name]) for name in storage.compared}
    full_frames = storage.full_frames(manifest["window_s"], parameters)
    settings["length of a window"] = (storage.window_frames(extractor, manifest), full_frames)
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
    labels: LabelSpace,
    streaming: bool,
) -> Dataset | IterableDataset:
    """The rows of a split, each of which is checked by the time it is given.

    Args:
        listed: what the index has of it.

    Raises:
        InputError: see `load_features`.
    """
    parameters, facts = manifest["extractor"], manifest["splits"][split]
    most_frames = storage_of(parameters).full_frames(manifest["window_s"], parameters)
    rules = RowRules(labels, parameters, most_frames, listed.keys)
    names = [f"data/{name}.parquet" for name in shard_names(split, facts["num_shards"])]
    sizes = files.sizes(names)
    _check_size(files.source, split, sum(sizes.values()), manifest)
    shards = files.shards(names, sizes, streaming)
    if streaming:
        return ShardReader(split, shards, files.open, rules).streamed()
    rows = ShardReader(split, shards, files.open, rules, [file_version(shard) for shard in shards]).local()
    found = {"num_windows": len(rows), "num_clips": pc.count_distinct(rows.data["clip_id"]).as_py()}
    for name, count in found.items():
        if facts[name] != count:
            what = name.removeprefix("num_")
            raise InputError(
                f"{files.source} is damaged: its {split} split has {count} {what} but its manifest counts "
                f"{facts[name]}; download or build it again"
            )
    return rows


def _check_size(source: str, split: str, num_bytes: int, manifest: Mapping[str, Any]) -> None:
    """Raises InputError where shards are smaller, or much larger, than the windows that the manifest counts."""
    facts = manifest["splits"][split]
    most_row_bytes = 4 * window_values(manifest) + 8 * len(manifest["label_names"]) + NAME_BYTES
    most_bytes = facts["num_windows"] * most_row_bytes + facts["num_shards"] * FOOTER_BYTES
    least_bytes = facts["num_windows"] * FEWEST_ROW_BYTES
    if not least_bytes <= num_bytes <= most_bytes:
        raise InputError(
            f"{source} is damaged: the {facts['num_windows']:,} windows of its {split} split take {least_bytes:,} to "
            f"{most_bytes:,} bytes, and it has {num_bytes:,}; download or build it again"
        )
