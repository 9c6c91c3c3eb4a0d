"""Checks an index before features are built from it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.columns import (
    check_disjoint,
    groups_and_splits,
    has_mixtures,
    is_one_of,
    repeated,
    require_files,
    untrained,
)
from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.data.index.table import SPLITS
from hf_audio.errors import InputError


def check_clips(clips: pa.Table, labels: LabelSpace) -> None:
    """Refuses an index that cannot become a feature dataset.

    Raises:
        InputError: no clips; a clip without a split; a clip_id or a label twice; a group in two splits; a class without
            training clips; a label that is not a class; partial labels that contradict themselves or the task;
            mixtures of recordings that are not files.
    """
    if not len(clips):
        raise InputError("There are no clips to build features from: the index is empty")
    given, unknown = (labels.places(clips[column]) for column in ("labels", "unknown"))
    _check_classes(clips, labels, *given, *unknown)
    elsewhere = clips.filter(pc.invert(is_one_of(clips["split"], SPLITS)))
    if len(elsewhere):
        raise InputError(
            f"Clip {elsewhere['clip_id'][0]} has split {elsewhere['split'][0].as_py()!r}; expected one of "
            f"{', '.join(SPLITS)}"
        )
    counts = pc.value_counts(clips["clip_id"])
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise InputError(f"Clip {twice[0]['values']} is in the index twice; each clip_id must be unique")
    check_disjoint(groups_and_splits(clips))
    lacking = untrained(clips, labels.names)
    if lacking:
        raise InputError(f"Class {lacking[0]} has no training clip; add some, or leave the class out of the labels")
    if has_mixtures(clips):
        require_files(clips, "Mixtures need")


def _check_classes(
    clips: pa.Table,
    labels: LabelSpace,
    given_rows: np.ndarray,
    given: np.ndarray,
    unknown_rows: np.ndarray,
    unknown: np.ndarray,
) -> None:
    """Refuses a clip with the same class twice, and unknown classes that contradict the task or the clip's labels."""
    if len(unknown) and not labels.is_multi_label:
        raise InputError(
            f"Clip {clips['clip_id'][int(unknown_rows[0])]} has unknown classes, but each clip must have exactly one "
            f"class; only independent classes ({MULTI_LABEL}) can be unknown: give its class, or leave the clip out"
        )
    has, may_have = given_rows * len(labels) + given, unknown_rows * len(labels) + unknown
    for several, what in (
        (repeated(has), "names class {!r} twice; name it once"),
        (repeated(may_have, has), "has class {} both as a label and as unknown; remove one of them"),
    ):
        if len(several):
            row, label = divmod(int(several[0]), len(labels))
            raise InputError(f"Clip {clips['clip_id'][row]} {what.format(labels.names[label])}")
