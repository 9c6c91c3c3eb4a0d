"""Checks rows of a feature dataset, which may be untrusted, before anything decodes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Features

from hf_audio.data.feature_format import ClipColumns, feature_schema, undecoded
from hf_audio.data.foreign.index import facts_of_rows
from hf_audio.errors import InputError
from hf_audio.kinds import kind_of

# The path of a sound or image that is stored in a row; nothing opens it
MAY_BE_EMPTY = "path"


@dataclass(frozen=True)
class RowRules:
    """The rules of one split.

    Attributes:
        columns: the columns that describe the clip.
        parameters: the parameters of the extractor that computed the windows.
        max_frames: maximum length of a window in frames.
        clips: the `clip_facts` of the clips that index.parquet lists in this split, sorted uint64.
    """

    columns: ClipColumns
    parameters: Mapping[str, Any]
    max_frames: int
    clips: np.ndarray

    @property
    def features(self) -> Features:
        """The columns that are read, none of which `datasets` decodes."""
        return undecoded(feature_schema(self.columns, self.parameters))

    @property
    def digest(self) -> str:
        """A digest that changes with every rule."""
        rules = repr((self.columns, sorted(self.parameters.items()), self.max_frames)).encode()
        return hashlib.sha256(rules + self.clips.tobytes()).hexdigest()

    def check(self, rows: pa.RecordBatch, shard: str, first: int) -> None:
        """Refuses rows that break a rule.

        Args:
            rows: rows with the columns of `features`.
            shard: its name, for the message.
            first: position of the first row in the shard, for the message.

        Raises:
            InputError: a row breaks a rule; the message names the shard, the row and the fault.
        """
        for fault, is_faulty in self._faults(rows):
            if is_faulty.any():
                place = int(is_faulty.argmax())
                clip_id = str(rows["clip_id"][place].as_py())[:100]
                raise InputError(
                    f"{shard} is damaged: row {first + place} (clip {clip_id!r}) has {fault}; download or build the "
                    "dataset again"
                )

    def _faults(self, rows: pa.RecordBatch) -> Iterator[tuple[str, np.ndarray]]:
        """Each possible fault in words, and the rows that have it, bool `[rows]`."""
        may_be_empty = dict(self.columns.metadata)
        for name in (name for name in rows.schema.names if name not in may_be_empty):
            yield f"an empty value in {name}", _has_nulls(rows[name])
        num_frames, start_s = rows["num_frames"].to_numpy(), rows["start_s"].to_numpy()
        yield f"num_frames that is not from 1 to {self.max_frames}", (num_frames < 1) | (num_frames > self.max_frames)
        yield "a start_s that is not a number of seconds", ~(np.isfinite(start_s) & (start_s >= 0))
        yield (
            "other facts about its clip than index.parquet (split, group, labels, metadata)",
            ~self._are_listed(rows),
        )
        if not self.columns.labels.is_multi_label:
            first = pc.list_element(rows["labels"], 0).to_numpy()  # lists of one, as in index.parquet
            yield "a label that differs from its labels", rows["label"].to_numpy() != first
        yield from kind_of(self.parameters).faults(rows, self.parameters).items()

    def _are_listed(self, rows: pa.RecordBatch) -> np.ndarray:
        facts = facts_of_rows(rows, self.columns)
        places = np.searchsorted(self.clips, facts)
        return (places < len(self.clips)) & (np.take(self.clips, places, mode="clip") == facts)


def _has_nulls(column: pa.Array) -> np.ndarray:
    """Which values are null or contain null, bool `[values]`."""
    is_null = column.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_struct(column.type):
        for field in column.type:
            if field.name != MAY_BE_EMPTY:
                is_null = is_null | _has_nulls(pc.struct_field(column, field.name))
    elif pa.types.is_list(column.type) and column.flatten().null_count:
        is_null = is_null | pc.list_value_length(column).is_valid().to_numpy(zero_copy_only=False)
    return is_null
