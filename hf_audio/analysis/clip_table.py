"""The predictions of a run for each clip, as a table for error analysis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hf_audio.stored_scores import StoredScores, read_scores

if TYPE_CHECKING:
    import pandas


def clip_table(run_folder: str | Path) -> pandas.DataFrame:
    """A row per clip of validation and test: clip_id, group, split, labels, decided, is_right, loss, "score: CLASS" ...

    Labels and decisions are class names, separated by "; ". `is_right` is whether they are equal, or None if some
    labels of the clip are unknown. `loss` is the cross-entropy of the clip; the largest values are the worst errors.

    Args:
        run_folder: a finished run, or its scores/clips.parquet.

    Raises:
        InputError: the file does not exist, or is not a table of scores.
    """
    import pandas

    found = read_scores(run_folder)
    columns = {
        **{"clip_id": found.clip_ids, "group": found.groups, "split": found.splits},
        **{"labels": list(map("; ".join, found.given)), "decided": list(map("; ".join, found.decided))},
        "is_right": [
            None if unknown else set(given) == set(decided)
            for given, unknown, decided in zip(found.given, found.unknown, found.decided, strict=True)
        ],
        "loss": _losses(found),
    }
    scores = pandas.DataFrame(found.probabilities, columns=[f"score: {name}" for name in found.labels.names])
    return pandas.concat([pandas.DataFrame(columns), scores], axis=1)


def _losses(found: StoredScores) -> np.ndarray:
    """Cross-entropy of each clip, float64 `[clips]`; for multi-label data, binary and summed over the known classes."""
    is_true, unknown = (
        np.array([[name in names for name in found.labels.names] for names in lists])
        for lists in (found.given, found.unknown)
    )
    chances = np.clip(found.probabilities, 1e-12, 1 - 1e-12)
    if not found.labels.is_multi_label:
        return -np.log((chances * is_true).sum(axis=1))
    of_pairs = -np.log(np.where(is_true, chances, 1 - chances))
    return (of_pairs * ~unknown).sum(axis=1)
