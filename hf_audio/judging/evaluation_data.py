"""The data that models are evaluated on: a feature dataset, or recordings of a folder, table, corpus or dataset.

features_data("USER/irmas-fbank")                        windows as they are stored
recordings_data(DataConfig(dataset="marsyas/gtzan"))     sound, cut by each model's own rule and extractor
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.config import DataConfig
from hf_audio.data.index.columns import is_one_of, names_in, of_split, with_split
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.loading.features_dataset import FeatureDataset, load_features
from hf_audio.errors import InputError, unknown_name
from hf_audio.preparation.clips import label_space, require_one_corpus
from hf_audio.preparation.protocols import with_understanding
from hf_audio.preparation.read_corpora import read_corpus
from hf_audio.preparation.sources import FEATURES, source_of
from hf_audio.privacy import public_name

ALL, VALIDATION, TEST = "all", "validation", "test"


@dataclass(frozen=True)
class EvaluationData:
    """Clips whose classes are known.

    Attributes:
        name: for people; without a path of this machine.
        clips: an index: of features the one that they have, of recordings one with their audio. `split` is train,
            validation, test, the name of a fold, or null.
        labels: the classes.
        corpus: title of the corpus.
        source, revision: the dataset of the Hub that they are, or that their recordings are of, and its commit; empty
            where there is none.
        groups_known: whether it is known what belongs together.
        features: where windows are stored; None where recordings are heard.
        split: the one that is evaluated, ALL for all clips; see `chosen`.
    """

    name: str
    clips: pa.Table
    labels: LabelSpace
    corpus: str
    source: str = ""
    revision: str = ""
    groups_known: bool = True
    features: FeatureDataset | None = None
    split: str = ALL

    @property
    def splits(self) -> list[str]:
        """The names of its splits or folds; none where there are no splits."""
        return names_in(self.clips["split"])

    @property
    def evaluated(self) -> pa.Table:
        """The clips that scores are of, without those that thresholds are chosen on."""
        return of_split(self.clips, self.split)

    def targets(self) -> np.ndarray:
        """float32 `[clips, classes]`, NaN where unknown."""
        return targets_of(self.clips, self.labels)

    def chosen(self, split: str | None = None) -> EvaluationData:
        """The clips of one split and, where there are any, those of validation, to choose thresholds by.

        Args:
            split: by default test, or the only split, or all clips where there are no splits. ALL takes every clip.

        Raises:
            InputError: no such split; several and none of them test; nothing to tell apart among its clips.
        """
        split = self._named(split)
        if split == ALL:
            chosen = with_split(self.clips, ALL)
        else:
            chosen = self.clips.filter(pc.fill_null(is_one_of(self.clips["split"], (split, VALIDATION)), False))
        found = dataclasses.replace(self, clips=chosen, split=split)
        _check_classes(found)
        return found

    def _named(self, split: str | None) -> str:
        splits = self.splits
        if split is None:
            if not splits or (splits == ["train"] and self.features is None):
                return ALL
            split = TEST if TEST in splits else splits[0] if len(splits) == 1 else None
            if split is None:
                raise InputError(
                    f"{self.name} has the splits {', '.join(splits)} and none is called test: give one as --split, or "
                    f"{ALL} for all clips"
                )
        if not splits and split != ALL:
            raise InputError(
                f"{self.name} has no splits, so none is called {split}: leave out --split to evaluate all clips, or "
                "evaluate RUN/features, which have the splits that were drawn for training"
            )
        if split not in (*splits, ALL):
            raise unknown_name("split", split, [*splits, ALL])
        return split


def features_data(source: str | Path, *, token: str | None = None, revision: str | None = None) -> EvaluationData:
    """A feature dataset, of a folder or the Hub.

    Raises:
        InputError: see `load_features`.
    """
    features = load_features(source, token=token, revision=revision)
    stored = {clip_id for rows in features.splits.values() for clip_id in rows.unique("clip_id")}
    clips = features.clips()
    corpus = features.manifest["corpus"]
    return EvaluationData(
        features.public_name,
        clips.filter(is_one_of(clips["clip_id"], stored)),
        features.labels,
        features.corpus,
        corpus["source"],
        corpus["revision"],
        corpus["groups_known"],
        features,
    )


def recordings_data(
    data: DataConfig, *, token: str | None = None, tell: Callable[[str], object] | None = None
) -> EvaluationData:
    """Recordings with the splits and folds that they have; nothing is drawn.

    Args:
        data: what says where they are and how they are read.
        tell: takes the paragraph on how a folder, table or dataset was read.

    Raises:
        InputError: see `read_corpus`; several corpora.
    """
    require_one_corpus(data)
    clips, understanding, card = read_corpus(data, token)
    if understanding and tell:
        tell(understanding.paragraph())
    card = with_understanding(card, clips, understanding)
    name = public_name(data.dataset or data.data_dir or data.corpus)
    return EvaluationData(
        name, clips, label_space(card, clips), card.name, card.source, card.revision, card.groups_known
    )


def is_features(data: DataConfig, token: str | None = None) -> bool:
    """Whether a dataset holds features that were built already.

    Raises:
        InputError: see `source_of`.
    """
    return data.dataset is not None and source_of(data, token).kind == FEATURES


def targets_of(clips: pa.Table, labels: LabelSpace) -> np.ndarray:
    """float32 `[clips, classes]` of an index, NaN where unknown."""
    targets = np.zeros((len(clips), len(labels)), dtype=np.float32)
    targets[labels.places(clips["labels"])] = 1.0
    targets[labels.places(clips["unknown"])] = np.nan
    return targets


def judged_columns(clips: pa.Table, about: pa.Table) -> pa.Table:
    """The clips of an index as `JudgedClips` has them: clip_id, group, split, and what `about_clips` says of them."""
    columns = {name: clips[name].cast(pa.string()) for name in ("clip_id", "group", "split")}
    return pa.table(columns | {name: about[name] for name in about.column_names if name != "clip_id"})


def _check_classes(data: EvaluationData) -> None:
    """Refuses clips that no model can be told apart by."""
    clips = data.evaluated
    present = names_in(clips["labels"])
    if not len(clips):
        raise InputError(f"{data.name} has no clip in split {data.split}: give another --split")
    if not data.labels.is_multi_label and len(present) < 2:
        raise InputError(
            f"All {len(clips):,} clips of {data.name} ({data.split}) have the same class, {present[0]!r}, so there "
            "is nothing to distinguish: give data with two classes or more, or another --split"
        )
    if data.labels.is_multi_label and not present:
        raise InputError(
            f"None of the {len(clips):,} clips of {data.name} ({data.split}) has a known label: give data with "
            "labels, or another --split"
        )
