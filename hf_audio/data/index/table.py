"""The index: what a corpus is to everything that comes after it: a table with a row for each clip.

A million rows are common, so what looks at all of them looks at columns (`hf_audio.data.index.columns`); `Clip` is one
row, to write tables by and to read what is to be heard.
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
    """Where the sound of a clip is: a file, or a place in a file that holds many recordings.

    Attributes:
        path: of a file on this machine, or its address on the Hub, `hf://datasets/USER/NAME@COMMIT/FILE`.
        row: which of the recordings of a Parquet, Arrow or tar file, from 0; None where the file is one recording.
        field: the column of a Parquet or Arrow file, or the suffix of a tar's members, that holds the sound; else None.
    """

    path: str
    row: int | None = None
    field: str | None = None


@dataclass(frozen=True)
class MixPart:
    """A clip as it sounds in a mixture; see `hf_audio.data.recordings.mixing` for how they are put together.

    Attributes:
        clip_id, path, start_s, end_s: of the clip.
        gain_db: its level in the mixture, beside the others'.
        late: it begins so late, as a share of a window, or of a mixture shorter than a window.
        skip: where in a longer clip the stretch lies that is heard, from 0 (its beginning) to 1 (its end).
    """

    clip_id: str
    path: str
    start_s: float = 0.0
    end_s: float | None = None
    gain_db: float = 0.0
    late: float = 0.0
    skip: float = 0.0


PART = pa.struct([(one.name, pa.float64() if "float" in one.type else pa.string()) for one in fields(MixPart)])
# Columns of every index, by the names of `Clip`'s attributes where they differ; all others are metadata
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
# where there are mixtures; null or empty for all other clips
MIXTURE_COLUMNS = pa.schema(
    [
        pa.field("parts", pa.list_(PART)),
        pa.field("match", pa.string()),
        pa.field("part_groups", pa.list_(pa.string())),
    ]
)
OWN_COLUMNS = (*CLIP_COLUMNS.names, *MIXTURE_COLUMNS.names)
RENAMED = "metadata_"  # before metadata that are called like one of them
ROWS_AT_A_TIME = 1 << 14  # as Python's objects


@dataclass(frozen=True, slots=True)
class Clip:
    """One labeled stretch of a recording: a row of the index.

    Attributes:
        path: the audio file, or the file that holds it among others. Any path is taken and kept as a string.
        audio_row, audio_field: where in that file, see `Recording`; None where it is one recording.
        labels: names of its classes; none at all is a valid multi-label answer.
        group: song, recording or speaker: what must never be in two splits. A mixture is a group of its own.
        start_s, end_s: the stretch of the file in seconds; `end_s` None reads to its end.
        split: "train", "validation" or "test" where the corpus has an official one, else None.
        clip_id: name that is unique in the corpus and the same on every machine (a path relative to the corpus root).
        metadata: free facts that travel to the feature dataset (genre, drums ...): texts or numbers.
        unknown: names of classes about which nothing is known for this clip, where labels are partial (multi-label
            only): neither present nor absent. A class in neither `labels` nor `unknown` is known to be absent.
        parts: what a mixture is made of. It has no file of its own: its path is "".
        match: what the parts of a mixture are brought to agree in: "none", "tempo" or "pitch".
        part_groups: the group of each part of a mixture: what must never be in another split than it.
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
        """Where its sound is."""
        return Recording(self.path, self.audio_row, self.audio_field)

    @property
    def is_group_of_its_file(self) -> bool:
        """Whether the group is but the name of the clip's own file, where none is known."""
        return self.clip_id == self.group or self.clip_id.startswith(f"{self.group}#")

    @property
    def groups(self) -> tuple[str, ...]:
        """What must never be in two splits: the clip's group, or those of all parts of a mixture."""
        return self.part_groups or (self.group,)


def index_of(clips: Iterable[Clip], like: pa.Schema | None = None) -> pa.Table:
    """The table of clips, in their order: CLIP_COLUMNS, MIXTURE_COLUMNS where there are any, and metadata.

    Metadata are numbers where every one that is given is written as a number is (120, 0.5, and not 007), else texts;
    what is empty is null.

    Args:
        clips: taken as they come, so that there need not be all of them at once.
        like: of an index that these clips will be added to: their metadata get its types.
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
    """The rows of an index, in their order; metadata that are null are left out."""
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
    """The columns of metadata, and the name that each fact has."""
    return {name: name.removeprefix(RENAMED) for name in clips.column_names if name not in OWN_COLUMNS}


def metadata_column(fact: str, own: Collection[str] = OWN_COLUMNS) -> str:
    """The column of a fact: its name, unless that is one of `own` or would be taken for one that was renamed."""
    return RENAMED + fact if fact in own or fact.startswith(RENAMED) else fact


def _table(clips: list[Clip]) -> pa.Table:
    """A few clips as a table; metadata as texts."""
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
    """int64 or float64 where each text is written as such numbers are, so that nothing is lost; else string."""
    values = texts.unique().drop_null().to_pylist()
    if values and all(_is_written_as(int, value) and abs(int(value)) < 1 << 63 for value in values):
        return pa.int64()
    if values and all(_is_written_as(float, value) or _is_written_as(int, value) for value in values):
        return pa.float64()
    return pa.string()


def _is_written_as(kind: type, text: str) -> bool:
    try:
        return str(number := kind(text)) == text and number - number == 0  # which no infinity fulfils
    except (ValueError, OverflowError):
        return False


@dataclass(frozen=True)
class CorpusCard:
    """What a reader must know of a corpus before using it.

    Attributes:
        name: title for people.
        license: short license name as its authors give it, e.g. "CC BY-NC-SA 3.0"; "" of several corpora as one, whose
            licenses are those of `others`.
        may_redistribute: whether audio, or features made of it, may be published by anyone.
        citation: how its authors ask to be cited.
        homepage: where it is described and downloaded.
        protocol: how its users evaluate, in one sentence.
        problem_type: transformers' `problem_type`; None where the labels decide.
        label_names: its classes in their official order; None where the labels decide.
        others: further corpora that some of the clips come from, such as negatives, each under its own license.
        groups_known: whether groups are known; where they are not, every file is one, and nothing keeps recordings of
            one singer, song or session out of two splits.
        understood: how a folder, table or dataset was read, in one paragraph.
        source, revision: the dataset on the Hub, or the name of the folder, that the recordings come from, and its
            commit; empty for what lies in files of a known layout.
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
