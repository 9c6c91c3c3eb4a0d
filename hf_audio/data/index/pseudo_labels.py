"""Pseudo-labels: training recordings whose labels are predictions of models, with their confidence.

`scripts/self_train.py` writes a table of them, one row per recording:

    path,confidence,labels,unknown,soft label: bell,soft label: hum
    a/001.wav,0.97,bell,,0.97,0.03

These recordings are always training clips. `labels` holds their labels as for any other clip. The probabilities are
metadata, also in the rows of a feature dataset: they are the targets of networks (`target_of`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import Clip, index_of
from hf_audio.data.tables import csv_text, names_cell, names_in_cell, read_table
from hf_audio.errors import InputError

CONFIDENCE = "pseudo_label_confidence"  # metadata of pseudo-labeled clips only
SOFT = "soft label: "  # metadata: the probability of a class
PLACE = "pseudo"  # prefix of the names of their clips and groups
SUM_TOLERANCE = 0.02


class PseudoLabel(NamedTuple):
    """The predictions of models for one recording.

    Attributes:
        path: path of the recording, relative to the folder of all recordings.
        confidence: the lowest confidence of its labels.
        labels: names of its predicted classes.
        unknown: names of classes without a confident prediction (multi-label only).
        probabilities: float `[classes]`.
    """

    path: str
    confidence: float
    labels: tuple[str, ...]
    unknown: tuple[str, ...]
    probabilities: Sequence[float]


class PseudoLabels(NamedTuple):
    """Pseudo-labeled clips, and a sentence about them for the corpus's card."""

    clips: pa.Table
    note: str


def pseudo_labels_text(rows: Iterable[PseudoLabel], labels: LabelSpace) -> str:
    """The text of a table of pseudo-labels."""
    head = ["path", "confidence", "labels", "unknown", *(SOFT + name for name in labels.names)]
    return csv_text(
        [
            head,
            *(
                [
                    *(one.path, round(float(one.confidence), 6), names_cell(one.labels), names_cell(one.unknown)),
                    *(round(float(value), 6) for value in one.probabilities),
                ]
                for one in rows
            ),
        ]
    )


def read_pseudo_labels(table: str | Path, folder: str | Path, labels: LabelSpace) -> PseudoLabels:
    """Clips of a table of pseudo-labels.

    Args:
        table: as `pseudo_labels_text` wrote it.
        folder: the folder of the recordings.
        labels: the classes of the corpus that the clips are added to.

    Raises:
        InputError: not such a table, other classes, a recording that does not exist or is outside the folder, or
            numbers that are not probabilities.
    """
    table, folder = Path(table), Path(folder).expanduser()
    columns, rows = read_table(table, required=("path", "confidence", "labels", "unknown"))
    _check_classes(table, columns, labels)
    if not rows:
        raise InputError(f"{table} has no rows: use a lower --confidence with scripts/self_train.py")
    clips: dict[str, Clip] = {}
    for line, row in rows:
        try:
            clip = _clip(row, folder, labels)
        except (InputError, ValueError) as error:
            raise InputError(f"{table} line {line}: {error}") from None
        if clip.clip_id in clips:
            raise InputError(f"{table} line {line}: {row['path']!r} appears twice; keep one of its rows")
        clips[clip.clip_id] = clip
    return PseudoLabels(_with_numbers(index_of(clips.values())), _note(clips.values(), labels))


def target_of(row: Mapping[str, Any], labels: LabelSpace) -> np.ndarray:
    """The target of a row of a feature dataset, float32 `[classes]`: probabilities if pseudo-labeled; NaN is unknown.

    Raises:
        InputError: numbers that are not probabilities.
    """
    if row.get(CONFIDENCE) is None:
        return labels.target_of(row)
    soft = np.array([row.get(SOFT + name) for name in labels.names], dtype=np.float32)
    soft[row.get("unknown") or []] = np.nan
    known = soft[~np.isnan(soft)]
    if not len(known) or known.min() < 0 or known.max() > 1:
        raise InputError(f"Clip {row['clip_id']} is pseudo-labeled but has no probabilities: build the features again")
    return soft


def _check_classes(table: Path, columns: Sequence[str], labels: LabelSpace) -> None:
    found = [name.removeprefix(SOFT) for name in columns if name.startswith(SOFT)]
    if set(found) != set(labels.names):
        other = sorted(set(found) ^ set(labels.names))[0]
        raise InputError(
            f"{table} has probabilities of {len(found)} classes and the corpus has {len(labels)} classes; only one of "
            f"them has {other!r}: give the table that was made from this corpus"
        )


def _clip(row: Mapping[str, str], folder: Path, labels: LabelSpace) -> Clip:
    path = _recording(row["path"], folder)
    named, unknown = names_in_cell(row["labels"]), names_in_cell(row["unknown"])
    places = labels.indices((*named, *unknown))
    soft = {SOFT + name: _share(row[SOFT + name]) for name in labels.names}
    if not labels.is_multi_label:
        total = sum(soft.values())
        if len(places) != 1 or unknown or abs(total - 1) > SUM_TOLERANCE:
            raise InputError(
                f"each clip must have exactly one class, found {len(named)} labels and probabilities that add up to "
                f"{total:.3g}"
            )
    clip_id = f"{PLACE}/{PurePosixPath(row['path'])}"
    soft |= dict.fromkeys(SOFT + name for name in unknown)
    facts = {CONFIDENCE: _share(row["confidence"]), **soft}
    return Clip(str(path), named, clip_id, clip_id, split="train", unknown=unknown, metadata=facts)


def _recording(name: str, folder: Path) -> Path:
    below = PurePosixPath(name)
    if not name or below.is_absolute() or ".." in below.parts or "\\" in name:
        raise InputError(f"{name!r} must be the path of a recording below {folder}")
    if not (folder / below).is_file():
        raise InputError(f"{folder / below} does not exist: give the folder that contains the recordings")
    return folder / below


def _share(written: str) -> float:
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise InputError(f"{written!r} is not a probability, expected a number from 0 to 1")
    return value


def _with_numbers(clips: pa.Table) -> pa.Table:
    """The clips with probabilities as floats, even if all of them are 0 or 1."""
    for place, name in enumerate(clips.column_names):
        if name == CONFIDENCE or name.startswith(SOFT):
            clips = clips.set_column(place, name, clips[name].cast(pa.float64()))
    return clips


def _note(clips: Iterable[Clip], labels: LabelSpace) -> str:
    clips = list(clips)
    counts = Counter(name for clip in clips for name in clip.labels)
    confidences = [clip.metadata[CONFIDENCE] for clip in clips]
    of_each = ", ".join(f"{name} {counts[name]:,}" for name in labels.names)
    return (
        f"The training split has {len(clips):,} more recordings with pseudo-labels, predicted by models with a "
        f"confidence of {min(confidences):.2f} to {max(confidences):.2f}: {of_each}. No other split has any."
    )
