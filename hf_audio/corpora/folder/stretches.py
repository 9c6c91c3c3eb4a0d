"""The stretch of its file that each row of a table describes, in seconds, from columns with various names and units."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from hf_audio.corpora.folder.column_names import PAIRS_OF_TIMES, counts_no_seconds, plain, time_column
from hf_audio.corpora.folder.label_cells import is_nothing
from hf_audio.corpora.folder.table_files import Table
from hf_audio.data.recordings.audio import AudioError, probe
from hf_audio.data.tables import Row, read_stretch
from hf_audio.errors import InputError

NUM_COMPARED = 50  # rows whose stretches are compared with the lengths of their files
MAX_OUTSIDE = 0.5  # share of them that may be outside their files, which may be truncated
FREE_S = 0.5  # seconds by which a stretch may exceed its file, because of rounding


class TimeColumns(NamedTuple):
    """Columns for start, end and length of a stretch, each with its unit in seconds; None if missing."""

    start: tuple[str, float] | None = None
    end: tuple[str, float] | None = None
    duration: tuple[str, float] | None = None

    @property
    def columns(self) -> list[str]:
        return [column[0] for column in self if column]

    @property
    def told(self) -> str:
        """How the columns are read, if they are not called start_s and end_s."""
        words = ("the start", "the end", "the length")
        unit = {1.0: "seconds", 0.001: "milliseconds", 1e-6: "microseconds", 60.0: "minutes"}
        return ", ".join(
            f"{column[0]} {word} in {unit[column[1]]}"
            for word, column in zip(words, self, strict=True)
            if column and column[0] not in ("start_s", "end_s")
        )


class Stretch(NamedTuple):
    """A stretch of a file in seconds, and a suffix for its clip's name; None, None, "" is the whole file."""

    start_s: float | None
    end_s: float | None
    name: str


def time_columns(table: Table, taken: Collection[str]) -> TimeColumns:
    """The columns with the times of stretches.

    Raises:
        InputError: times are in samples or frames, or two columns have the same meaning.
    """
    found: dict[str, tuple[str, float]] = {}
    for column in (column for column in table.columns if column not in taken):
        if counts_no_seconds(column):
            raise InputError(
                f"{table.path} has a column {column!r}, which gives times of stretches but not in seconds; convert it "
                "to columns start_s and end_s, or rename it to something else to read whole files"
            )
        meaning = time_column(column)
        if not meaning:
            continue
        word, unit = meaning
        first = found.get(word)
        if first and {first[0], column} & {"start_s", "end_s"}:
            found[word] = (first[0] if first[0].endswith("_s") else column, 1.0)
        elif first:
            raise InputError(
                f"{table.path} has two columns for the {word}, {first[0]} and {column}; rename one of them"
            )
        else:
            found[word] = (column, unit)
    offset = found.pop("offset", None)  # DCASE's is an end, librosa's a start
    if offset:
        found.setdefault("end" if "start" in found else "start", offset)
    if "start" not in found and "end" not in found:
        found |= _pair(table, taken)
    if "start" not in found and "end" not in found:
        return TimeColumns()  # a duration without start and end is metadata of the file
    return TimeColumns(found.get("start"), found.get("end"), None if "end" in found else found.get("duration"))


def _pair(table: Table, taken: Collection[str]) -> dict[str, tuple[str, float]]:
    """Two columns of numbers that only mean start and end as a pair, such as from and to."""
    named = {plain(column): column for column in table.columns if column not in taken}
    for pair in PAIRS_OF_TIMES:
        columns = [named[name] for name in pair if name in named]
        if len(columns) == 2 and all(_is_number(value) for column in columns for value in table.values(column)):
            return {word: (column, 1.0) for word, column in zip(("start", "end"), columns, strict=True)}
    return {}


def _is_number(written: str) -> bool:
    try:
        return is_nothing(written) or float(written.replace(",", ".")) >= 0
    except ValueError:
        return False


def stretches(table: Table, columns: TimeColumns, files: Sequence[str]) -> list[Stretch]:
    """The stretch of each row.

    Raises:
        InputError: not a number, an end that is not after its start, or stretches outside their files.
    """
    found = [_stretch(table, line, row, columns) for line, row in table.rows]
    if columns.told:
        _check_inside(table, columns, found, files)
    return found


def _stretch(table: Table, line: int, row: Row, columns: TimeColumns) -> Stretch:
    seconds = {
        name: "" if column is None or is_nothing(row[column[0]]) else _in_seconds(row[column[0]], column[1])
        for name, column in zip(("start_s", "end_s", "duration_s"), columns, strict=True)
    }
    start_s, end_s = read_stretch(table.path, line, seconds)
    duration_s, _ = read_stretch(table.path, line, {"start_s": seconds["duration_s"]})
    if duration_s is not None:
        if duration_s <= 0:
            raise InputError(f"{table.path} line {line}: the length of the stretch is 0; expected seconds above 0")
        end_s = (start_s or 0.0) + duration_s
    written = [row[column[0]] if column else "" for column in (columns.start, columns.end or columns.duration)]
    return Stretch(start_s, end_s, "" if start_s is None and end_s is None else f"#{written[0]}-{written[1]}")


def _in_seconds(written: str, unit: float) -> str:
    """A number converted to seconds, as text; other text is returned unchanged, because reading it raises the error."""
    if unit == 1.0:
        return written
    try:
        return repr(unit * float(written.replace(",", ".")))
    except ValueError:
        return written


def _check_inside(table: Table, columns: TimeColumns, found: Sequence[Stretch], files: Sequence[str]) -> None:
    """Refuses stretches outside their files: their times are in another unit, or those of the original recording."""
    compared = range(0, len(found), max(1, len(found) // NUM_COMPARED))
    outside = [
        (number, length_s) for number in compared if (length_s := _length_if_outside(found[number], files[number]))
    ]
    if len(outside) > MAX_OUTSIDE * len(compared):
        number, length_s = outside[0]
        line, stretch = table.rows[number][0], found[number]
        at_s = stretch.end_s if stretch.end_s is not None else stretch.start_s
        raise InputError(
            f"{table.path} line {line}: read as {columns.told}, the stretch ends at {at_s:g} s, but its file ends "
            f"at {length_s:.2f} s; rename the columns with their unit (start_s, end_s or start_ms, end_ms), or to "
            "something else to read whole files"
        )


def _length_if_outside(stretch: Stretch, file: str) -> float | None:
    try:
        length_s = probe(file).duration_s
    except AudioError:
        return None
    late_s = max(stretch.end_s or 0.0, (stretch.start_s or 0.0) + FREE_S)
    return length_s if late_s > length_s + FREE_S else None
