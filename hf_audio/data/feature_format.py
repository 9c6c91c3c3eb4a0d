"""The format of feature datasets: version, names of shards, columns of rows and of the index."""

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
SHARD_WINDOWS = "shard_windows"  # in a manifest: {split: windows of each shard}, for resuming a stream
MAX_CLIPS = 1 << 40
# Columns with the same value in many rows, which are stored as dictionaries.
NAME_COLUMNS = ["clip_id", "group"]
# Columns with classes; see `ClipColumns.features` for when each is present
LABEL_COLUMNS = ("labels", "unknown", "label")
# Types of metadata by their names in `datasets`: Arrow's type, and the function that converts a value to it
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
    """The row columns that describe the clip, in addition to its name and group.

    Attributes:
        labels: the classes.
        is_partial: whether some clip has unknown classes.
        is_mixed: whether some clips are mixtures, so that rows name the groups of their parts.
        metadata: the metadata columns, each with its type (a key of METADATA_TYPES).
    """

    labels: LabelSpace
    is_partial: bool = False
    is_mixed: bool = False
    metadata: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_index(cls, clips: pa.Table, labels: LabelSpace, parameters: Mapping[str, Any]) -> ClipColumns:
        """The columns for these clips, with features of an extractor with these parameters.

        Raises:
            InputError: too many metadata columns, or values too long to be read back.
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

        They are complete without the manifest: `label` is present if each clip has one class, and `unknown` if labels
        are partial, with the classes that must not be treated as absent.
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
        """The columns of the index: class names, stretches in seconds, parts of mixtures, metadata.

        Fields that cannot be null are declared so: otherwise an untrusted file could declare more values than it has
        bytes.
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


# A part: its clip, whose own row in the index has file and stretch, and how it is mixed
STORED_PART = pa.struct(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in ("gain_db", "late", "skip")),
    ]
)


def _list_of(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", kind, nullable=False))


def stored_value(value: Any, kind: str) -> Any:
    """A metadata value, converted to one of METADATA_TYPES; None stays None."""
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
            f"Clip {clips['clip_id'][row]} has {lengths[row]:,} bytes in {fact!r}, expected at most "
            f"{MAX_TEXT_BYTES:,}: shorten the text, or remove that column"
        )


def own_columns(parameters: Mapping[str, Any]) -> frozenset[str]:
    """Names of the format's own columns in rows or index; metadata columns with such names are renamed."""
    kind = kind_of(parameters)
    return frozenset((*OWN_COLUMNS, "num_frames", "label", *kind.columns(parameters["sampling_rate"])))


def feature_schema(columns: ClipColumns, parameters: Mapping[str, Any]) -> Features:
    """The columns of a feature dataset's rows, including the class names.

    Args:
        columns: the columns that describe the clip.
        parameters: the parameters of the extractor.
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
    """The same columns, which `datasets` does not decode: images and sounds stay encoded bytes.

    A path or address that is stored with the bytes is then never opened.
    """
    file = {"bytes": Value("binary"), "path": Value("string")}
    return Features({name: file if isinstance(kind, Image | Audio) else kind for name, kind in schema.items()})


def shard_names(split: str, num_shards: int) -> list[str]:
    """Names of a split's files without suffix, by which `datasets` recognizes splits: train-00000-of-00008 ..."""
    return [f"{split}-{number:05d}-of-{num_shards:05d}" for number in range(num_shards)]


def are_rates(value: Any) -> bool:
    """Whether a value is a split's entry in `source_rates`: {sample rate in Hz, as text: clips}."""
    return isinstance(value, dict) and all(
        rate.isascii()
        and rate.isdigit()
        and len(rate) <= len(str(HIGHEST_RATE))
        and LOWEST_RATE <= int(rate) <= HIGHEST_RATE
        and type(count) is int
        and 0 < count <= MAX_CLIPS
        for rate, count in value.items()
    )
