"""Writes the other files of a feature dataset: index, excluded clips, extractor, and the manifest last."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hf_audio.data.building.plan import Shard
from hf_audio.data.feature_format import INDEX, SHARD_WINDOWS, ClipColumns, stored_value
from hf_audio.data.index.columns import groups_and_splits, is_one_of, names_in, of_split, untrained
from hf_audio.data.index.table import RENAMED, SPLITS, CorpusCard, metadata_column
from hf_audio.data.tables import csv_text
from hf_audio.errors import InputError
from hf_audio.files import atomic_file, write_atomically
from hf_audio.terminal import named_logger

MANIFEST = "manifest.json"
INDEX_GROUP_ROWS = 1 << 15
CARD_FACTS = (
    *("name", "license", "may_redistribute", "protocol", "citation", "homepage", "groups_known", "understood"),
    *("source", "revision"),
)

logger = named_logger(__name__)


def finish_dataset(
    folder: Path,
    clips: pa.Table,
    columns: ClipColumns,
    card: CorpusCard,
    described: dict[str, Any],
    rates: dict[str, dict[str, int]],
    notes: list[tuple[Shard, dict[str, Any]]],
    extractor: Any,
    window_frames: int,
) -> None:
    """Writes everything but the shards, once all shards are built; the manifest comes last and marks it as finished.

    Args:
        folder: the folder of the feature dataset.
        clips: the index.
        columns: the columns that describe the clip.
        card: the card of the corpus.
        described: the result of `describe_build`.
        rates: see `Plan.source_rates`.
        notes: every shard with its note.
        extractor: the extractor of the features.
        window_frames: length of a window in frames.

    Raises:
        InputError: too many clips were excluded; see `check_kept`.
    """
    scratch = folder / ".build"
    excluded = [(clip_id, reason) for _, note in notes for clip_id, reason in note["excluded"]]
    write_atomically(folder / "excluded.csv", csv_text([("clip_id", "reason"), *excluded]), scratch)
    kept = clips.filter(pc.invert(is_one_of(clips["clip_id"], (clip_id for clip_id, _ in excluded))))
    check_kept(clips, kept, excluded, folder / "excluded.csv")

    write_index(clips, columns, folder / INDEX, scratch)
    mean, std = _mean_and_std([note for shard, note in notes if shard.split == "train"])
    stock = extractor.to_feature_extractor(window_frames, mean, std)
    write_atomically(folder / "preprocessor_config.json", stock.to_json_string(), scratch)

    shard_windows, corpus = _windows_of_shards(notes), asdict(card)
    manifest = {
        **{key: described[key] for key in ("format_version", "problem_type", "label_names", "window_s", "hop_s")},
        "extractor": extractor.parameters,
        "metadata": dict(columns.metadata),
        "has_mixtures": columns.is_mixed,
        "corpus": {**_public_facts(corpus), "others": [_public_facts(other) for other in corpus["others"]]},
        "splits": _facts_of_splits(shard_windows, kept, columns, rates),
        SHARD_WINDOWS: shard_windows,
        "num_excluded": len(excluded),
    }
    write_atomically(folder / MANIFEST, as_json(manifest), scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    if excluded:
        logger.warning(
            "%d of %d clips could not be used and are excluded; see %s",
            len(excluded),
            len(clips),
            folder / "excluded.csv",
        )


def _windows_of_shards(notes: Sequence[tuple[Shard, dict[str, Any]]]) -> dict[str, list[int]]:
    """The number of windows of each shard, in the order of their names, for each split that has windows."""
    found: dict[str, list[int]] = {split: [] for split in SPLITS}
    for shard, note in sorted(notes, key=lambda pair: pair[0].name):
        found[shard.split].append(note["num_windows"])
    return {split: counts for split, counts in found.items() if sum(counts)}


def _facts_of_splits(
    shard_windows: dict[str, list[int]], kept: pa.Table, columns: ClipColumns, rates: dict[str, dict[str, int]]
) -> dict[str, dict[str, Any]]:
    """Shards, windows, clips and sample rates of each split."""
    return {
        split: {
            "num_shards": len(counts),
            "num_windows": sum(counts),
            **_clip_facts(of_split(kept, split), columns),
            "source_rates": rates[split],
        }
        for split, counts in shard_windows.items()
    }


def _public_facts(card: dict[str, Any]) -> dict[str, Any]:
    return {key: card[key] for key in CARD_FACTS}


def check_kept(clips: pa.Table, kept: pa.Table, excluded: Sequence[tuple[str, str]], listed_in: Path) -> None:
    """Refuses to finish a dataset that lost all clips of a split or all training clips of a class.

    Raises:
        InputError: such a split or class exists; the message names it and the list of excluded clips.
    """
    if not len(kept):
        raise InputError(
            f"None of the {len(clips)} clips can be used: {excluded[0][0]} is {excluded[0][1]}; see {listed_in}"
        )
    still_there = names_in(kept["split"])
    for split in names_in(clips["split"]):
        if split not in still_there:
            raise InputError(f"No clip of the {split} split can be used; see {listed_in}")
    lost = untrained(kept, names_in(of_split(clips, "train")["labels"]))
    if lost:
        raise InputError(
            f"Class {lost[0]} has no training clips left, because their files cannot be used; see {listed_in}"
        )


def as_json(content: dict[str, Any]) -> str:
    """The text of a human-readable JSON file."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _mean_and_std(notes: list[dict[str, Any]]) -> tuple[Any, Any]:
    """Mean and standard deviation over the real frames of all windows: two numbers, or two lists over features."""
    notes = [note for note in notes if note["count"]]  # except shards that lost all their clips
    count = sum(note["count"] for note in notes)
    if len({np.shape(note[name]) for note in notes for name in ("sum", "sum_of_squares")}) != 1:
        raise InputError("The shard records of this build contradict each other: remove its folder and rebuild")
    sums = np.array([[note["sum"], note["sum_of_squares"]] for note in notes], dtype=np.float64)
    mean, mean_square = np.apply_along_axis(math.fsum, 0, sums) / count
    std = np.sqrt(np.maximum(mean_square - mean**2, 1e-12))
    return _rounded(mean), _rounded(std)


