"""What a feature dataset is made of: its version, the names of its shards, the columns of its rows and of its index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Audio, ClassLabel, Features, Image, List, Value

from hf_audio.data.index.columns import has_mixtures, names_in
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import OWN_COLUMNS, RENAMED, Clip, metadata_column, metadata_columns
from hf_audio.data.recordings.opening import HIGHEST_RATE, LOWEST_RATE
from hf_audio.errors import InputError
from hf_audio.kinds import kind_of

FORMAT_VERSION = 4
INDEX = "index.parquet"
SHARD_WINDOWS = "shard_windows"  # of a manifest: {split: windows of each shard}, by which a stream finds its place
MAX_CLIPS = 1 << 40
# Columns that hold the same value in many rows, and so store it once.
NAME_COLUMNS = ["clip_id", "group"]
# which hold classes; `ClipColumns` says when each is there
LABEL_COLUMNS = ("labels", "unknown", "label")
# of metadata: Arrow's type by its name in `datasets`, and what makes a value of it
METADATA_TYPES = {
    "string": (pa.string(), str),
    "int64": (pa.int64(), int),
    "float64": (pa.float64(), float),
    "bool": (pa.bool_(), bool),
}
MAX_METADATA_COLUMNS = 1000
MAX_TEXT_BYTES = 1 << 16  # of one value


@dataclass(frozen=True)
class ClipColumns:
    """What rows say of their clip, beside its name and group.

    Attributes:
        labels: the classes.
        is_partial: whether something is unknown of some clip.
        is_mixed: whether some clips are mixtures, so that rows name the groups of what they are made of.
        metadata: the columns of what the corpus knows of its clips, each with its type of METADATA_TYPES.
    """

    labels: LabelSpace
    is_partial: bool = False
    is_mixed: bool = False
    metadata: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_index(cls, clips: pa.Table, labels: LabelSpace, parameters: Mapping[str, Any]) -> ClipColumns:
        """The columns that rows of these clips have, with the features of an extractor with these parameters.

        Raises:
            InputError: more metadata, or longer, than would be read back.
        """
        facts, own = metadata_columns(clips), own_columns(parameters)
        if len(facts) > MAX_METADATA_COLUMNS:
            raise InputError(
                f"The clips have {len(facts):,} columns of metadata, expected at most {MAX_METADATA_COLUMNS:,}: "
                "remove those that are not needed from the table"
            )
        types = sorted((metadata_column(fact, own), _stored_type(clips[name].type)) for name, fact in facts.items())
        for name, fact in facts.items():
            _check_lengths(clips, name, fact)
        return cls(labels, bool(names_in(clips["unknown"])), has_mixtures(clips), tuple(types))

    @property
    def features(self) -> dict[str, Any]:
        """The columns and their `datasets` types.

        Those who read only the rows find `label` where each clip has one class, and `unknown` where labels are
        partial: the classes of which nothing is known, so that they are not taken for absent.
        """
        classes = ClassLabel(names=list(self.labels.names))
        return {
            "labels": List(classes),
            **({"unknown": List(classes)} if self.is_partial else {}),
            **({} if self.labels.is_multi_label else {"label": classes}),
            **({"part_groups": List(Value("string"))} if self.is_mixed else {}),
            **{name: Value(kind) for name, kind in self.metadata},
        }

    def values(self, clip: Clip) -> tuple:
        """A value for each of `features`."""
        given, unknown = self.labels.indices(clip.labels), self.labels.indices(clip.unknown)
        return (
            given,
            *((unknown,) if self.is_partial else ()),
            *(() if self.labels.is_multi_label else given),
            *((clip.part_groups,) if self.is_mixed else ()),
            *(stored_value(clip.metadata.get(name.removeprefix(RENAMED)), kind) for name, kind in self.metadata),
        )

    @property
    def index(self) -> pa.Schema:
        """The columns of the index: names of classes, stretches in seconds, what mixtures are made of, metadata.

        What cannot be empty is said to be so: otherwise an untrusted file could declare more values than it has bytes.
        """
        texts = _list_of(pa.string())
        fields = [
            *(pa.field(name, pa.string(), nullable=False) for name in ("clip_id", "group", "split")),
            *(pa.field(name, texts, nullable=False) for name in ("labels", "unknown")),
            pa.field("start_s", pa.float64(), nullable=False),
            pa.field("end_s", pa.float64()),
        ]
        if self.is_mixed:
            fields += [
                pa.field("part_groups", texts, nullable=False),
                pa.field("parts", _list_of(STORED_PART), nullable=False),
                pa.field("match", pa.string()),
            ]
        return pa.schema(fields + [pa.field(name, METADATA_TYPES[kind][0]) for name, kind in self.metadata])


# of a part its clip, whose file and stretch the index has in that clip's row, and how it sounds
STORED_PART = pa.struct(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in ("gain_db", "late", "skip")),
    ]
)


def _list_of(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", kind, nullable=False))


def stored_value(value: Any, kind: str) -> Any:
    """A fact of a clip as one of METADATA_TYPES; what is empty stays so."""
    return None if value is None else METADATA_TYPES[kind][1](value)


def _stored_type(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return "int64"
    return "float64" if pa.types.is_floating(kind) else "string"


def _check_lengths(clips: pa.Table, column: str, fact: str) -> None:
    if not pa.types.is_string(clips[column].type):
        return
    lengths = pc.fill_null(pc.binary_length(clips[column]), 0).to_numpy()
    if len(lengths) and lengths.max() > MAX_TEXT_BYTES:
        row = int(lengths.argmax())
        raise InputError(
            f"Clip {clips['clip_id'][row]} has {lengths[row]:,} bytes of {fact!r}, expected at most "
            f"{MAX_TEXT_BYTES:,}: shorten the text, or remove that column"
        )


def own_columns(parameters: Mapping[str, Any]) -> frozenset[str]:
    """Names that columns of rows or of the index have by themselves, so that metadata get others."""
    kind = kind_of(parameters)
    return frozenset((*OWN_COLUMNS, "num_frames", "label", *kind.columns(parameters["sampling_rate"])))


def feature_schema(columns: ClipColumns, parameters: Mapping[str, Any]) -> Features:
    """The columns of a feature dataset's rows; names of the classes travel in it.

    Args:
        columns: what rows say of their clip.
        parameters: of the extractor.
    """
    return Features(
        {
            "clip_id": Value("string"),
            "group": Value("string"),
            "start_s": Value("float32"),
            **kind_of(parameters).columns(parameters["sampling_rate"]),
            "num_frames": Value("int32"),
            **columns.features,
        }
    )


def undecoded(schema: Features) -> Features:
    """The same columns, of which `datasets` decodes none: images and sounds as their files' bytes.

    Whatever is stored beside the bytes, such as a path or an address, is then never opened.
    """
    file = {"bytes": Value("binary"), "path": Value("string")}
    return Features({name: file if isinstance(kind, Image | Audio) else kind for name, kind in schema.items()})


def shard_names(split: str, num_shards: int) -> list[str]:
    """Names of a split's files without suffix, as `datasets` finds splits by: train-00000-of-00008 ..."""
    return [f"{split}-{number:05d}-of-{num_shards:05d}" for number in range(num_shards)]


def are_rates(value: Any) -> bool:
    """Whether it is {sample rate in Hz, as text: clips}, as `source_rates` has it of a split."""
    return isinstance(value, dict) and all(
        rate.isascii()
        and rate.isdigit()
        and len(rate) <= len(str(HIGHEST_RATE))
        and LOWEST_RATE <= int(rate) <= HIGHEST_RATE
        and type(count) is int
        and 0 < count <= MAX_CLIPS
        for rate, count in value.items()
    )
