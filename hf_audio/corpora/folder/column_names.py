"""Common names of columns in tables of recordings, regardless of case, spaces and underscores."""

from __future__ import annotations

import re

# Earlier names have priority
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
    "narrator|reader|interviewee|child|infant|baby|student|caller|contributor|uploader|band|ensemble|orchestra|"
    "individual|animal|bird|recordist|composer|album|session|recording|source|src|song|piece|work|video|film|movie|"
    "youtube|yt|freesound|fs|original|parent|concert|performance|podcast|lecture|meeting|conversation|dialogue|"
    "episode|show|track|station|site|device|room|house|household|city)(file|filename)?(id|ids|title|name|number|num|no|nr|code|idx|index)?"
)
_UNIT = {"": 1.0, "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0}
_UNIT |= dict.fromkeys(("us", "usec", "microseconds"), 1e-6) | dict.fromkeys(("min", "mins", "minutes"), 60.0)
_UNIT |= dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), 0.001)
_TIME = re.compile(
    "(?:segment|seg|clip|event|call|sound|audio|utterance|utt|slice|window|annotation|interval)?"
    "(?P<word>start|begin|beginning|onset|offset|end|ending|stop|duration|dur)(?:time|at|point|offset)?"
    f"(?P<unit>{'|'.join(sorted(_UNIT, key=len, reverse=True))})"
)
_TIME_FIRST = re.compile("(?:time|t)(?P<word>start|begin|onset|offset|end|stop)(?P<unit>s|sec|seconds|ms|)")
PAIRS_OF_TIMES = (
    ("from", "to"),
    ("xmin", "xmax"),
    ("tmin", "tmax"),
    ("mintime", "maxtime"),
    ("t0", "t1"),
    ("t1", "t2"),
)
_ONE_SPLIT = re.compile(
    "is(intraining|intest|intrain|train|training|test|testing|val|valid|validation|dev|eval|holdout)(set)?"
)
_NOT_SECONDS = re.compile("(start|begin|onset|offset|end|stop)(samples?|frames?|index|idx|bytes?|beats?|bars?)")


def plain(column: str) -> str:
    """A column's name without case, spaces and underscores: "File Name", "file_name", "FileName" → "filename"."""
    return re.sub(r"[^\w]|_", "", column.casefold())


def is_grouping(column: str) -> bool:
    """Whether a column's name is that of a group: speaker, song, session ..."""
    return bool(_GROUPING.fullmatch(plain(column)))


def is_named_like_a_group(folder: str) -> bool:
    """Whether a folder's name is that of a numbered group: "Actor_01", "session 2"."""
    word, number = re.fullmatch(r"(.*?)(\d*)", plain(folder)).groups()
    return bool(number) and bool(_GROUPING.fullmatch(word))


def time_column(column: str) -> tuple[str, float] | None:
    """The meaning of a column of times ("start", "end", "offset" or "duration") and its unit in seconds."""
    found = _TIME.fullmatch(plain(column)) or _TIME_FIRST.fullmatch(plain(column))
    if not found:
        return None
    word = {"begin": "start", "beginning": "start", "onset": "start", "ending": "end", "stop": "end", "dur": "duration"}
    return word.get(found["word"], found["word"]), _UNIT[found["unit"]]


def says_one_split(column: str) -> bool:
    """Whether a column says yes or no for one split: "is_test"."""
    return bool(_ONE_SPLIT.fullmatch(plain(column)))


def is_an_identity(column: str) -> bool:
    """Whether a column's name is that of an identifier: "dog_id", "hiveID"."""
    return bool(re.fullmatch(r".+(_|\s|-)(id|ID|Id|no|nr|number)|.*[a-z](ID|Id)", column.strip()))


def counts_no_seconds(column: str) -> bool:
    """Whether a column has start or end times in samples, frames or beats."""
    return bool(_NOT_SECONDS.fullmatch(plain(column)))
