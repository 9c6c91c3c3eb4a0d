"""The scores of each clip and window of a run, as Parquet files beside its report.

    RUN/scores/clips.parquet      clip_id, group, split, num_windows, labels, unknown, decided, "about: FACT" ...,
                                  "logit: CLASS" ...
    RUN/scores/windows.parquet    clip_id, split, start_s, "logit: CLASS" ...

`labels`, `unknown` and `decided` are lists of class names: the true classes, the unknown ones, and the predicted ones.
Facts are the duration of a clip, `duration_s`, and metadata of the corpus; unknown ones are null. Window logits are the
model's float32. Clip logits are their mean in float64, from which all numbers of the report are computed. The schema's
metadata has the classes in order, the task and the threshold. To convert to CSV:

    pandas.read_parquet("RUN/scores/clips.parquet").to_csv("scores.csv", index=False)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hf_audio.data.feature_format import MAX_METADATA_COLUMNS, METADATA_TYPES
from hf_audio.data.foreign.parquet import PLAIN_ENCODINGS
from hf_audio.data.index.columns import places_of
from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError, one_line
from hf_audio.files import MAX_TABLE_BYTES, atomic_file, open_regular
from hf_audio.metrics import WindowScores, decide
from hf_audio.predictions import WindowEmbeddings
from hf_audio.privacy import require_no_token

FOLDER, CLIPS, WINDOWS = "scores", "clips.parquet", "windows.parquet"
LOGIT, ABOUT = "logit: ", "about: "
FACTS = b"hf_audio"
NAMES = pa.list_(pa.string())
OF_CLIPS = {
    **dict.fromkeys(("clip_id", "group", "split"), pa.string()),
    "num_windows": pa.int32(),
    **dict.fromkeys(("labels", "unknown", "decided"), NAMES),
}
TYPE_NAMES = {kind: name for name, (kind, _) in METADATA_TYPES.items()}
OF_WINDOWS = {"clip_id": pa.string(), "split": pa.string(), "start_s": pa.float64()}


class StoredScores(NamedTuple):
    """The clips of a run's scores.

    Attributes:
        clip_ids, groups, splits: per clip.
        given, unknown, decided: names of the true, unknown and predicted classes per clip.
        logits: float64 `[clips, classes]`.
        labels: the classes, in the order of the logits.
        evaluated_split: the split that the report is about.
        threshold: for multi-label decisions; None for single-label data.
        about: a row per clip with its other facts, duration_s and metadata, as far as the file has them.
    """

    clip_ids: list[str]
    groups: list[str]
    splits: list[str]
    given: list[list[str]]
    unknown: list[list[str]]
    decided: list[list[str]]
    logits: np.ndarray
    labels: LabelSpace
    evaluated_split: str
    threshold: float | None
    about: pa.Table

    @property
    def probabilities(self) -> np.ndarray:
        """float64 `[clips, classes]`."""
        return self.labels.probabilities(self.logits)


def write_scores(
    run_folder: Path,
    scores: Mapping[str, WindowScores],
    labels: LabelSpace,
    threshold: float,
    evaluated_split: str,
    about: pa.Table | None = None,
) -> None:
    """Writes both files, each atomically.

    Args:
        run_folder: folder of the run.
        scores: by split.
        labels: the classes.
        threshold: for multi-label decisions.
        evaluated_split: the split that the report is about.
        about: clip_id and other facts, in columns of METADATA_TYPES, for at least these clips.

    Raises:
        InputError: the name of a clip or group contains a token.
    """
    folder = run_folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "labels": list(labels.names),
        "problem_type": labels.problem_type,
        "decision_threshold": threshold if labels.is_multi_label else None,
        "evaluated_split": evaluated_split,
    }
    clips = pa.concat_tables(_clip_table(split, one, labels, threshold) for split, one in scores.items())
    if about is not None:
        facts["about"] = {name: TYPE_NAMES[about[name].type] for name in about.column_names if name != "clip_id"}
        clips = _with_facts(clips, about)
    windows = pa.concat_tables(_window_table(split, one, labels) for split, one in scores.items())
    _write(folder / WINDOWS, windows, {name: told for name, told in facts.items() if name != "about"}, ())
    texts = [one.name for one in clips.schema if one.name.startswith(ABOUT) and one.type == pa.string()]
    _write(folder / CLIPS, clips, facts, ("clip_id", "group", *texts))


class StoredLogits(NamedTuple):
    """A model's logits for each window.

    Attributes:
        clip_ids: clip of each window.
        starts_s: float64 `[windows]`, start of each window in its clip.
        logits: float32 `[windows, classes]`.
        labels: the model's classes, in the order of the logits.
        told: the file's other facts about the model.
    """

    clip_ids: list[str]
    starts_s: np.ndarray
    logits: np.ndarray
    labels: LabelSpace
    told: dict[str, Any]


def write_logits(folder: Path, windows: Mapping[str, WindowEmbeddings], labels: LabelSpace, told: Any) -> Path:
    """Writes only scores/windows.parquet: a model's logits for the windows of each split, for any classes.

    Args:
        folder: gets the folder `scores`.
        windows: logits by split, in the order of `labels`.
        labels: the model's classes.
        told: facts about the model for readers, JSON-serializable.

    Raises:
        InputError: the name of a clip, or a fact, contains a token.
    """
    path = folder / FOLDER / WINDOWS
    path.parent.mkdir(parents=True, exist_ok=True)
    tables = [
        _table(OF_WINDOWS, [one.clip_ids, [split] * len(one.clip_ids), one.starts_s], one.values, labels, pa.float32())
        for split, one in windows.items()
    ]
    facts = {"labels": list(labels.names), "problem_type": labels.problem_type, "evaluated_split": "", "told": told}
    _write(path, pa.concat_tables(tables), facts, ("clip_id",))
    return path


def read_logits(path: Path, name: str) -> StoredLogits:
    """Reads the windows of a file from `write_logits` or `write_scores`; the file may be untrusted.

    Args:
        path: windows.parquet.
        name: name of its folder or repository, for messages.

    Raises:
        InputError: the file is of another kind.
    """
    table, labels, facts = _read(path, OF_WINDOWS, pa.float32(), f"{name} contains no stored logits")
    logits = np.stack([table[LOGIT + one].to_numpy() for one in labels.names], axis=1)
    told = facts.get("told") if isinstance(facts.get("told"), dict) else {}
    return StoredLogits(table["clip_id"].to_pylist(), table["start_s"].to_numpy(), logits, labels, told)


def read_scores(path: str | Path) -> StoredScores:
    """Reads the clips of a run; the file may be untrusted.

    Args:
        path: clips.parquet, or the run folder.

    Raises:
        InputError: the file does not exist, or was not written by `write_scores`.
    """
    path = Path(path)
    path = path / FOLDER / CLIPS if path.is_dir() else path
    what = f"{path} is not scores/clips.parquet of a run"
    table, labels, facts = _read(path, OF_CLIPS, pa.float64(), what)
    logits = np.stack([table[LOGIT + name].to_numpy() for name in labels.names], axis=1)
    columns = {name: table[name].to_pylist() for name in OF_CLIPS}
    names = (columns[name] for name in ("clip_id", "group", "split", "labels", "unknown", "decided"))
    clip_ids, groups, splits, given, unknown, decided = names
    threshold = facts.get("decision_threshold") if labels.is_multi_label else None
    about = pa.table({name: table[ABOUT + name] for name in _about(facts)})
    of_clips = (clip_ids, groups, splits, given, unknown, decided)
    return StoredScores(*of_clips, logits, labels, facts["evaluated_split"], threshold, about)


def _write(path: Path, table: pa.Table, facts: Mapping[str, Any], names: Sequence[str]) -> None:
    """Writes a table with its facts. The columns `names` contain texts of users, which are checked for tokens."""
    written = json.dumps(facts, ensure_ascii=False).encode()
    texts = ("\n".join(table[column].unique().drop_null().to_pylist()).encode() for column in names)
    for text in (*texts, written):
        require_no_token(text, str(path))
    with atomic_file(path) as file:  # uncompressed, so that the size of the file bounds the memory to read it
        pq.write_table(table.replace_schema_metadata({FACTS: written}), file, compression="none", use_dictionary=False)


def _read(
    path: Path, own: Mapping[str, pa.DataType], kind: pa.DataType, what: str
) -> tuple[pa.Table, LabelSpace, dict[str, Any]]:
    """Reads a table, its classes and its facts.

    Args:
        path: the Parquet file.
        own: its columns other than the logits.
        kind: type of the logits.
        what: start of the message about a file of another kind.
    """
    with open_regular(path) as file:
        try:
            parquet = pq.ParquetFile(file)
            labels, facts = _facts(parquet.schema_arrow)
            known = {ABOUT + name: METADATA_TYPES[one][0] for name, one in _about(facts).items()}
            _check(parquet, {**own, **known, **_logit_columns(labels, kind)})
            table = parquet.read(use_threads=False)
            if any(table[name].null_count for name in table.column_names if name not in known):
                raise ValueError("it has empty values")
            if not all(np.isfinite(table[LOGIT + name].to_numpy()).all() for name in labels.names):
                raise ValueError("it has infinite values")
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
            raise InputError(f"{what} ({one_line(error)}): give the one beside the run's report.json") from error
    return table, labels, facts


def _clip_table(split: str, windows: WindowScores, labels: LabelSpace, threshold: float) -> pa.Table:
    clips = windows.clips()
    keys, first, counts = np.unique(windows.clip_keys, return_index=True, return_counts=True)
    place = np.searchsorted(keys, clips.clip_keys)
    rows = first[place]
    decided = decide(labels.probabilities(clips.logits), labels, threshold)
    columns = [
        windows.clip_ids[rows].tolist(),
        windows.groups[rows].tolist(),
        [split] * len(rows),
        counts[place],
        *(_names(chosen, labels.names) for chosen in (clips.targets > 0.5, np.isnan(clips.targets), decided > 0)),
    ]
    return _table(OF_CLIPS, columns, clips.logits, labels, pa.float64())


def _window_table(split: str, windows: WindowScores, labels: LabelSpace) -> pa.Table:
    columns = [windows.clip_ids.tolist(), [split] * len(windows), windows.starts_s]
    return _table(OF_WINDOWS, columns, windows.logits.astype(np.float32), labels, pa.float32())


def _table(
    own: Mapping[str, pa.DataType], columns: Sequence, logits: np.ndarray, labels: LabelSpace, kind: pa.DataType
) -> pa.Table:
    schema = pa.schema({**own, **_logit_columns(labels, kind)})
    arrays = [pa.array(values, type=one) for values, one in zip(columns, own.values(), strict=True)]
    arrays += [pa.array(np.ascontiguousarray(column), type=kind) for column in logits.T]
    return pa.Table.from_arrays(arrays, schema=schema)


def _with_facts(clips: pa.Table, about: pa.Table) -> pa.Table:
    """The clips, with their facts inserted before the logits."""
    rows = pa.array(places_of(clips["clip_id"], about["clip_id"].to_pylist()))
    rows = pc.if_else(pc.less(rows, 0), None, rows)
    place = len(OF_CLIPS)
    for name in (name for name in about.column_names if name != "clip_id"):
        clips = clips.add_column(place, ABOUT + name, about[name].take(rows))
        place += 1
    return clips


def _about(facts: Mapping[str, Any]) -> dict[str, str]:
    """The columns of facts about clips that a file declares, with the names of their types."""
    about = facts.get("about", {})
    if len(about) > MAX_METADATA_COLUMNS or not all(kind in METADATA_TYPES for kind in about.values()):
        raise ValueError("its facts about clips have unknown types")
    return about


def _logit_columns(labels: LabelSpace, kind: pa.DataType) -> dict[str, pa.DataType]:
    return {LOGIT + name: kind for name in labels.names}


def _names(chosen: np.ndarray, names: Sequence[str]) -> list[list[str]]:
    """The class names of each clip, from bool `[clips, classes]`."""
    return [[names[index] for index in np.flatnonzero(row).tolist()] for row in chosen]


def _facts(schema: pa.Schema) -> tuple[LabelSpace, dict[str, Any]]:
    facts = json.loads((schema.metadata or {})[FACTS])
    if not all(isinstance(name, str) for name in facts["labels"]) or not isinstance(facts["evaluated_split"], str):
        raise ValueError("its classes have no names")
    return LabelSpace(tuple(facts["labels"]), facts["problem_type"]), facts


def _check(parquet: pq.ParquetFile, wanted: Mapping[str, pa.DataType]) -> None:
    """Raises ValueError if the columns are wrong, or a small file could expand to much memory."""
    found = dict(zip(parquet.schema_arrow.names, parquet.schema_arrow.types, strict=True))
    if found != dict(wanted):
        other = next((name for name in (*wanted, *found) if found.get(name) != wanted.get(name)), "")
        raise ValueError(f"column {other[:100]!r} is missing, of another type or too many")
    metadata = parquet.metadata
    num_bytes = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group)
        for column in (rows.column(number) for number in range(rows.num_columns)):
            if column.compression != "UNCOMPRESSED" or not set(column.encodings) <= PLAIN_ENCODINGS:
                raise ValueError("its values are compressed")
            num_bytes += max(column.total_compressed_size, column.total_uncompressed_size)
    if num_bytes > MAX_TABLE_BYTES or metadata.num_rows * len(wanted) > MAX_TABLE_BYTES:
        raise ValueError(f"it has {num_bytes:,} bytes")
