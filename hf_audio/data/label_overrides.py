"""Corrections of a corpus's labels: a CSV that says what some clips really are.

    clip_id,label            one class a clip; "-" leaves the clip out
    clip_id,labels,unknown   several, separated by semicolons; none at all is an answer too

Other columns are for people (reason, confidence ...). Without a column `unknown`, what was unknown of a clip stays so.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hf_audio.data.index import Clip
from hf_audio.data.labels import LabelSpace
from hf_audio.data.tables import csv_text, read_table
from hf_audio.errors import InputError, nearest_name
from hf_audio.terminal import named_logger

LEAVE_OUT = "-"
FEWEST_CLIPS_OF_A_NEW_CLASS = 2  # a name that one training clip has is more likely a slip of the pen
MOST_COMPARED_NAMES = 5_000

logger = named_logger(__name__)


class ClipLabels(NamedTuple):
    """What a table says of one clip; `unknown` is None where it says nothing of it."""

    labels: tuple[str, ...]
    unknown: tuple[str, ...] | None = None
    is_left_out: bool = False


class CorrectedLabels(NamedTuple):
    """Clips and classes after corrections, and a sentence for the corpus's card on what was done."""

    clips: list[Clip]
    labels: LabelSpace
    note: str


def read_clip_labels(source: str | Path, column: str | None = None) -> dict[str, ClipLabels]:
    """The labels in a table: {clip_id: labels}.

    Args:
        source: a CSV with clip_id and label, or labels (semicolons between several), optionally unknown; or the folder
            of a feature dataset, of which index.csv is read.
        column: read the labels from this column instead, e.g. `decided` of a run's predictions.csv.

    Raises:
        InputError: no such file, not such a table, no rows, or a clip in it twice.
    """
    table = Path(source)
    table = table / "index.csv" if table.is_dir() else table
    columns, rows = read_table(table, required=("clip_id",))
    chosen = column or next((name for name in ("labels", "label") if name in columns), "labels")
    if chosen not in columns:
        wanted = column or "label or labels"
        raise InputError(f"{table} has columns {', '.join(columns)} but needs clip_id and {wanted}")
    if not rows:
        raise InputError(f"{table} has no rows; expected one row a clip under a header with clip_id and label")
    found: dict[str, ClipLabels] = {}
    for line, row in rows:
        if row["clip_id"] in found:
            raise InputError(f"{table} line {line}: clip {row['clip_id']!r} is there twice; keep one of its rows")
        found[row["clip_id"]] = _clip_labels(row, chosen)
    return found


def correct_labels(clips: Sequence[Clip], labels: LabelSpace, table: str | Path) -> CorrectedLabels:
    """The clips with the labels that the table gives them; splits stay as they are.

    A class that the corpus does not have is a new one, behind the others, if two training clips or more get it. A class
    that no clip has any more is gone.

    Args:
        clips: with their splits.
        labels: their classes before.

    Raises:
        InputError: as `read_clip_labels`; an unknown clip; a class that is new and too rare or looks misspelt; none or
            several classes for a clip where each has exactly one.
    """
    overrides = read_clip_labels(table)
    _check_clip_ids(overrides, clips, table)
    _check_number_of_labels(overrides, labels, table)
    corrected = [_corrected(clip, overrides.get(clip.clip_id)) for clip in clips]
    _check_names(corrected, labels, table)
    changed = [(old, new) for old, new in zip(clips, corrected, strict=True) if _differs(old, new)]
    kept = [clip for clip in corrected if clip is not None]
    found = {name for clip in kept for name in clip.labels}
    new = sorted(found - set(labels.names))
    lost = [name for name in labels.names if name not in found]
    if lost:  # nobody can ask for what no clip has
        kept = [dataclasses.replace(clip, unknown=_without(clip.unknown, lost)) for clip in kept]
    note = _note(changed)
    logger.info("%s", note.rstrip("."))
    if new:
        logger.warning("%s has new classes: %s", table, ", ".join(new))
    if lost:
        logger.warning("No clip is left of %s: gone from the classes", ", ".join(lost))
    names = tuple(name for name in labels.names if name in found) + tuple(new)
    return CorrectedLabels(kept, LabelSpace(names, labels.problem_type), note)


