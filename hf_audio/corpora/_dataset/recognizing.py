"""Recognizes whether a folder is a dataset, rather than recordings in class folders or with a table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hf_audio.corpora._dataset.declared import head_of
from hf_audio.corpora._dataset.layout import SAVED, SAVED_SPLITS
from hf_audio.corpora.folder.contents import AUDIO_SUFFIXES
from hf_audio.errors import InputError
from hf_audio.files import open_regular

MAX_OPENED = 20  # Parquet files that are opened to check for sound


def is_dataset_folder(root: Path) -> bool:
    """Whether a folder is a dataset that `datasets` wrote or can read.

    It is one if it was saved to disk, if its card declares the files of its splits, or if it has Parquet files or tars
    with audio and no audio files.
    """
    if any((root / name).is_file() for name in (SAVED_SPLITS, SAVED)):
        return True
    if (root / "README.md").is_file() and {"configs", "dataset_info"} & _head(root / "README.md").keys():
        return True
    containers = []
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(files):
            suffix = os.path.splitext(name)[1].lower()
            if suffix in AUDIO_SUFFIXES:
                return False
            if suffix in (".parquet", ".tar"):
                containers.append(os.path.join(folder, name))
    return any(map(_holds_sound, containers[:MAX_OPENED]))


def _head(readme: Path) -> dict[str, Any]:
    """The metadata of a card; empty for any other text."""
    try:
        return head_of(readme)
    except InputError:
        return {}


def _holds_sound(path: str) -> bool:
    if path.lower().endswith(".tar"):
        return True
    try:
        with open_regular(path) as file:
            schema = pq.ParquetFile(file).schema_arrow
    except (InputError, pa.ArrowException, OSError):  # reading it explains the error
        return False
    return any(pa.types.is_struct(one.type) or _is_binary(one.type) for one in schema)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
