"""Scores on slices of the data: by column of metadata, and by group."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import unknown_name
from hf_audio.judging.decision_intervals import decision_intervals, decision_metrics_of, main_decision_metric
from hf_audio.judging.intervals import Interval, check_draws
from hf_audio.judging.judged_clips import JudgedClips

OWN = ("clip_id", "group", "duration_s")  # not metadata; groups and durations are reported elsewhere
MIN_CLIPS = 10  # in a slice: scores of fewer are meaningless
MAX_VALUES = 50  # of a column of strings
NUM_QUANTILES = 4  # bins for numbers


class _Slice(NamedTuple):
    column: str
    value: str | None
    rows: np.ndarray


def slices(
    judged: JudgedClips,
    probabilities: np.ndarray,
    decisions: np.ndarray,
    *,
    columns: Sequence[str] | None = None,
    min_clips: int = MIN_CLIPS,
    num_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A model's scores on the clips of each value of each column, those with the clearest drop first.

    Strings and numbers with few values give a slice per value, other numbers give quarters of the clips. With a column
    of lists, a clip is in the slice of each of its values. Clips without a value form one slice.

    Slices are sorted by the upper ends of their intervals, so a small slice that may be fine comes after a large one
    that is not. With 95% intervals, about 1 in 40 slices is below the overall score by chance.

    Args:
        probabilities, decisions: `[clips, classes]`.
        columns: of the table of clips; by default all usable ones, see `unsliced` for the others.
        min_clips: minimum size of a slice.
        num_draws, confidence, seed: of the bootstrap over groups.

    Returns:
        For JSON: `column`, `value` (None for clips without one), `num_clips`, `num_groups`, `metrics` (an Interval
        each, without ends if a slice is in one group), `rest` (the main metric of the other clips) and `is_below`
        (whether the interval is below the main metric of all clips).

    Raises:
        InputError: no such column.
    """
    check_draws(num_draws, confidence)
    name, everything = decision_metrics_of(judged.labels)[0], np.arange(len(judged))
    drawn: dict[str, Any] = {"num_draws": num_draws, "confidence": confidence, "seed": seed}
    whole = main_decision_metric(judged, probabilities, decisions, everything)
    found = []
    for one in _slices(judged, columns, min_clips):
        metrics = decision_intervals(judged, probabilities, decisions, one.rows, **drawn)
        high = metrics[name].high
        others = np.setdiff1d(everything, one.rows)
        found.append(
            {
                "column": one.column,
                "value": one.value,
                "num_clips": len(one.rows),
                "num_groups": len(np.unique(judged.groups[one.rows])),
                "metrics": metrics,
                "rest": main_decision_metric(judged, probabilities, decisions, others),
                "is_below": None not in (high, whole) and high < whole,
            }
        )
    return sorted(found, key=lambda row: _badness(row["metrics"][name]))


def unsliced(judged: JudgedClips, min_clips: int = MIN_CLIPS) -> dict[str, str]:
    """Columns that give no slices, and why."""
    return {
        name: _why_not(judged.clips[name], min_clips)
        for name in judged.clips.column_names
        if name not in OWN and _why_not(judged.clips[name], min_clips)
    }


def worst_groups(judged: JudgedClips, decisions: np.ndarray, max_groups: int = 20) -> list[dict[str, Any]]:
    """The groups (songs, speakers, uploads) with the most wrong clips. A clip is wrong if any of its decisions is.

    Returns:
        For JSON, sorted by descending `num_wrong`, then ascending size: `group`, `num_clips`, `num_wrong`, `share` of
        all wrong clips, `mistaken` (the most common mistake: true classes, decided classes and number of clips) and
        `clip_ids` of the wrong clips. Groups without wrong clips are not listed.
    """
    known = ~np.isnan(judged.targets)
    true, decided = (judged.targets > 0.5) & known, (decisions > 0) & known
    wrong = np.flatnonzero((true != decided).any(axis=1))
    sizes = np.bincount(judged.groups, minlength=judged.num_groups)
    errors = np.bincount(judged.groups[wrong], minlength=judged.num_groups)
    order = np.lexsort((sizes, -errors))[:max_groups]
    clip_ids, groups = judged.clips["clip_id"], judged.clips["group"]
    found = []
    for number in order[errors[order] > 0]:
        its = wrong[judged.groups[wrong] == number]
        found.append(
            {
                "group": groups[int(its[0])].as_py(),
                "num_clips": int(sizes[number]),
                "num_wrong": len(its),
                "share": len(its) / len(wrong),
                "mistaken": _most_common_mistake(judged.labels, true[its], decided[its]),
                "clip_ids": clip_ids.take(pa.array(its)).to_pylist(),
            }
        )
    return found


