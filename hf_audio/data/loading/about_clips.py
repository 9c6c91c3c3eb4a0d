"""Facts about clips that scores can be sliced by: their lengths and metadata."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.columns import is_one_of, places_of
from hf_audio.data.index.table import RENAMED, metadata_columns
from hf_audio.data.loading.features_dataset import FeatureDataset

OWN = ("clip_id", "group", "split", "duration_s")  # metadata columns with one of these names are renamed


def about_clips(clips: pa.Table, durations_s: np.ndarray) -> pa.Table:
    """One row per clip of an index: clip_id, duration_s, and metadata as bool, int64, float64 or string.

    Args:
        clips: the index.
        durations_s: of each clip, `[clips]`; NaN if unknown, which becomes null.
    """
    columns = {"clip_id": clips["clip_id"], "duration_s": pa.array(durations_s, pa.float64(), from_pandas=True)}
    for column, fact in metadata_columns(clips).items():
        columns[RENAMED + fact if fact in OWN else fact] = _plain(clips[column])
    return pa.table(columns)


def about_stored_clips(features: FeatureDataset, split: str) -> pa.Table:
    """The same for the clips of a local split; a clip without a given end ends with its last window."""
    rows = features.splits[split]
    clips = features.clips()
    clips = clips.filter(is_one_of(clips["clip_id"], rows.unique("clip_id")))
    places = places_of(pa.array(rows["clip_id"][:], pa.string()), clips["clip_id"].to_pylist())
    share = np.minimum(np.array(rows["num_frames"]) / features.longest_row, 1.0)
    ends_s = np.zeros(len(clips))
    np.maximum.at(ends_s, places, np.array(rows["start_s"]) + features.window_s * share)
    given_s = clips["end_s"].to_numpy()
    return about_clips(clips, np.where(np.isnan(given_s), ends_s, given_s) - clips["start_s"].to_numpy())


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_string(kind):
        return column
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return column.cast(pa.int64())
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_finite(column), column, None).cast(pa.float64())
    return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
