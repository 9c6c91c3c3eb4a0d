"""Training on a share of the labeled clips, for example to measure a model with 5 % of the labels."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat

import datasets
import numpy as np

from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.splits.groups import draw_share
from hf_audio.errors import InputError
from hf_audio.terminal import named_logger

logger = named_logger(__name__)


def share_of_training(features: FeatureDataset, fraction: float, seed: int = 0) -> FeatureDataset:
    """The dataset without some groups of its train split; validation, test and statistics do not change.

    A mixture stays only if all its parts do, so a small share keeps few mixtures. The manifest has the new counts, for
    class weights, reports and the check for another run's checkpoints.

    Args:
        features: a dataset with a local train split.
        fraction: share of the training groups to keep; 1 returns `features` itself.
        seed: the seed of the draw, see `draw_share`.

    Raises:
        InputError: a fraction out of range, or a streamed train split.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"--train_fraction must be above 0 and at most 1, found {fraction:g}: try 0.05")
    if fraction == 1:
        return features
    train = features.splits["train"]
    if isinstance(train, datasets.IterableDataset):
        raise InputError("A fraction of the training groups cannot be streamed: add --streaming false")
    of_mixtures = ["part_groups"] if features.clip_columns.is_mixed else []
    columns = train.select_columns(["group", "clip_id", *features.label_columns, *of_mixtures]).to_dict()
    labels_of = dict(zip(columns["clip_id"], columns["labels"], strict=True))
    groups_of = dict(zip(columns["clip_id"], _groups(columns), strict=True))
    groups = sorted({group for its_groups in groups_of.values() for group in its_groups})
    index_of = {group: index for index, group in enumerate(groups)}
    counts = np.zeros((len(groups), len(features.labels)), dtype=np.int64)
    for clip_id, its_groups in groups_of.items():
        if len(its_groups) == 1:  # a mixture has the groups of its parts, and is counted for none of them
            counts[index_of[its_groups[0]], labels_of[clip_id]] += 1
    kept = {groups[index] for index in draw_share(counts, fraction, seed)}
    clips = [clip_id for clip_id, its_groups in groups_of.items() if kept.issuperset(its_groups)]
    stays = set(clips)
    rows = [row for row, clip_id in enumerate(columns["clip_id"]) if clip_id in stays]
    logger.info("Training on %d of %d groups, %d clips", len(kept), len(groups), len(clips))
    label_counts = np.bincount([label for clip_id in clips for label in labels_of[clip_id]], minlength=counts.shape[1])
    manifest = copy.deepcopy(features.manifest)
    facts = manifest["splits"]["train"]
    facts |= {
        "num_windows": len(rows),
        "num_clips": len(clips),
        "num_groups": len(kept),
        "label_counts": dict(zip(features.labels.names, label_counts.tolist(), strict=True)),
    }
    facts.pop("source_rates", None)  # the digests cover all clips
    if "known_counts" in facts:
        unknown_of = dict(zip(columns["clip_id"], columns["unknown"], strict=True))
        unknown = Counter(index for clip_id in clips for index in unknown_of[clip_id])
        facts["known_counts"] = {name: len(clips) - unknown[index] for index, name in features.labels.id2label.items()}
    return dataclasses.replace(features, splits={**features.splits, "train": train.select(rows)}, manifest=manifest)


def _groups(columns: Mapping[str, list]) -> Iterator[Sequence[str]]:
    """The groups of each row: that of its clip, or those of a mixture's parts."""
    for group, parts in zip(columns["group"], columns.get("part_groups") or repeat(()), strict=False):
        yield parts or (group,)