def overrides_text(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> str:
    """The text of a table of corrections; `columns` starts with clip_id and label or labels."""
    return csv_text([columns, *([row.get(name, "") for name in columns] for row in rows)])


def _clip_labels(row: Mapping[str, str], column: str) -> ClipLabels:
    written = row[column]
    if written == LEAVE_OUT:
        return ClipLabels((), is_left_out=True)
    labels = (written,) if column == "label" and written else _names(written)
    return ClipLabels(labels, _names(row["unknown"]) if "unknown" in row else None)


def _names(written: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in written.replace("|", ";").split(";") if name.strip()))


def _corrected(clip: Clip, override: ClipLabels | None) -> Clip | None:
    """None where the clip is to be left out."""
    if override is None:
        return clip
    if override.is_left_out:
        return None
    unknown = override.unknown
    if unknown is None:
        unknown = _without(clip.unknown, override.labels)
    return dataclasses.replace(clip, labels=override.labels, unknown=unknown)


def _differs(old: Clip, new: Clip | None) -> bool:
    return new is None or set(old.labels) != set(new.labels) or set(old.unknown) != set(new.unknown)


def _without(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in others)


def _note(changed: Sequence[tuple[Clip, Clip | None]]) -> str:
    relabelled = [old for old, new in changed if new is not None]
    in_test = sum(clip.split == "test" for clip in relabelled)
    note = f"Labels of {len(relabelled)} clips corrected ({in_test} of them test)"
    left_out = [old for old, new in changed if new is None]
    if left_out:
        note += f", {len(left_out)} clips left out ({sum(clip.split == 'test' for clip in left_out)} of them test)"
    return note + "."


def _check_clip_ids(overrides: Mapping[str, ClipLabels], clips: Sequence[Clip], table: str | Path) -> None:
    known = {clip.clip_id for clip in clips}
    unknown = [clip_id for clip_id in overrides if clip_id not in known]
    if not unknown:
        return
    # Comparing with every name of a large corpus takes minutes; mistakes are mostly in the folder
    file_name = unknown[0].rpartition("/")[2]
    alike = [clip_id for clip_id in sorted(known) if clip_id.endswith(file_name)]
    guess = nearest_name(unknown[0], alike or sorted(known)[:MOST_COMPARED_NAMES])
    hint = f"did you mean {guess!r}" if guess else f"its clips are named like {sorted(known)[0]!r}"
    raise InputError(
        f"{table} names {len(unknown)} of {len(overrides)} clips that the corpus does not have, first {unknown[0]!r}: "
        f"{hint}?"
    )


def _check_number_of_labels(overrides: Mapping[str, ClipLabels], labels: LabelSpace, table: str | Path) -> None:
    if labels.is_multi_label:
        return
    for clip_id, override in overrides.items():
        if not override.is_left_out and (len(override.labels) != 1 or override.unknown):
            given = f"{len(override.labels)} labels" + (" and unknown classes" if override.unknown else "")
            raise InputError(
                f"{table} gives clip {clip_id!r} {given} and every clip of this corpus has exactly one: give one, or "
                f"{LEAVE_OUT} to leave the clip out"
            )


def _check_names(clips: Sequence[Clip | None], labels: LabelSpace, table: str | Path) -> None:
    """Every name is a class, or plainly meant as a new one."""
    kept = [clip for clip in clips if clip is not None]
    counts = Counter(name for clip in kept if clip.split == "train" for name in clip.labels)
    used = {name: None for clip in kept for name in (*clip.labels, *clip.unknown)}  # in their order
    by_folded = {name.casefold(): name for name in labels.names}
    for name in (name for name in used if name not in labels.names):
        same = by_folded.get(name.casefold())
        if same or counts[name] < FEWEST_CLIPS_OF_A_NEW_CLASS:
            guess = same or nearest_name(name, labels.names)
            raise InputError(
                f"{table} names a class {name!r}, which the corpus does not have and {counts[name]} training clips "
                f"get: {f'did you mean {guess!r}' if guess else 'there are ' + ', '.join(labels.names)}? (a new class "
                f"needs {FEWEST_CLIPS_OF_A_NEW_CLASS} training clips)"
            )
