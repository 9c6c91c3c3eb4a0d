"""The other facts about each row: its name, its stretch of the recording, and metadata in typed columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Features

from hf_audio.corpora._dataset.columns import is_list
from hf_audio.corpora._dataset.place import Place
from hf_audio.corpora.folder.column_names import PATHS, counts_no_seconds, plain, time_column
from hf_audio.corpora.folder.table_clips import is_of_a_machine
from hf_audio.data.index.table import OWN_COLUMNS, RENAMED
from hf_audio.data.index.understanding import some
from hf_audio.errors import InputError

STRETCH = ("start_s", "end_s")
MAX_NAME = 500  # characters of the name of a recording
_LIKE_A_PATH = r"""(?:^|[\s"'`()\[\]{}<>,;|=])(?:/|file://|[A-Za-z]:[\\/]|\\\\)"""


def single_values(features: Features, values: pa.Table) -> pa.Table:
    """The columns of single values as strings, int64 or float64; a ClassLabel as its names."""
    columns = {}
    for name in values.column_names:
        if not is_list(features[name]):
            columns[name] = _single(features[name], values[name])
    return pa.table(columns) if columns else values.select([])


def clip_ids(places: pa.Table, values: pa.Table, splits: pa.Array, rows: np.ndarray) -> tuple[pa.Array, str]:
    """A unique name for each row, the same on every machine, and where it comes from.

    It comes from the column clip_id or from the recording's file name. A row without that name is named by its split
    and its row number in that split; so are all rows if a name is not unique.

    Args:
        places: locations and file names of the recordings.
        values: the columns of single values.
        splits: the dataset's own name for the split of each row.
        rows: the number of each row in that split, from 0.
    """
    numbers = pa.array([f"{row:06d}" for row in rows.tolist()], pa.string())
    by_row = pc.binary_join_element_wise(splits, numbers, "/")
    for names, told in _possible_names(places, values):
        nameless = pc.equal(pc.utf8_trim_whitespace(pc.fill_null(names, "")), "").combine_chunks()
        named = pc.if_else(nameless, by_row, names.combine_chunks())
        without = nameless.true_count
        if without < len(names) and _are_distinct(named):
            return named, f"{told} ({without:,} without one are named by split and row)" if without else told
    return by_row, "split and row"


def _possible_names(places: pa.Table, values: pa.Table) -> Iterator[tuple[pa.ChunkedArray, str]]:
    """Candidates for the names of rows, the best first, each with its origin."""
    if "clip_id" in values.column_names:
        yield values["clip_id"].cast(pa.string()), "column clip_id"
    yield _last_parts(places["name"]), "file name"
    for name in values.column_names:
        if plain(name) in PATHS and pa.types.is_string(values[name].type):
            yield _last_parts(values[name]), f"column {name}"


def file_ids(names: pa.ChunkedArray, start_s: pa.Array, end_s: pa.Array, place: Place) -> pa.Array:
    """The paths of files as names of rows, with the stretch if a file has several rows.

    Raises:
        InputError: a stretch of a file is listed twice.
    """
    names = names.combine_chunks()
    if pc.count_distinct(names).as_py() == len(names):
        return names
    ends = pc.fill_null(end_s.cast(pa.string()), "")
    parts = pc.binary_join_element_wise(start_s.cast(pa.string()), ends, "-")
    found = pc.binary_join_element_wise(names, parts, "#")
    counts = pc.value_counts(found)
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise InputError(
            f"{place.name} lists {twice[0].as_py()!r} twice; give several labels of one clip in one row, or "
            "distinguish stretches by start_s and end_s"
        )
    return found


def stretches(values: pa.Table, place: Place) -> tuple[pa.Array, pa.Array]:
    """start_s and end_s of each row in seconds, by default 0 and null.

    Raises:
        InputError: a value is not in seconds, or an end is not after its start.
    """
    number = len(values)
    start = _seconds(values, "start_s", place) if "start_s" in values.column_names else pa.nulls(number, pa.float64())
    end = _seconds(values, "end_s", place) if "end_s" in values.column_names else pa.nulls(number, pa.float64())
    start = pc.fill_null(start, 0.0)
    wrong = np.flatnonzero(pc.fill_null(pc.less_equal(end, start), False).to_numpy(zero_copy_only=False))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{place.name} row {row:,}: end_s {end[row].as_py():g} is not after start_s {start[row].as_py():g}"
        )
    return start, end


def odd_times(names: Collection[str]) -> str:
    """A remark on columns that look like start and end times but are not called start_s and end_s."""
    found = [
        name for name in names if (time_column(name) or ("",))[0] not in ("", "duration") or counts_no_seconds(name)
    ]
    if not found:
        return ""
    return f"column {some(found)} may contain times of stretches, but only start_s and end_s, in seconds, are used"


def metadata(values: pa.Table, columns: Sequence[str]) -> tuple[dict[str, pa.ChunkedArray], list[str]]:
    """The columns to keep as metadata, and columns of local file paths, which are dropped."""
    kept, paths = {}, []
    for name in columns:
        if pa.types.is_string(values[name].type) and _has_machine_paths(values[name]):
            paths.append(name)
        elif values[name].null_count < len(values):
            kept[RENAMED + name if name in OWN_COLUMNS else name] = values[name]
    return kept, paths


def _has_machine_paths(texts: pa.ChunkedArray) -> bool:
    """Whether a column contains local file paths; a regular expression preselects candidates."""
    different = texts.unique()
    like_paths = different.filter(pc.match_substring_regex(different, _LIKE_A_PATH))
    return any(map(is_of_a_machine, like_paths.to_pylist()))


def _single(feature: object, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if isinstance(feature, ClassLabel) and pa.types.is_integer(kind):
        names = [*map(str, feature.names or ())]
        known = pc.and_(pc.greater_equal(column, 0), pc.less(column, len(names)))
        return pa.chunked_array([pa.array(names, pa.string()).take(pc.if_else(known, column, None).combine_chunks())])
    if pa.types.is_integer(kind):
        return column.cast(pa.int64(), safe=False)
    if pa.types.is_floating(kind):
        numbers = column.cast(pa.float64())
        return pc.if_else(pc.is_finite(numbers), numbers, None)
    texts = column.cast(pa.string())
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _last_parts(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.replace_substring_regex(paths.cast(pa.string()), r"^.*[/\\]", "")


def _are_distinct(names: pa.Array) -> bool:
    """Whether every row has a unique name, and none is too long."""
    return pc.count_distinct(names).as_py() == len(names) and pc.max(pc.utf8_length(names)).as_py() <= MAX_NAME


def _seconds(values: pa.Table, name: str, place: Place) -> pa.Array:
    try:
        seconds = values[name].cast(pa.float64()).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"{place.name}: column {name} does not contain times in seconds; rename or fix it") from None
    wrong = pc.less(seconds, 0.0)
    if pc.any(wrong).as_py():
        row = pc.index(wrong, True).as_py()
        raise InputError(f"{place.name} row {row:,}: {name} {seconds[row].as_py():g} is not a number of seconds")
    return seconds
