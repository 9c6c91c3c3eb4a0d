"""The columns of a shared dataset of recordings, for `datasets` and the Hub's viewer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Audio, ClassLabel, Features, List, Value

from hf_audio.data.index.columns import names_in, with_split
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import RENAMED, SPLITS, metadata_columns
from hf_audio.data.splits.assigning import fold_names
from hf_audio.errors import InputError

FOLD, CUT = "fold", ("cut_start_s", "cut_end_s")
OURS = frozenset(("clip_id", "audio", "label", "labels", "mask", "group", "split", FOLD, *CUT))


class RowColumns:
    """Turns the clips of an index into columns.

    Args:
        clips: all clips, with the splits of `as_stored`.
        labels: their classes.
    """

    def __init__(self, clips: pa.Table, labels: LabelSpace) -> None:
        self.labels = labels
        self.is_partial = bool(names_in(clips["unknown"]))
        self.has_stretches = bool(pc.any(is_stretch(clips)).as_py())
        self.metadata = {
            column: RENAMED + column if column in OURS - {FOLD} else column for column in metadata_columns(clips)
        }
        kinds = Features.from_arrow_schema(clips.select(list(self.metadata)).schema)
        classes = ClassLabel(names=list(labels.names))
        self.features = Features(
            {
                "clip_id": Value("string"),
                "audio": Audio(),
                **({"labels": List(classes)} if labels.is_multi_label else {"label": classes}),
                **({"mask": List(Value("bool"))} if self.is_partial else {}),
                "group": Value("string"),
                **({name: Value("float64") for name in CUT} if self.has_stretches else {}),
                **{name: kinds[column] for column, name in self.metadata.items()},
            }
        )

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with the types of `datasets` as metadata."""
        return self.features.arrow_schema

    def table(self, clips: pa.Table, sounds: Sequence[tuple[bytes, str]]) -> pa.Table:
        """Rows of some clips; `sounds` has the bytes and name of each audio file."""
        columns = {name: clips[column] for column, name in self.metadata.items()}
        columns |= {"clip_id": clips["clip_id"], "group": clips["group"]}
        columns["audio"] = [{"bytes": content, "path": name} for content, name in sounds]
        columns |= self._label_columns(clips)
        if self.has_stretches:
            cut = is_stretch(clips)
            for name, column in zip(CUT, ("start_s", "end_s"), strict=True):
                columns[name] = pc.if_else(cut, clips[column], None)
        schema = self.schema
        return pa.table({name: columns[name] for name in schema.names}, schema=schema)

    def _label_columns(self, clips: pa.Table) -> dict[str, list]:
        given = [self.labels.indices(names) for names in clips["labels"].to_pylist()]
        if not self.labels.is_multi_label:
            return {"label": [classes[0] for classes in given]}
        if not self.is_partial:
            return {"labels": given}
        known = np.ones((len(clips), len(self.labels)), dtype=bool)
        for row, names in enumerate(clips["unknown"].to_pylist()):
            known[row, self.labels.indices(names)] = False
        return {"labels": given, "mask": known.tolist()}


def is_stretch(clips: pa.Table) -> pa.ChunkedArray:
    """Which clips are stretches of their recordings."""
    return pc.or_(pc.greater(clips["start_s"], 0.0), pc.is_valid(clips["end_s"]))


def as_stored(clips: pa.Table) -> pa.Table:
    """The clips with the splits of a dataset: train, validation, test; folds become a column of train.

    Clips without an official split are in train; training on a dataset with only one split draws the others by groups.

    Raises:
        InputError: there are both splits and folds.
    """
    named, folds = names_in(clips["split"]), fold_names(clips)
    if folds and len(folds) < len(named):
        raise InputError(
            f"The split column mixes {', '.join(named)}; use either train, validation and test, or names of folds"
        )
    if FOLD in clips.column_names:
        clips = clips.rename_columns([RENAMED + name if name == FOLD else name for name in clips.column_names])
    if folds:
        return with_split(clips.append_column(FOLD, clips["split"]), "train")
    return with_split(clips, SPLITS[0], pc.is_null(clips["split"]))
