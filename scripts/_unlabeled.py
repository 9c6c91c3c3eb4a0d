"""Unlabeled recordings for self_train.py: which are usable, their folds, and a model's predictions for them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio import InputError
from hf_audio.audit.findings import Finding, audit_clips
from hf_audio.corpora.folder.contents import contents_of
from hf_audio.data.index.columns import is_one_of, of_split, with_split, without_mixtures
from hf_audio.data.index.label_overrides import LEAVE_OUT, overrides_text
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.pseudo_labels import SOFT
from hf_audio.data.index.table import Clip, index_of
from hf_audio.data.splits.assigning import draw_folds
from hf_audio.data.tables import csv_text, written_rows
from hf_audio.files import read_json, write_atomically, write_json
from hf_audio.finished_work import as_facts, digest_of_files, digest_of_folder
from hf_audio.label_quality.confident import recording_probabilities
from hf_audio.predictor import Predictor

PLACE = "unlabeled/"  # prefix of their names, which distinguishes them from those of the corpus
HELD_OUT = ("validation", "test")


class Unlabeled(NamedTuple):
    """The usable unlabeled recordings.

    Attributes:
        root: their folder.
        folds: fold of each recording, from 0, by its path relative to the root.
        told: a paragraph about what was found and excluded.
    """

    root: Path
    folds: dict[str, int]
    told: str


def usable_recordings(root: Path, clips: pa.Table, folder: Path, num_folds: int, token: str | None = None) -> Unlabeled:
    """The recordings in a folder, without copies of clips in the validation and test splits.

    Args:
        root: the folder.
        clips: clips of the corpus, with their splits.
        folder: stores the measurements, so that recordings are read only once.
        num_folds: number of folds to divide them into.
        token: Hub token, for clips on the Hub.

    Raises:
        InputError: the folder does not exist, or has too few usable recordings.
    """
    if not root.is_dir():
        raise InputError(f"--unlabeled {root} is not a folder: give one with recordings")
    names = sorted(path.relative_to(root).as_posix() for path in contents_of(root).audio)
    if not names:
        raise InputError(f"--unlabeled {root} has no recordings: give another folder")
    unlabeled = index_of([Clip(root / name, (), PLACE + name, PLACE + name) for name in names])
    held_out = without_mixtures(clips).filter(is_one_of(clips["split"], HELD_OUT)) if len(clips) else clips
    columns = [name for name in unlabeled.column_names if name in held_out.column_names]
    both = pa.concat_tables([held_out.select(columns), with_split(unlabeled, "train").select(columns)])
    findings = audit_clips(both, store=folder / "heard.jsonl", token=token)
    broken = {one.clip_id for one in findings if one.finding in ("broken", "silent")}
    copies = copies_of(set(held_out["clip_id"].to_pylist()), findings)
    kept = [name for name in names if PLACE + name not in broken | copies]
    if len(kept) < num_folds:
        raise InputError(
            f"{len(kept)} of {len(names)} recordings in {root} can be used, expected {num_folds} or more: add some"
        )
    told = (
        f"{len(names):,} recordings without labels: {len(kept):,} can be used, "
        f"{len({one for one in broken if one.startswith(PLACE)}):,} cannot be decoded or are silent, and "
        f"{len({one for one in copies if one.startswith(PLACE)}):,} were excluded as copies of recordings in the "
        "validation or test split."
    )
    return Unlabeled(root, {name: _fold_of(name, num_folds) for name in kept}, told)


def copies_of(held_out: set[str], findings: list[Finding]) -> set[str]:
    """The clips that are copies of held-out ones, directly or through other copies."""
    pairs = [(one.clip_id, one.other) for one in findings if one.other]
    found = set(held_out)
    while True:
        more = {name for pair in pairs if set(pair) & found for name in pair} - found
        if not more:
            return found - held_out
        found |= more


def left_out_tables(clips: pa.Table, labels: LabelSpace, folder: Path, num_folds: int) -> list[Path]:
    """A table per fold of the training groups, which excludes the clips of that fold.

    Raises:
        InputError: see `draw_folds`.
    """
    training = with_split(of_split(without_mixtures(clips), "train"), None)
    drawn = draw_folds(training, labels, num_folds)
    paths = []
    for fold in range(1, num_folds + 1):
        names = drawn.filter(pc.equal(drawn["split"], f"fold{fold}"))["clip_id"].to_pylist()
        paths.append(folder / f"without_fold_{fold}.csv")
        rows = ({"clip_id": name, "labels": LEAVE_OUT} for name in names)
        write_atomically(paths[-1], overrides_text(rows, ("clip_id", "labels")))
    return paths


def labeled_by(
    run_folder: Path, root: Path, names: list[str], labels: LabelSpace, clip_s: float | None
) -> dict[str, np.ndarray]:
    """The predictions of a run's model for recordings. They are stored beside the run, and computed only once."""
    said, facts_file = (run_folder.with_name(f"{run_folder.name}_says.{suffix}") for suffix in ("csv", "json"))
    paths = {name: root / name for name in names}
    facts = {"weights": digest_of_folder(run_folder), "recordings": digest_of_files(paths.values()), "names": names}
    facts = as_facts({**facts, "clip_s": clip_s})
    if said.exists() and facts_file.exists() and read_json(facts_file) == facts:
        return {row["path"]: np.array([float(row[SOFT + name]) for name in labels.names]) for row in written_rows(said)}
    found = recording_probabilities(Predictor.load(str(run_folder)), paths, labels, clip_s)
    head = ["path", *(SOFT + name for name in labels.names)]
    write_atomically(said, csv_text([head, *([name, *values.tolist()] for name, values in found.items())]))
    write_json(facts_file, facts)
    return found


def _fold_of(name: str, num_folds: int) -> int:
    """The fold, from a hash of the name, so that it does not change when other recordings are added."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % num_folds
