"""Tags as text: a table for the terminal, CSV, JSON, JSON lines, Audacity labels, subtitles. Pure functions of Tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hf_audio.data.tables import csv_text
from hf_audio.errors import printable
from hf_audio.tagging.tags import Tags

CSV_COLUMNS = ("file", "part", "start_s", "end_s", "label", "score")
BAR_CHARS = 20
MAX_TABLE_LABELS, MAX_TABLE_SEGMENTS = 10, 20


class Format(NamedTuple):
    """How a result is written: `begin`, the texts of the recordings separated by `between`, `end`.

    Attributes:
        text: makes the text of one recording.
        is_single: whether a file can hold only one recording.
        suffix: suffix of the names of such files.
    """

    text: Callable[[Any], str]
    begin: str = ""
    between: str = ""
    end: str = ""
    is_single: bool = False
    suffix: str = ""


def table(tags: Tags) -> str:
    """A recording's scores as bars, and its segments. Labels and segments that do not fit are only counted."""
    lines = [f"{printable(tags.name) or '-'}  {tags.duration_s:.2f} s"]
    scores = list(tags.scores.items())[:MAX_TABLE_LABELS]
    segments = tags.segments[:MAX_TABLE_SEGMENTS]
    lines += [f"  {score:.3f} {bar(score)} {printable(label)}" for label, score in scores]
    width = len(f"{tags.duration_s:.2f}")
    lines += [
        f"  {one.start_s:>{width}.2f} - {one.end_s:>{width}.2f} s  {one.score:.3f} {printable(one.label)}"
        for one in segments
    ]
    rest = [(len(tags.scores) - len(scores), "labels"), (len(tags.segments) - len(segments), "segments")]
    lines += [f"  and {count:,} more {what}: --format json lists them" for count, what in rest if count]
    return "\n".join(lines) + "\n"


def bar(score: float) -> str:
    """A score from 0 to 1 as a bar of BAR_CHARS characters."""
    return ("#" * round(BAR_CHARS * score)).ljust(BAR_CHARS, ".")


def csv(tags: Tags) -> str:
    """One row per label of the complete recording, and one per segment. No cell is read as a formula."""
    whole = ((tags.name, "recording", 0.0, tags.duration_s, label, score) for label, score in tags.scores.items())
    parts = ((tags.name, "segment", one.start_s, one.end_s, one.label, one.score) for one in tags.segments)
    return csv_text(_rounded(row) for row in (*whole, *parts))


def json(tags: Tags) -> str:
    """The recording, its scores, segments and timeline as one JSON object."""
    return tags.to_json()


def jsonl(tags: Tags) -> str:
    """The same JSON object on one line."""
    return tags.to_json() + "\n"


def audacity(tags: Tags) -> str:
    """A label track for Audacity: start, end and label of each segment, separated by tabs."""
    return "".join(f"{one.start_s:.6f}\t{one.end_s:.6f}\t{_one_line(one.label)}\n" for one in tags.segments)


def srt(tags: Tags) -> str:
    """Subtitles that show each segment's label and score during the segment."""
    blocks = [
        f"{number}\n{_clock(one.start_s)} --> {_clock(one.end_s)}\n"
        f"{_one_line(one.label).replace('-->', '->')} ({one.score:.2f})\n"
        for number, one in enumerate(tags.segments, start=1)
    ]
    return "\n".join(blocks)


FORMATS = {
    "table": Format(table, between="\n"),
    "csv": Format(csv, begin=csv_text([CSV_COLUMNS])),
    "json": Format(json, begin="[\n", between=",\n", end="\n]\n"),
    "jsonl": Format(jsonl),
    "audacity": Format(audacity, is_single=True, suffix=".txt"),
    "srt": Format(srt, is_single=True, suffix=".srt"),
}


def _rounded(row: tuple) -> list:
    """A row of a CSV file: times in seconds with three decimals, scores with six."""
    name, part, start_s, end_s, label, score = row
    return [name, part, f"{start_s:.3f}", f"{end_s:.3f}", label, f"{score:.6f}"]


def _clock(time_s: float) -> str:
    """The time format of SRT: 00:00:01,250."""
    seconds, milliseconds = divmod(round(time_s * 1000), 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{milliseconds:03}"


def _one_line(label: str) -> str:
    return printable(label).replace("\t", " ").strip() or "-"
