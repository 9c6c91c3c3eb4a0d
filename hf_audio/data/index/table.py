"""The index: a table with one row per clip, which is all that later stages know about a corpus.

A million rows are common, so code that reads all of them works on columns (`hf_audio.data.index.columns`). `Clip` is
one row, for writing tables and for reading the audio of clips.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa

SPLITS = ("train", "validation", "test")


class Recording(NamedTuple):
    """The location of a clip's audio: a file, or a row of a file that holds many recordings.

    Attributes:
        path: the path of a file on this machine, or its address on the Hub, `hf://datasets/USER/NAME@COMMIT/FILE`.
        row: number of the recording in a Parquet, Arrow or tar file, from 0; None if the file is one recording.
        field: the column of a Parquet or Arrow file, or the suffix of tar members, with the audio; else None.
    """

    path: str
    row: int | None = None
    field: str | None = None


@dataclass(frozen=True)
class MixPart:
    """A clip as a part of a mixture; `hf_audio.data.recordings.mixing` adds the parts.

    Attributes:
        clip_id, path, start_s, end_s: those of the clip.
        gain_db: its level in the mixture, relative to the first part.
        late: its delay, as a share of a window, or of a mixture shorter than a window.
        skip: position of the part of a longer clip that is used, from 0 (its beginning) to 1 (its end).
    """

    clip_id: str
    path: str
    start_s: float = 0.0
    end_s: float | None = None
    gain_db: float = 0.0
    late: float = 0.0
    skip: float = 0.0


PART = pa.struct([(one.name, pa.float64() if "float" in one.type else pa.string()) for one in fields(MixPart)])
# Columns of every index, named after `Clip`'s attributes (`audio` is `path`); all other columns are metadata
CLIP_COLUMNS = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("audio", pa.string()),
        pa.field("audio_row", pa.int64()),
        pa.field("audio_field", pa.string()),
        pa.field("labels", pa.list_(pa.string())),
        pa.field("unknown", pa.list_(pa.string())),
        pa.field("group", pa.string()),
        pa.field("split", pa.string()),
        pa.field("start_s", pa.float64()),
        pa.field("end_s", pa.float64()),
    ]
)
# Present if there are mixtures; null or empty for all other clips
MIXTURE_COLUMNS = pa.schema(
    [
        pa.field("parts", pa.list_(PART)),
        pa.field("match", pa.string()),
        pa.field("part_groups", pa.list_(pa.string())),
    ]
)
OWN_COLUMNS = (*CLIP_COLUMNS.names, *MIXTURE_COLUMNS.names)
RENAMED = "metadata_"  # prefix of metadata with the name of one of these columns
ROWS_AT_A_TIME = 1 << 14  # held as Python objects


@dataclass(frozen=True, slots=True)
class Clip:
    """One labeled stretch of a recording: a row of the index.

    Attributes:
        path: the audio file, or the container that holds it. Any path-like object is accepted and stored as a string.
        audio_row, audio_field: place in a container, see `Recording`; None if the file is one recording.
        labels: names of its classes; an empty tuple is valid in multi-label tasks.
        group: song, recording or speaker, which must never be in two splits. A mixture is a group of its own.
        start_s, end_s: the stretch of the file in seconds; `end_s` None reads to its end.
        split: "train", "validation" or "test" if the corpus has official splits, else None.
        clip_id: a name that is unique in the corpus and the same on every machine (a path relative to the corpus root).
        metadata: other facts that are copied to the feature dataset (genre, drums ...): strings or numbers.
        unknown: names of classes that are unknown for this clip (partial labels, multi-label only): neither present
            nor absent. A class in neither `labels` nor `unknown` is known to be absent.
        parts: the parts of a mixture. A mixture has no file of its own: its path is "".
        match: how the parts of a mixture are matched: "none", "tempo" or "pitch".
        part_groups: the group of each part of a mixture, which must not be in any other split than the mixture.
    """

    path: str
    labels: tuple[str, ...]
    group: str
    clip_id: str
    start_s: float = 0.0
    end_s: float | None = None
    split: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    parts: tuple[MixPart, ...] = ()
    match: str = "none"
    part_groups: tuple[str, ...] = ()
    audio_row: int | None = None
    audio_field: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))

    @property
    def recording(self) -> Recording:
        """The location of its audio."""
        return Recording(self.path, self.audio_row, self.audio_field)

    @property
    def is_group_of_its_file(self) -> bool:
        """Whether the group is only the name of the clip's file, because no group is known."""
        return self.clip_id == self.group or self.clip_id.startswith(f"{self.group}#")

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that must never be in two splits: the clip's group, or those of all parts of a mixture."""
        return self.part_groups or (self.group,)


