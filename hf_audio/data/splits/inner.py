"""Inner folds: the training clips are divided again, to choose settings without looking at the test split."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from hf_audio.data.index.columns import is_one_of, of_split, with_split
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.splits.groups import divide_groups, groups_and_counts, presence
from hf_audio.errors import InputError
from hf_audio.terminal import named_logger

logger = named_logger(__name__)


def with_inner_test(clips: pa.Table, labels: LabelSpace, num_folds: int, fold: int, seed: int) -> pa.Table:
    """The clips without their test split, with an inner fold of the training groups as the new test split.

    A group that holds all training clips of a class stays in training: a class must be learned before it is tested.

    Args:
        clips: the index, `split` "train", "validation" or "test".
        num_folds: inner folds, drawn from whole training groups, each class spread as evenly as its groups allow.
        fold: the fold to test on, from 1.
        seed: the seed of the draw.

    Raises:
        InputError: there are fewer groups than folds.
    """
    test = of_split(clips, "test")
    clips = clips.filter(is_one_of(clips["split"], ["train", "validation"]))
    groups, counts = groups_and_counts(of_split(clips, "train"), labels)
    only = np.flatnonzero(presence(counts)[:-1] == 1)  # classes with only one group
    stays = np.asarray((counts[:, only] > 0).sum(axis=1)).ravel() > 0
    drawn = np.flatnonzero(~stays)
    if len(drawn) < num_folds:
        raise InputError(
            f"--inner_folds {num_folds} cannot be drawn from {len(drawn)} training groups: give at most {len(drawn)}"
        )
    parts = divide_groups(counts[drawn], [1 / num_folds] * num_folds, seed)
    tested = [groups[place] for place in drawn[parts == fold - 1]]
    logger.info(
        "inner fold %d of %d: tested on %d of %d training groups; the %s clips of the test split are left out",
        fold,
        num_folds,
        len(tested),
        len(groups),
        f"{len(test):,}",
    )
    return with_split(clips, "test", is_one_of(clips["group"], tested))
