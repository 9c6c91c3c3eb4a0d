"""Labels of clips, from a table or a feature dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hf_audio.data.feature_format import INDEX
from hf_audio.data.foreign.index import read_clips
from hf_audio.data.foreign.manifest import clip_columns, read_manifest
from hf_audio.data.index.label_overrides import ClipLabels, read_overrides
from hf_audio.errors import InputError


def read_clip_labels(source: str | Path, column: str | None = None) -> dict[str, ClipLabels]:
    """The labels in a table or a feature dataset: {clip_id: labels}.

    Args:
        source: a table for `read_overrides`, or the folder of a feature dataset, whose index is read.
        column: read the labels from this column instead.

    Raises:
        InputError: no such source or column; see `read_overrides` and `read_clips`.
    """
    folder = Path(source)
    if not folder.is_dir():
        return read_overrides(folder, column)
    clips, column = (
        read_clips(folder / INDEX, clip_columns(read_manifest(folder / "manifest.json"))),
        column or "labels",
    )
    if column not in clips.column_names:
        raise InputError(f"{folder / INDEX} has no column {column!r}; it has {', '.join(clips.column_names)}")
    columns = (clips[name].to_pylist() for name in ("clip_id", column, "unknown"))
    return {
        clip_id: ClipLabels(_as_names(value), tuple(unknown)) for clip_id, value, unknown in zip(*columns, strict=True)
    }


def _as_names(value: Any) -> tuple[str, ...]:
    """The names in a list; any other value as one string; none for null."""
    return tuple(value) if isinstance(value, list) else () if value is None else (str(value),)