def _most_common_mistake(labels: LabelSpace, true: np.ndarray, decided: np.ndarray) -> dict[str, Any]:
    def named(row: np.ndarray) -> tuple[str, ...]:
        return tuple(labels.names[place] for place in np.flatnonzero(row))

    pairs = Counter((named(one), named(other)) for one, other in zip(true, decided, strict=True))
    (true_names, decided_names), count = pairs.most_common(1)[0]
    return {"true": list(true_names), "decided": list(decided_names), "num_clips": count}


def _badness(interval: Interval) -> tuple[bool, float]:
    """Sort key: slices without an interval come last, the worst of them first."""
    known = [one for one in (interval.high, interval.value) if one is not None]
    return interval.high is None, known[0] if known else np.inf


def _slices(judged: JudgedClips, columns: Sequence[str] | None, min_clips: int) -> Iterator[_Slice]:
    names = [name for name in judged.clips.column_names if name not in OWN]
    for name in columns or ():
        if name not in names:
            raise unknown_name("column", name, names)
    for name in names if columns is None else columns:
        column = judged.clips[name]
        if _why_not(column, min_clips) is None:
            for value, rows in _values(column).items():
                if len(rows) >= min_clips:
                    yield _Slice(name, value, rows)


def _why_not(column: pa.ChunkedArray, min_clips: int) -> str | None:
    """Why a column gives no slices; None if it does."""
    if column.null_count == len(column):
        return "it is empty"
    kind = column.type
    if pa.types.is_nested(kind) and not _is_list_of_strings(kind):
        return f"it is of type {kind}"
    values = _values(column)
    if len(values) < 2:
        return "all clips have the same value"
    if len(values) > MAX_VALUES:
        return f"it has {len(values):,} values, more than {MAX_VALUES}"
    if max(map(len, values.values())) < min_clips:
        return f"no value has {min_clips} clips"
    return None


def _is_list_of_strings(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and pa.types.is_string(kind.value_type)


def _values(column: pa.ChunkedArray) -> dict[str | None, np.ndarray]:
    """The ascending rows of each value, and of None for those without one. A list gives its row several values."""
    if _is_list_of_strings(column.type):
        lists = column.combine_chunks()
        found = _rows_of(pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy())
        empty = pc.fill_null(pc.equal(pc.list_value_length(lists), 0), True).to_numpy(zero_copy_only=False)
        return found | ({None: np.flatnonzero(empty)} if empty.any() else {})
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if is_number and pc.count_distinct(column).as_py() > MAX_VALUES // 4:
        return _quarters(column.cast(pa.float64()).to_numpy())
    return _rows_of(column.cast(pa.string()).combine_chunks(), np.arange(len(column)))


def _rows_of(values: pa.Array, rows: np.ndarray) -> dict[str | None, np.ndarray]:
    encoded = values.dictionary_encode(null_encoding="encode")
    places, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    order = np.argsort(places, kind="stable")
    parts = np.split(rows[order], np.cumsum(np.bincount(places, minlength=len(names)))[:-1])
    found = {name: np.unique(part) for name, part in zip(names, parts, strict=True)}
    return {name: found[name] for name in sorted(found, key=lambda name: (name is None, name or ""))}


def _quarters(numbers: np.ndarray) -> dict[str | None, np.ndarray]:
    known = np.isfinite(numbers)
    edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, NUM_QUANTILES + 1)))
    place = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, max(0, len(edges) - 2))
    found = {
        f"{low:g} to {high:g}": np.flatnonzero(known & (place == number))
        for number, (low, high) in enumerate(itertools.pairwise(edges))
    }
    return found | ({None: np.flatnonzero(~known)} if not known.all() else {})
