"""Scores per corpus, for features of several joined corpora."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hf_audio.data.loading.feature_collator import clip_key
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.metrics import METRIC_NAMES, ClipScores, classification_metrics, main_metrics
from hf_audio.preparation.joining import CORPUS


def scores_by_corpus(scores: ClipScores, features: FeatureDataset, threshold: float = 0.5) -> dict[str, dict[str, Any]]:
    """The main metrics and number of clips of each corpus; empty if the dataset was not joined from several corpora.

    Args:
        scores: the scores of the clips of a split.
        features: the dataset of these clips.
        threshold: for multi-label decisions, the same for all corpora.
    """
    if CORPUS not in dict(features.clip_columns.metadata):
        return {}
    clips, labels = features.clips(), features.labels
    names = zip(clips["clip_id"].to_pylist(), clips[CORPUS].to_pylist(), strict=True)
    corpus_of = {clip_key(clip_id): corpus for clip_id, corpus in names}
    corpora = np.array([corpus_of[int(key)] or "" for key in scores.clip_keys])
    if len(set(corpora)) < 2:
        return {}
    probabilities, found = labels.probabilities(scores.logits), {}
    for corpus in sorted(set(corpora)):
        its = corpora == corpus
        metrics = classification_metrics(probabilities[its], scores.targets[its], labels, threshold)
        main = {name: metrics[name] for name in main_metrics(labels.problem_type)}
        found[corpus] = {"num_clips": int(its.sum()), **main}
    return found


def corpus_note(by_corpus: Mapping[str, Mapping[str, Any]], problem_type: str) -> list[str]:
    """One sentence with the scores on each corpus, if there are several."""
    if not by_corpus:
        return []
    first, second = main_metrics(problem_type)[:2]
    parts = [
        f"{name} {METRIC_NAMES[first]} {_number(its[first])}, {METRIC_NAMES[second]} {_number(its[second])} "
        f"({its['num_clips']:,} clips)"
        for name, its in by_corpus.items()
    ]
    return [f"By corpus: {'; '.join(parts)}."]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
