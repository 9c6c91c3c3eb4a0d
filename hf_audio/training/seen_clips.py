"""Validation and test clips that a trained model has already learned from: scores on them would be inflated.

A teacher or a checkpoint that was trained on a different split knows the labels of test clips, and passes them on.
"""

from __future__ import annotations

from collections.abc import Mapping

from hf_audio.data.index.columns import of_split
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.loading.training_digests import TRAINING_DATA, read_training_data
from hf_audio.models.foreign_checkpoint import Checkpoint
from hf_audio.terminal import named_logger

logger = named_logger(__name__)


def seen_clips(checkpoint: Checkpoint, features: FeatureDataset) -> dict[str, int]:
    """Counts the validation and test clips that a model was trained on, directly or through others of their groups.

    Clips and groups are compared by name. Nothing is known about a model without the digests of an hf_audio run.

    Returns:
        The number of such clips by split, without splits that have none.

    Raises:
        InputError: the file with the digests is damaged.
    """
    path = checkpoint.path(TRAINING_DATA, optional=True)
    if path is None:
        return {}
    trained, source = read_training_data(path), features.manifest["corpus"]["source"]
    if trained.source and source and trained.source != source:  # recordings of another dataset, even if names are equal
        return {}
    found, clips = {}, features.clips()
    for split in ("validation", "test"):
        held_out = of_split(clips, split)
        names = {"train clips": held_out["clip_id"], "train groups": held_out["group"]}
        of_clip, of_group = (trained.holds(part, column.to_pylist()) for part, column in names.items())
        if (of_clip | of_group).any():
            found[split] = int((of_clip | of_group).sum())
    return found


def warn_of_seen_clips(name: str, seen: Mapping[str, int]) -> None:
    """Warns of the clips that `seen_clips` has found; `name` is the model's."""
    if seen:
        logger.warning(
            "%s was trained on %s clips of this run, or on others of their groups: scores on them will be inflated",
            *(name, " and ".join(f"{count:,} {split}" for split, count in seen.items())),
        )
