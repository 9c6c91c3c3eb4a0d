"""Your own recordings: class folders, or a table.

    DIR/violin/a.wav                      label = folder, every file its own group
    DIR/violin/ann/a.wav                  label = folder, group = the folder below it, the same across classes
    DIR/train/violin/a.wav                with official splits: train, validation (valid, val, dev), test, or folds
    DIR/labels.csv                        columns path, label (or labels: "violin;piano"),
                                          optional group, split, start_s, end_s; others become metadata

A table may be CSV, TSV, JSON, JSON lines or Parquet, and its columns may have other common names: filename, category,
fold, start_ms ... One logged paragraph says how the data was read and what was not used.

`split` is train / validation / test, or the name of a fold.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa

from hf_audio.corpora.folder.choice import read_folder_or_table
from hf_audio.corpora.folder.class_names import merged, odd_class_names, odd_group_names
from hf_audio.corpora.folder.contents import AUDIO_SUFFIXES
from hf_audio.corpora.folder.reading import Reading
from hf_audio.corpora.folder.split_names import SPLIT_NAMES
from hf_audio.data.index.columns import in_order
from hf_audio.data.index.table import CorpusCard, index_of
from hf_audio.data.index.understanding import Understanding

__all__ = ["AUDIO_SUFFIXES", "CARD", "SPLIT_NAMES", "Reading", "index", "understand"]

CARD = CorpusCard(
    name="Own recordings",
    license="unknown",
    may_redistribute=True,  # the recordings are the user's; only the user can know
    protocol="Window scores averaged per clip.",
)


def index(root: Path, reading: Reading | None = None) -> pa.Table:
    """Clips of a folder with a table or class folders, or of a table itself.

    Raises:
        InputError: see `understand`.
    """
    return understand(root, reading)[0]


def understand(root: Path, reading: Reading | None = None) -> tuple[pa.Table, Understanding]:
    """The clips, and how they were read.

    Args:
        root: the folder or table.
        reading: the user's settings.

    Raises:
        InputError: it does not exist, has no audio, cannot be read or can be read in several ways; missing columns,
            unknown paths, or cells that do not fit their column.
    """
    reading = reading or Reading()
    read = read_folder_or_table(Path(root), reading)
    clips, remarks = read.clips, read.remarks
    if reading.merge_classes:
        clips, merging = merged(clips)
        remarks = [*remarks, merging]
    found = Counter(label for clip in clips for label in clip.labels)
    counts = {name: found[name] for name in in_order(found)}
    return index_of(clips), Understanding(
        layout=read.layout,
        class_counts=counts,
        num_clips=len(clips),
        groups=read.groups,
        groups_known=read.num_without_group == 0,
        splits=read.splits,
        not_used=tuple(read.not_used),
        left_out=tuple(read.left_out),
        remarks=(*remarks, *odd_class_names(counts), *odd_group_names(clips)),
    )