def index_of(clips: Iterable[Clip], like: pa.Schema | None = None) -> pa.Table:
    """The table of clips, in their order: CLIP_COLUMNS, MIXTURE_COLUMNS if there are mixtures, and metadata.

    A metadata column has numbers if every value is written like a number (120, 0.5, but not 007), else strings. Empty
    values are null.

    Args:
        clips: the clips, read one after the other, so that they need not be in memory all at once.
        like: schema of an index that these clips will be added to; metadata gets its types.
    """
    rows, tables = iter(clips), [CLIP_COLUMNS.empty_table()]
    while some := list(islice(rows, ROWS_AT_A_TIME)):
        tables.append(_table(some))
    table = pa.concat_tables(tables, promote_options="default")
    for place, name in enumerate(table.column_names):
        if name not in OWN_COLUMNS:
            kind = like.field(name).type if like else type_of_texts(table[name])
            table = table.set_column(place, name, table[name].cast(kind))
    return table


def rows_of(clips: pa.Table) -> Iterator[Clip]:
    """The rows of an index, in order; metadata that is null is left out."""
    facts = metadata_columns(clips)
    for batch in clips.to_batches(max_chunksize=ROWS_AT_A_TIME):
        for row in batch.to_pylist():
            its = {name: row[column] for column, name in facts.items() if row[column] is not None}
            yield Clip(
                path=row["audio"],
                audio_row=row["audio_row"],
                audio_field=row["audio_field"],
                labels=tuple(row["labels"]),
                group=row["group"],
                clip_id=row["clip_id"],
                start_s=row["start_s"],
                end_s=row["end_s"],
                split=row["split"],
                metadata=its,
                unknown=tuple(row["unknown"]),
                parts=tuple(MixPart(**part) for part in row.get("parts") or ()),
                match=row.get("match") or "none",
                part_groups=tuple(row.get("part_groups") or ()),
            )


def metadata_columns(clips: pa.Table) -> dict[str, str]:
    """The metadata columns, each with the name of its fact."""
    return {name: name.removeprefix(RENAMED) for name in clips.column_names if name not in OWN_COLUMNS}


def metadata_column(fact: str, own: Collection[str] = OWN_COLUMNS) -> str:
    """The column of a fact: its name, with a prefix if it is one of `own` or looks like a renamed one."""
    return RENAMED + fact if fact in own or fact.startswith(RENAMED) else fact


def _table(clips: list[Clip]) -> pa.Table:
    """A few clips as a table; metadata as strings."""
    columns = {
        name: [getattr(clip, "path" if name == "audio" else name) for clip in clips] for name in CLIP_COLUMNS.names
    }
    schema = CLIP_COLUMNS
    if any(clip.parts for clip in clips):
        schema = pa.unify_schemas([CLIP_COLUMNS, MIXTURE_COLUMNS])
        columns["parts"] = [[_facts(part) for part in clip.parts] or None for clip in clips]
        columns["match"] = [clip.match if clip.parts else None for clip in clips]
        columns["part_groups"] = [clip.part_groups or None for clip in clips]
    table = pa.table(columns, schema)
    for key in dict.fromkeys(key for clip in clips for key in clip.metadata):
        values = [clip.metadata.get(key) for clip in clips]
        texts = [None if value in (None, "") else str(value) for value in values]
        table = table.append_column(metadata_column(key), pa.array(texts, pa.string()))
    return table


def _facts(part: MixPart) -> dict[str, Any]:
    return {one.name: getattr(part, one.name) for one in fields(part)}


def type_of_texts(texts: pa.ChunkedArray) -> pa.DataType:
    """int64 or float64 if every text is such a number and converts back to the same text; else string."""
    values = texts.unique().drop_null().to_pylist()
    if values and all(_is_written_as(int, value) and abs(int(value)) < 1 << 63 for value in values):
        return pa.int64()
    if values and all(_is_written_as(float, value) or _is_written_as(int, value) for value in values):
        return pa.float64()
    return pa.string()


def _is_written_as(kind: type, text: str) -> bool:
    try:
        return str(number := kind(text)) == text and number - number == 0  # false for infinity and NaN
    except (ValueError, OverflowError):
        return False


@dataclass(frozen=True)
class CorpusCard:
    """The facts that a reader needs before using a corpus.

    Attributes:
        name: human-readable title.
        license: short license name as its authors give it, e.g. "CC BY-NC-SA 3.0"; "" for several corpora as one, with
            the licenses in `others`.
        may_redistribute: whether anyone may publish its audio, or features computed from it.
        citation: how its authors ask to be cited.
        homepage: where it is described and can be downloaded.
        protocol: how models are usually evaluated on it, in one sentence.
        problem_type: transformers' `problem_type`; None to derive it from the labels.
        label_names: its classes in their official order; None to derive them from the labels.
        others: other corpora that some of the clips come from, such as negatives, each under its own license.
        groups_known: whether groups are known; if not, every file is a group, and nothing keeps recordings of one
            singer, song or session in one split.
        understood: how a folder, table or dataset was read, in one paragraph.
        source, revision: the dataset on the Hub and its commit, or the name of the folder, that the recordings come
            from; empty for files in a known layout.
    """

    name: str
    license: str
    may_redistribute: bool
    citation: str = ""
    homepage: str = ""
    protocol: str = ""
    problem_type: str | None = None
    label_names: tuple[str, ...] | None = None
    others: tuple[CorpusCard, ...] = ()
    groups_known: bool = True
    understood: str = ""
    source: str = ""
    revision: str = ""
