"""A teacher whose logits for all windows were precomputed and stored in a table.

    python scripts/store_logits.py someone/ast-large FEATURES --output_dir logits      → --teacher_logits logits

Windows are looked up by clip and start time. So the teacher may use another kind of features, built from the same
recordings with the same --window_s and --hop_s: window starts then differ by less than SAME_START_S.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from hf_audio.data.loading.dataset_files import download_file
from hf_audio.data.loading.feature_collator import FeatureCollator, clip_key
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.files import MAX_TABLE_BYTES
from hf_audio.hub_access import hub_errors_in_words
from hf_audio.models.inputs import TAUGHT
from hf_audio.privacy import is_repo_id, public_name
from hf_audio.stored_scores import FOLDER, WINDOWS, StoredLogits, read_logits
from hf_audio.training.objective import Batch

FILE = f"{FOLDER}/{WINDOWS}"
SAME_START_S = 0.05
MAX_LETTERS = 200  # for each fact about the teacher in a file


class LogitTable:
    """Stored logits, found by clip and start.

    Args:
        stored: the logits of all windows.
        name: name in messages.
    """

    def __init__(self, stored: StoredLogits, name: str) -> None:
        keys = {clip_id: clip_key(clip_id) for clip_id in dict.fromkeys(stored.clip_ids)}
        clips = np.array([keys[clip_id] for clip_id in stored.clip_ids], dtype=np.int64)
        order = np.lexsort((stored.starts_s, clips))
        self.name, self.clips, self.starts_s = name, clips[order], stored.starts_s[order]
        self.logits = stored.logits[order]

    def places(self, clip_ids: Sequence[str], starts_s: Sequence[float]) -> np.ndarray:
        """The rows of windows, int64 `[windows]`; -1 if the table has none that starts within SAME_START_S."""
        clips = np.array([clip_key(clip_id) for clip_id in clip_ids], dtype=np.int64)
        firsts, ends = (np.searchsorted(self.clips, clips, side) for side in ("left", "right"))
        found = np.full(len(clips), -1)
        for row, (first, end, start_s) in enumerate(zip(firsts, ends, starts_s, strict=True)):
            if first < end:
                off = np.abs(self.starts_s[first:end] - start_s)
                nearest = int(off.argmin())
                found[row] = first + nearest if off[nearest] <= SAME_START_S else -1
        return found

    def of(self, rows: Sequence[dict[str, Any]]) -> Tensor:
        """float32 `[rows, classes]`.

        Raises:
            InputError: the table lacks a window.
        """
        clip_ids, starts_s = ([row[name] for row in rows] for name in ("clip_id", "start_s"))
        places = self.places(clip_ids, starts_s)
        self.require(places, clip_ids, starts_s)
        return torch.from_numpy(self.logits[places])

    def require(self, places: np.ndarray, clip_ids: Sequence[str], starts_s: Sequence[float]) -> None:
        """Raises InputError if a window has no row."""
        lacking = np.flatnonzero(places < 0)
        if len(lacking):
            first = int(lacking[0])
            raise InputError(
                f"{self.name} lacks the logits of {len(lacking):,} of {len(places):,} windows (the first is of "
                f"{clip_ids[first]} at {starts_s[first]:.3g} s): store them with scripts/store_logits.py, for these "
                "recordings and the same --window_s and --hop_s"
            )


class TaughtCollator:
    """A FeatureCollator that adds the teacher's logits to its batches.

    Args:
        collator: makes the batches.
        table: provides the logits.
    """

    def __init__(self, collator: FeatureCollator, table: LogitTable) -> None:
        self.collator, self.table = collator, table
        self.on_device = collator.on_device

    def __call__(self, rows: Sequence[dict[str, Any]]) -> Batch:
        return {**self.collator(rows), TAUGHT: self.table.of(rows)}


class StoredTeacher:
    """A teacher with stored logits.

    Args:
        stored: its logits for all windows of `features`.
        features: the data to train on.
        name: where the logits are stored, for messages.
        commit: their commit on the Hub.

    Raises:
        InputError: a window is missing.
    """

    needs_whole_windows = True

    def __init__(self, stored: StoredLogits, features: FeatureDataset, name: str, commit: str | None = None) -> None:
        self.name, self.labels, self.told, self.commit = name, stored.labels, stored.told, commit
        self.table = LogitTable(stored, name)
        _require_all(self.table, features)

    @classmethod
    def load(
        cls, source: str, features: FeatureDataset, *, token: str | None = None, revision: str | None = None
    ) -> StoredTeacher:
        """Loads logits from a folder or a dataset on the Hub; the file may be untrusted."""
        stored, commit = open_logits(source, token=token, revision=revision)
        return cls(stored, features, source, commit)

    def answers(self, batch: Batch) -> Tensor:
        """The logits that the collator has added."""
        return batch[TAUGHT]

    def collator_of(self, collator: FeatureCollator) -> TaughtCollator:
        """A collator that adds the logits of each window."""
        return TaughtCollator(collator, self.table)

    def facts(self) -> dict[str, Any]:
        """Facts about the teacher, and where its logits are stored."""
        told = {name: self.told.get(name) for name in ("teacher", "commit", "weights", "license")}
        known = {name: one[:MAX_LETTERS] if isinstance(one, str) else None for name, one in told.items()}
        logits = {"stored_logits": public_name(self.name), "stored_logits_commit": self.commit}
        return {**known, "teacher": known.get("teacher") or public_name(self.name), **logits}


def open_logits(
    source: str, *, token: str | None = None, revision: str | None = None
) -> tuple[StoredLogits, str | None]:
    """Stored logits from a folder, or from a dataset on the Hub with its commit.

    Raises:
        InputError: it is neither, cannot be accessed, or has no stored logits.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise InputError(f"{source} is a folder, which has no revision {revision!r}: leave it out")
        return read_logits(folder / FILE, source), None
    if not is_repo_id(source) or source.count("/") != 1:
        raise InputError(f"{source} is neither a folder nor a Hub repository of the form user/name")
    with hub_errors_in_words(source, revision, f"holds no stored logits (no {FILE})"):
        path = Path(download_file(source, FILE, token, revision, MAX_TABLE_BYTES))
    return read_logits(path, source), path.parents[1].name


def _require_all(table: LogitTable, features: FeatureDataset) -> None:
    """Refuses a table that lacks windows of training or validation.

    For a stream, only the number of windows is known in advance: missing windows are found when they are read.
    """
    if len(table.clips) < features.num_windows("train"):
        raise InputError(
            f"{table.name} has logits of {len(table.clips):,} windows, but {features.source} has "
            f"{features.num_windows('train'):,} in its train split alone: store them for these features with "
            "scripts/store_logits.py"
        )
    for split in {"train", "validation"} & features.splits.keys():
        rows = features.splits[split]
        if isinstance(rows, Dataset):
            columns = [rows[name][:] for name in ("clip_id", "start_s")]
            table.require(table.places(*columns), *columns)