def _rounded(numbers: np.ndarray) -> Any:
    return round(float(numbers), 7) if numbers.ndim == 0 else [round(number, 7) for number in numbers.tolist()]


def _clip_facts(clips: pa.Table, columns: ClipColumns) -> dict[str, Any]:
    """Counts of a split's clips; if labels are partial, also for how many clips each class is known."""
    labels = columns.labels
    counts, known = labels.counts(clips["labels"]), len(clips) - labels.counts(clips["unknown"])
    return {
        "num_clips": len(clips),
        "num_groups": len(names_in(groups_and_splits(clips)["group"])),
        "label_counts": dict(zip(labels.names, counts.tolist(), strict=True)),
        **({"known_counts": dict(zip(labels.names, known.tolist(), strict=True))} if columns.is_partial else {}),
    }


def write_index(clips: pa.Table, columns: ClipColumns, path: Path, scratch: Path | None = None) -> None:
    """Writes the index of a feature dataset, uncompressed like its shards, so that readers know its real size."""
    schema = columns.index
    table = pa.Table.from_arrays([_indexed(clips, field, dict(columns.metadata)) for field in schema], schema=schema)
    with atomic_file(path, scratch) as file:
        pq.write_table(table, file, row_group_size=INDEX_GROUP_ROWS, compression="none", use_dictionary=False)


def _indexed(clips: pa.Table, field: pa.Field, metadata: dict[str, str]) -> pa.Array | pa.ChunkedArray:
    """A column of the stored index, from one of the clips' own columns or their metadata."""
    if field.name in metadata:
        column, kind = clips[metadata_column(field.name.removeprefix(RENAMED))], metadata[field.name]
        if column.type == field.type:
            return column
        return pa.array([stored_value(value, kind) for value in column.to_pylist()], field.type)
    if field.name == "parts":  # without this machine's paths
        names = field.type.value_type.names
        parts = ([{name: part[name] for name in names} for part in row or ()] for row in clips["parts"].to_pylist())
        return pa.array(parts, field.type)
    column = clips[field.name]
    if pa.types.is_list(field.type):
        column = pc.coalesce(column, pa.scalar([], column.type))
    return column.cast(field.type)
