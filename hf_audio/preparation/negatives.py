"""Negatives: clips of another corpus, as examples without any class."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.config import CorpusConfig
from hf_audio.corpora import corpus_named
from hf_audio.corpora.folder import Reading
from hf_audio.data.index.columns import with_split, with_values
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import CLIP_COLUMNS
from hf_audio.errors import InputError
from hf_audio.preparation.read_corpora import recordings


def negatives_of(data: CorpusConfig, labels: LabelSpace) -> tuple[pa.Table, str]:
    """Training clips of another corpus without any of the classes, and how it was read; empty if there are no
    negatives.

    Raises:
        InputError: from that corpus, or the task is single-label.
    """
    if not data.negatives:
        return CLIP_COLUMNS.empty_table(), ""
    if not labels.is_multi_label:
        raise InputError(
            f"--negatives {data.negatives} are clips without any class, but here each clip has exactly one: give "
            "--several_labels, or put them into a separate class folder"
        )
    name = data.negatives
    root = recordings(name, data.negatives_dir, "--negatives_dir")
    clips, understanding = corpus_named(name).read(root, Reading())
    told = f"In --negatives {name}: {understanding.paragraph()}" if understanding else ""
    clips = with_split(clips.select(CLIP_COLUMNS.names), "train")
    for column in ("clip_id", "group"):
        clips = with_values(clips, column, pc.binary_join_element_wise(name, clips[column], "/"))
    for column in ("labels", "unknown"):
        clips = with_values(clips, column, [()] * len(clips))
    return clips, told
