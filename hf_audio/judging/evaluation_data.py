"""The data that models are evaluated on: a feature dataset, or recordings from a folder, table, corpus or dataset.

features_data("USER/irmas-fbank")                        stored windows
recordings_data(DataConfig(dataset="marsyas/gtzan"))     sound, with each model's own windows and extractor
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
    """Labeled clips.

    Attributes:
        name: name for readers, without local paths.
        clips: the index of the feature dataset, or an index with the audio of recordings. `split` is train, validation,
            test, the name of a fold, or null.
        labels: the classes.
        corpus: title of the corpus.
        source, revision: the dataset on the Hub with these features or recordings, and its commit; empty if there is
            none.
        groups_known: whether groups are known.
        features: the stored windows; None for recordings.
        split: the evaluated split, ALL for all clips; see `chosen`.
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
        """The names of its splits or folds; an empty list if there are none."""
        return names_in(self.clips["split"])

    @property
    def evaluated(self) -> pa.Table:
        """The clips to score, without the validation clips that thresholds are chosen on."""
        return of_split(self.clips, self.split)

    def targets(self) -> np.ndarray:
        """float32 `[clips, classes]`, NaN where unknown."""
        return targets_of(self.clips, self.labels)

    def chosen(self, split: str | None = None) -> EvaluationData:
        """The clips of one split, and of validation if there is one, to choose thresholds on.

        Args:
            split: by default test, or the only split, or all clips if there are no splits. ALL uses all clips.

        Raises:
            InputError: no such split; several splits and none of them test; a split with a single class or no labels.
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
                    f"{self.name} has the splits {', '.join(splits)}, none of which is test: give one as --split, or "
                    f"{ALL} for all clips"
                )
        if not splits and split != ALL:
            raise InputError(
                f"{self.name} has no splits, so none is called {split}: leave out --split to evaluate all clips, or "
                "evaluate RUN/features, which has the splits drawn for training"
            )
        if split not in (*splits, ALL):
            raise unknown_name("split", split, [*splits, ALL])
        return split


def features_data(source: str | Path, *, token: str | None = None, revision: str | None = None) -> EvaluationData:
    """A feature dataset from a folder or the Hub.

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
    """Recordings with their existing splits and folds; none are drawn.

    Args:
        data: where the recordings are and how to read them.
        tell: called with a paragraph on how a folder, table or dataset was read.

    Raises:
        InputError: see `read_corpus`; more than one corpus.
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
    """Whether a dataset holds features.

    Raises:
        InputError: see `source_of`.
    """
    return data.dataset is not None and source_of(data, token).kind == FEATURES


def targets_of(clips: pa.Table, labels: LabelSpace) -> np.ndarray:
    """The targets of an index, float32 `[clips, classes]`, NaN where unknown."""
    targets = np.zeros((len(clips), len(labels)), dtype=np.float32)
    targets[labels.places(clips["labels"])] = 1.0
    targets[labels.places(clips["unknown"])] = np.nan
    return targets


def judged_columns(clips: pa.Table, about: pa.Table) -> pa.Table:
    """The clips of an index in the form of `JudgedClips`: clip_id, group, split, and the columns of `about_clips`."""
    columns = {name: clips[name].cast(pa.string()) for name in ("clip_id", "group", "split")}
    return pa.table(columns | {name: about[name] for name in about.column_names if name != "clip_id"})


def _check_classes(data: EvaluationData) -> None:
    """Raises InputError for clips on which models cannot be compared: none, unlabeled ones, or all of one class."""
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
