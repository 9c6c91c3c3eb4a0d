"""What people call the columns of a table of recordings, whatever their case, spaces and underscores."""

from __future__ import annotations

import re

# Earlier ones are tried before later ones
PATHS = (
    "path", "filepath", "filename", "file", "fname", "audio", "audiofile", "audiopath", "audiofilename",
    "audiofilepath", "wav", "wavfile", "wavpath", "wavfilename", "soundfile", "slicefilename", "clipfilename",
    "relativepath", "relpath", "fullpath", "absolutepath", "location", "uri", "sound", "clip", "track",
    "recording", "id", "name",
)  # fmt: skip
LABELS = (
    "label", "class", "category", "labelname", "classname", "categoryname", "classlabel", "targetname", "genre",
    "genretop", "instrument", "species", "emotion", "event", "eventlabel", "scene", "scenelabel", "word",
    "keyword", "command", "digit", "tag", "primarylabel", "annotation", "target", "classid", "labelid",
    "classidx", "labelidx", "y",
)  # fmt: skip
SEVERAL_LABELS = (
    "labels", "classes", "categories", "labelnames", "classnames", "genres", "instruments", "targets", "tags",
    "events", "annotations", "labellist",
)  # fmt: skip
GROUPS = ("group", "groupid", "groupname", "groups")
SPLITS = ("split", "splits", "splitname")
MORE_SPLITS = (
    "fold",
    "folds",
    "foldid",
    "foldnumber",
    "foldnum",
    "cvfold",
    "subset",
    "partition",
    "set",
    "usage",
    "phase",
)
_GROUPING = re.compile(
    "(speakers?|spk|singer|artist|subject|patient|participant|performer|player|musician|actor|person|user|client|donor|"
    "individual|animal|bird|recordist|composer|album|session|recording|source|src|song|piece|work|video|film|movie|"
    "episode|show|track|station|site|device)(file|filename)?(id|ids|title|name|number|num|no|nr|code|idx|index)?"
)
_UNIT = {"": 1.0, "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0}
_UNIT |= dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), 0.001)
_TIME = re.compile(
    "(?P<word>start|begin|beginning|onset|offset|end|ending|stop|duration|dur)(?:time|at|point|offset)?"
    f"(?P<unit>{'|'.join(sorted(_UNIT, key=len, reverse=True))})"
)
_TIME_FIRST = re.compile("(?:time|t)(?P<word>start|begin|onset|offset|end|stop)(?P<unit>s|sec|seconds|ms|)")
_NOT_SECONDS = re.compile("(start|begin|onset|offset|end|stop)(samples?|frames?|index|idx|bytes?|beats?|bars?)")


def plain(column: str) -> str:
    """A column's name without what spellings differ in: "File Name", "file_name" and "FileName" are "filename"."""
    return re.sub(r"[^\w]|_", "", column.casefold())


def is_grouping(column: str) -> bool:
    """Whether a column names what recordings have in common: a speaker, a song, a session ..."""
    return bool(_GROUPING.fullmatch(plain(column)))


def time_column(column: str) -> tuple[str, float] | None:
    """What a column of times says ("start", "end", "offset" or "duration") and how many seconds its unit is."""
    found = _TIME.fullmatch(plain(column)) or _TIME_FIRST.fullmatch(plain(column))
    if not found:
        return None
    word = {"begin": "start", "beginning": "start", "onset": "start", "ending": "end", "stop": "end", "dur": "duration"}
    return word.get(found["word"], found["word"]), _UNIT[found["unit"]]


def counts_no_seconds(column: str) -> bool:
    """Whether a column says where a stretch lies, but in samples, frames or beats."""
    return bool(_NOT_SECONDS.fullmatch(plain(column)))
