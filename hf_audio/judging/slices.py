"""Scores on slices of the data: by each column of metadata, and by group."""

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

OWN = ("clip_id", "group", "duration_s")  # no metadata: every clip's own, and what has modules of its own
MIN_CLIPS = 10  # in a slice, below which its score says nothing
MAX_VALUES = 50  # of a column of texts
NUM_QUANTILES = 4  # that numbers are put into


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
    fewest_clips: int = MIN_CLIPS,
    num_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """How good a model is on the clips of each value of each column, the surely worst first.

    Texts and whole numbers of few values make a slice of each value, other numbers quarters of the clips; of a column
    of lists, a clip is in the slice of every value that it has. Clips without a value are a slice of their own.

    The order is by the upper end of the intervals: a slice of few clips that may be fair lies behind one of many that
    is not. Of 40 slices one lies below the score of all by chance, where intervals are of 95 %.

    Args:
        probabilities, decisions: `[clips, classes]`.
        columns: of the clips' table; by default all that tell clips apart, see `unsliced` for the others.
        fewest_clips: of a slice that is listed.
        num_draws, confidence, seed: of the bootstrap over groups.

    Returns:
        For JSON: `column`, `value` (None of clips that have none), `num_clips`, `num_groups`, `metrics` (an Interval
        each, without ends where a slice is of one group), `rest` (the main metric of the other clips) and `is_below`
        (whether the main metric of all clips lies above the interval).

    Raises:
        InputError: no such column.
    """
    check_draws(num_draws, confidence)
    name, everything = decision_metrics_of(judged.labels)[0], np.arange(len(judged))
    drawn: dict[str, Any] = {"num_draws": num_draws, "confidence": confidence, "seed": seed}
    whole = main_decision_metric(judged, probabilities, decisions, everything)
    found = []
    for one in _slices(judged, columns, fewest_clips):
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


def unsliced(judged: JudgedClips, fewest_clips: int = MIN_CLIPS) -> dict[str, str]:
    """Columns that no slices are made of, and why."""
    return {
        name: _why_not(judged.clips[name], fewest_clips)
        for name in judged.clips.column_names
        if name not in OWN and _why_not(judged.clips[name], fewest_clips)
    }


def worst_groups(judged: JudgedClips, decisions: np.ndarray, most: int = 20) -> list[dict[str, Any]]:
    """The groups that cost the most: songs, speakers or uploads with the most clips that are not all right.

    Returns:
        For JSON, the largest `num_wrong` first and of as many the smaller group: `group`, `num_clips`, `num_wrong`,
        `share` of all wrong clips, `mistaken` (the commonest mistake: classes it has and classes decided, and how many
        clips) and `clip_ids` of the wrong ones. None of them where no clip is wrong.
    """
    known = ~np.isnan(judged.targets)
    true, decided = (judged.targets > 0.5) & known, (decisions > 0) & known
    wrong = np.flatnonzero((true != decided).any(axis=1))
    sizes = np.bincount(judged.groups, minlength=judged.num_groups)
    errors = np.bincount(judged.groups[wrong], minlength=judged.num_groups)
    order = np.lexsort((sizes, -errors))[:most]
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
                "mistaken": _commonest(judged.labels, true[its], decided[its]),
                "clip_ids": clip_ids.take(pa.array(its)).to_pylist(),
            }
        )
    return found


def _commonest(labels: LabelSpace, true: np.ndarray, decided: np.ndarray) -> dict[str, Any]:
    def named(row: np.ndarray) -> tuple[str, ...]:
        return tuple(labels.names[place] for place in np.flatnonzero(row))

    pairs = Counter((named(one), named(other)) for one, other in zip(true, decided, strict=True))
    (has, said), count = pairs.most_common(1)[0]
    return {"true": list(has), "decided": list(said), "num_clips": count}


def _badness(interval: Interval) -> tuple[bool, float]:
    """Slices without an interval come last, the worst of them first."""
    known = [one for one in (interval.high, interval.value) if one is not None]
    return interval.high is None, known[0] if known else np.inf


def _slices(judged: JudgedClips, columns: Sequence[str] | None, fewest_clips: int) -> Iterator[_Slice]:
    names = [name for name in judged.clips.column_names if name not in OWN]
    for name in columns or ():
        if name not in names:
            raise unknown_name("column", name, names)
    for name in names if columns is None else columns:
        column = judged.clips[name]
        if _why_not(column, fewest_clips) is None:
            for value, rows in _values(column).items():
                if len(rows) >= fewest_clips:
                    yield _Slice(name, value, rows)


def _why_not(column: pa.ChunkedArray, fewest_clips: int) -> str | None:
    """Why no slices are made of a column; None where they are."""
    if column.null_count == len(column):
        return "it is empty"
    kind = column.type
    if pa.types.is_nested(kind) and not _is_list_of_texts(kind):
        return f"it is of type {kind}"
    values = _values(column)
    if len(values) < 2:
        return "all clips have the same value"
    if len(values) > MAX_VALUES:
        return f"it has {len(values):,} values, more than {MAX_VALUES}"
    if max(map(len, values.values())) < fewest_clips:
        return f"no value has {fewest_clips} clips"
    return None


def _is_list_of_texts(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and pa.types.is_string(kind.value_type)


def _values(column: pa.ChunkedArray) -> dict[str | None, np.ndarray]:
    """The rows of each value, ascending, and of None those without one; of lists a row may be in several."""
    if _is_list_of_texts(column.type):
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
