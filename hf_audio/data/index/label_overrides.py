"""Corrections to a corpus's labels: a CSV table with the correct labels of some clips.

    clip_id,label            one class per clip; "-" leaves the clip out
    clip_id,labels,unknown   several, separated by semicolons or as a JSON list; an empty cell means no class

Other columns are ignored (reason, confidence ...). Without a column `unknown`, unknown classes stay unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.columns import is_one_of, names_in, of_split, places_of, whole, with_values
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.tables import csv_text, names_cell, names_in_cell, read_table
from hf_audio.errors import InputError, nearest_name
from hf_audio.terminal import named_logger

LEAVE_OUT = "-"
MIN_CLIPS_OF_A_NEW_CLASS = 2  # a name that only one training clip has is more likely a typo
MAX_COMPARED_NAMES = 5_000

logger = named_logger(__name__)


class ClipLabels(NamedTuple):
    """The labels of one clip in a table; `unknown` is None if the table has no such column."""

    labels: tuple[str, ...]
    unknown: tuple[str, ...] | None = None
    is_left_out: bool = False


class CorrectedLabels(NamedTuple):
    """Clips and classes after corrections, and a sentence about the corrections for the corpus's card."""

    clips: pa.Table
    labels: LabelSpace
    note: str


def read_overrides(table: str | Path, column: str | None = None) -> dict[str, ClipLabels]:
    """The labels in a table: {clip_id: labels}.

    Args:
        table: a CSV with clip_id and label, or labels (see `names_cell`), optionally unknown.
        column: read the labels from this column instead.

    Raises:
        InputError: no such file, not such a table, no rows, or a clip appears twice.
    """
    table = Path(table)
    columns, rows = read_table(table, required=("clip_id",))
    chosen = column or next((name for name in ("labels", "label") if name in columns), "labels")
    if chosen not in columns:
        wanted = column or "label or labels"
        raise InputError(f"{table} has columns {', '.join(columns)} but needs clip_id and {wanted}")
    if not rows:
        raise InputError(f"{table} has no rows; expected a header with clip_id and label, and one row per clip")
    found: dict[str, ClipLabels] = {}
    for line, row in rows:
        if row["clip_id"] in found:
            raise InputError(f"{table} line {line}: clip {row['clip_id']!r} appears twice; keep one of its rows")
        try:
            found[row["clip_id"]] = _clip_labels(row, chosen)
        except InputError as error:
            raise InputError(f"{table} line {line}: {error}") from None
    return found


def correct_labels(clips: pa.Table, labels: LabelSpace, table: str | Path) -> CorrectedLabels:
    """The clips with the labels of the table; splits stay the same.

    A class that the corpus does not have is added after the others if at least two training clips get it. A class that
    no clip has anymore is removed.

    Args:
        clips: the clips with their splits.
        labels: their classes before the corrections.
        table: see `read_overrides`.

    Raises:
        InputError: see `read_overrides`; an unknown clip; a new class that is too rare or looks misspelled; none or
            several classes for a clip in a single-label task.
    """
    overrides = read_overrides(table)
    _check_clip_ids(overrides, clips, table)
    _check_number_of_labels(overrides, labels, table)
    left_out = is_one_of(clips["clip_id"], (name for name, one in overrides.items() if one.is_left_out))
    corrected = _joined(clips, overrides)
    kept = corrected.filter(pc.invert(left_out))
    _check_names(kept, labels, table)
    found = names_in(kept["labels"])
    new = [name for name in found if name not in labels.names]
    lost = [name for name in labels.names if name not in found]
    if lost:  # a removed class cannot be unknown either
        kept = with_values(kept, "unknown", [_without(names, lost) for names in kept["unknown"].to_pylist()])
    named = is_one_of(clips["clip_id"], overrides)
    note = _note(clips.filter(named), corrected.filter(named), left_out.filter(named))
    logger.info("%s", note.rstrip("."))
    if new:
        logger.warning("%s has new classes: %s", table, ", ".join(new))
    if lost:
        logger.warning("No clips of %s are left: removed from the classes", ", ".join(lost))
    names = tuple(name for name in labels.names if name in found) + tuple(new)
    return CorrectedLabels(kept, LabelSpace(names, labels.problem_type), note)


def labels_cell(labels: Iterable[str]) -> str:
    """The cell with a clip's labels; a class with the name LEAVE_OUT is written as a JSON list."""
    cell = names_cell(labels)
    return f'["{LEAVE_OUT}"]' if cell == LEAVE_OUT else cell


