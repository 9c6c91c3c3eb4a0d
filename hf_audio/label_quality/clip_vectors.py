"""Clips as vectors for the quick models that check labels: window statistics, or embeddings of a trained network."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from hf_audio.baselines import window_statistics
from hf_audio.data.index.columns import is_one_of
from hf_audio.data.loading.feature_collator import clip_key
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError, unknown_name
from hf_audio.predictor import Predictor


class ClipTable(NamedTuple):
    """Clips of a feature dataset.

    Attributes:
        rows: rows of the index, one per clip: clip_id, group, split, labels, unknown, start_s, end_s and metadata.
        targets: float32 `[clips, classes]`, NaN where unknown.
    """

    rows: list[dict[str, Any]]
    targets: np.ndarray

    @property
    def clip_ids(self) -> list[str]:
        return [row["clip_id"] for row in self.rows]

    @property
    def groups(self) -> np.ndarray:
        return np.array([row["group"] for row in self.rows])


def clips_of(features: FeatureDataset, splits: Sequence[str]) -> ClipTable:
    """The clips of some splits that have windows, without mixtures, whose labels come from their parts.

    Raises:
        InputError: no such split, or no clips in it.
    """
    for split in splits:
        if split not in features.splits:
            raise unknown_name("split", split, features.splits)
    stored = {clip_id for split in splits for clip_id in features.splits[split].unique("clip_id")}
    clips = features.clips()
    if features.clip_columns.is_mixed:
        clips = clips.filter(pc.equal(pc.list_value_length(clips["part_groups"]), 0))
    rows = clips.filter(is_one_of(clips["clip_id"], stored)).to_pylist()
    if not rows:
        raise InputError(f"{features.source} has no clips other than mixtures in {', '.join(splits)}")
    labels = features.labels
    targets = [labels.multi_hot(labels.indices(row["labels"]), labels.indices(row["unknown"])) for row in rows]
    return ClipTable(rows, np.stack(targets))


def window_vectors(
    features: FeatureDataset, clip_ids: Sequence[str], network: str | None = None, *, token: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The windows of some clips as vectors.

    Args:
        clip_ids: clips of any splits.
        network: a network for embeddings, a run folder or a Hub name; by default `window_statistics` are used.

    Returns:
        float32 `[windows, numbers]`, and for each window the position of its clip in `clip_ids`.

    Raises:
        InputError: no such network, or a network that reads other features.
    """
    chosen = windows_of(features, set(clip_ids))
    place = {clip_key(clip_id): number for number, clip_id in enumerate(clip_ids)}
    vectors, places = [], []
    predictor = Predictor.load(network, token=token) if network else None
    for split in chosen.splits:
        if predictor is not None:
            found = predictor.embeddings(chosen, split)
            values, keys = found.values, np.array([clip_key(one) for one in found.clip_ids], np.int64)
        else:
            values, _, keys = window_statistics(chosen, split)
        vectors.append(values)
        places += [place[int(key)] for key in keys]
    return np.concatenate(vectors), np.array(places, dtype=np.int64)


def windows_of(features: FeatureDataset, clip_ids: Collection[str]) -> FeatureDataset:
    """The dataset with only the windows of some clips, and without splits that have none."""
    splits, manifest = {}, copy.deepcopy(features.manifest)
    for split, rows in features.splits.items():
        kept = [number for number, clip_id in enumerate(rows["clip_id"]) if clip_id in clip_ids]
        if kept:
            splits[split] = rows.select(kept)
            manifest["splits"][split]["num_windows"] = len(kept)
    return dataclasses.replace(features, splits=splits, manifest=manifest)