def overrides_text(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> str:
    """The text of a table of corrections; `columns` starts with clip_id and label or labels."""
    return csv_text([columns, *([row.get(name, "") for name in columns] for row in rows)])


def _clip_labels(row: Mapping[str, str], column: str) -> ClipLabels:
    written = row[column]
    if written == LEAVE_OUT:
        return ClipLabels((), is_left_out=True)
    labels = (written,) if column == "label" and written else names_in_cell(written)
    return ClipLabels(labels, names_in_cell(row["unknown"]) if "unknown" in row else None)


def _joined(clips: pa.Table, overrides: Mapping[str, ClipLabels]) -> pa.Table:
    """The clips, with the labels of the overrides for those that have one."""
    names = list(overrides)
    place = places_of(clips["clip_id"], names)
    rows = np.flatnonzero(place >= 0)
    said = [overrides[names[at]] for at in place[rows].tolist()]
    before = clips["unknown"].take(pa.array(rows)).to_pylist()
    unknown = [
        _without(names, one.labels) if one.unknown is None else one.unknown
        for names, one in zip(before, said, strict=True)
    ]
    clips = _replaced(clips, "labels", rows, [one.labels for one in said])
    return _replaced(clips, "unknown", rows, unknown)


def _replaced(clips: pa.Table, column: str, rows: np.ndarray, values: Sequence[Sequence[str]]) -> pa.Table:
    """The clips with other lists of names in some rows of a column."""
    both = pa.concat_arrays([whole(clips[column]), pa.array(values, clips[column].type)])
    taken = np.arange(len(clips))
    taken[rows] = len(clips) + np.arange(len(rows))
    return with_values(clips, column, both.take(pa.array(taken)))


def _without(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in others)


def _note(before: pa.Table, after: pa.Table, left_out: pa.ChunkedArray) -> str:
    """Describes the changes to the clips in the table."""
    same_names = pc.and_(*(pc.equal(_sorted(before[name]), _sorted(after[name])) for name in ("labels", "unknown")))
    relabeled = before.filter(pc.and_not(pc.invert(same_names), left_out))
    note = f"Labels of {len(relabeled)} clips corrected ({len(of_split(relabeled, 'test'))} of them test)"
    gone = before.filter(left_out)
    if len(gone):
        note += f", {len(gone)} clips left out ({len(of_split(gone, 'test'))} of them test)"
    return note + "."


def _sorted(column: pa.ChunkedArray) -> pa.Array:
    """A string for each list of names, equal for the same names in any order."""
    return pa.array(["\0".join(sorted(set(names))) for names in column.to_pylist()], pa.string())


def _check_clip_ids(overrides: Mapping[str, ClipLabels], clips: pa.Table, table: str | Path) -> None:
    known = names_in(clips["clip_id"])
    there = set(known)
    unknown = [name for name in overrides if name not in there]
    if not unknown:
        return
    # Comparing with every name in a large corpus takes minutes, and most mistakes are in the folder's name
    file_name = unknown[0].rpartition("/")[2]
    alike = [clip_id for clip_id in known if clip_id.endswith(file_name)]
    guess = nearest_name(unknown[0], alike or known[:MAX_COMPARED_NAMES])
    hint = f"did you mean {guess!r}" if guess else f"its clips are named like {known[0]!r}"
    raise InputError(
        f"{table} names {len(unknown)} of {len(overrides)} clips that are not in the corpus, first {unknown[0]!r}: "
        f"{hint}?"
    )


def _check_number_of_labels(overrides: Mapping[str, ClipLabels], labels: LabelSpace, table: str | Path) -> None:
    if labels.is_multi_label:
        return
    for clip_id, override in overrides.items():
        if not override.is_left_out and (len(override.labels) != 1 or override.unknown):
            given = f"{len(override.labels)} labels" + (" and unknown classes" if override.unknown else "")
            raise InputError(
                f"{table} gives clip {clip_id!r} {given}, but every clip of this corpus has exactly one label: give "
                f"one, or {LEAVE_OUT} to leave the clip out"
            )


def _check_names(clips: pa.Table, labels: LabelSpace, table: str | Path) -> None:
    """Refuses names that are neither a class nor clearly a new one."""
    used = dict.fromkeys(names_in(clips["labels"]) + names_in(clips["unknown"]))
    counts = Counter(pc.list_flatten(of_split(clips, "train")["labels"]).to_pylist())
    by_folded = {name.casefold(): name for name in labels.names}
    for name in (name for name in used if name not in labels.names):
        same = by_folded.get(name.casefold())
        if same or counts[name] < MIN_CLIPS_OF_A_NEW_CLASS:
            guess = same or nearest_name(name, labels.names)
            raise InputError(
                f"{table} gives {counts[name]} training clips a class {name!r}, which the corpus does not have: "
                f"{f'did you mean {guess!r}' if guess else 'there are ' + ', '.join(labels.names)}? (a new class "
                f"needs {MIN_CLIPS_OF_A_NEW_CLASS} training clips)"
            )
