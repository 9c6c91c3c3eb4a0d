"""Two baselines that every report compares the model with.

The class prior says what the class frequencies are worth; a linear model on mean and standard deviation of the features
says what is left for a network to gain.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
from datasets import Dataset, IterableDataset
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.loading.feature_collator import clip_key
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.metrics.clips import ClipScores, average_per_clip
from hf_audio.terminal import progress

MAX_TRAINING_WINDOWS = 20_000  # more do not move a linear model of 257 weights a class, but take minutes to read
MIN_LOGIT = -30.0  # keeps averages finite where a probability is 0


def prior_scores(
    class_counts: np.ndarray, num_clips: int | np.ndarray, scores: ClipScores, labels: LabelSpace
) -> ClipScores:
    """The same logits for every clip of `scores`: how frequent each class is among the training clips.

    Args:
        class_counts: training clips of each class `[classes]`.
        num_clips: training clips, or those of which each class is known `[classes]`.
        scores: any scores of the clips to judge; their keys and targets are kept.
    """
    logits = _prior_logits(np.asarray(class_counts, dtype=np.float64), num_clips, labels)
    return dataclasses.replace(scores, logits=np.tile(logits, (len(scores), 1)))


def linear_scores(features: FeatureDataset, splits: Iterable[str]) -> dict[str, ClipScores]:
    """Scores by logistic regression on what `window_statistics` says of each window.

    Multinomial where clips have one label, one against the rest where they have several, each class on the windows of
    which it is known; inputs are standardized with the training windows' statistics. Window logits are averaged per
    clip, as the network's are. At most MAX_TRAINING_WINDOWS evenly spaced windows are trained on.
    """
    inputs, targets, _ = window_statistics(features, "train", most=MAX_TRAINING_WINDOWS)
    logits_of = fit_linear(inputs, targets, features.labels)
    scores = {}
    for split in splits:
        inputs, targets, keys = window_statistics(features, split)
        scores[split] = average_per_clip(logits_of(inputs), targets, keys)
    return scores


def fit_linear(
    inputs: np.ndarray, targets: np.ndarray, labels: LabelSpace, c: float = 1.0
) -> Callable[[np.ndarray], np.ndarray]:
    """Logistic regression as `linear_scores` has it: the function from inputs `[windows, numbers]` to logits.

    The smaller `c` (scikit-learn's), the more it is regularized.
    """
    scaler = StandardScaler().fit(inputs)
    fit = _fit_one_against_rest if labels.is_multi_label else _fit_multinomial
    # Steps are short: several threads would mostly wait for each other, on a busy machine a hundred times longer
    with threadpool_limits(1):
        logits_of = fit(scaler.transform(inputs), targets, labels, c)
    return lambda others: logits_of(scaler.transform(others))


def window_statistics(
    features: FeatureDataset, split: str, most: int | None = None, rows: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each stored window as one vector, un-normalized.

    Mean and standard deviation over time of each bin of images, or of log-mel features of sound; of vectors, which are
    statistics already, the mean over steps.

    Args:
        most: at most so many windows, evenly spaced.
        rows: these windows instead, their places in order.

    Returns:
        float32 `[windows, numbers]`, targets float32 `[windows, classes]` (NaN where unknown), clip keys int64
        `[windows]`.
    """
    kind, parameters = features.kind, features.parameters

    def statistics(row: dict) -> tuple[np.ndarray, np.ndarray, int]:
        summary = kind.summary(kind.decode(row)[: row["num_frames"]], parameters)
        return summary, features.labels.target_of(row), clip_key(row["clip_id"])

    num_windows = features.num_windows(split)
    if rows is None:
        rows = np.linspace(0, num_windows - 1, min(most or num_windows, num_windows)).round().astype(np.int64)
    stored = features.splits[split]
    chosen = iter(rows_at(stored, rows) if len(rows) < num_windows else stored)
    # Pillow, libsndfile and torch work without the interpreter's lock, so threads share the work and nothing is copied
    # to processes
    with ThreadPoolExecutor() as threads:
        batches = (threads.map(statistics, batch) for batch in iter(lambda: list(islice(chosen, 256)), []))
        results = (one for batch in batches for one in batch)
        bar = progress(results, desc=f"linear baseline, {split}", unit=" windows", total=len(rows))
        inputs, targets, keys = zip(*bar, strict=True)
    return np.stack(inputs), np.stack(targets), np.array(keys, dtype=np.int64)


def rows_at(dataset: Dataset | IterableDataset, places: Sequence[int]) -> Iterable[dict]:
    """The rows at these places, which are in order, of a dataset on disk or a stream."""
    if isinstance(dataset, Dataset):
        return dataset.select(places)
    wanted = set(map(int, places))
    return (row for place, row in enumerate(dataset) if place in wanted)


def _fit_multinomial(inputs: np.ndarray, targets: np.ndarray, labels: LabelSpace, c: float):
    given = targets.argmax(axis=1)
    several = len(np.unique(given)) > 1
    model = LogisticRegression(C=c, max_iter=300, tol=1e-3).fit(inputs, given) if several else None

    def logits_of(inputs: np.ndarray) -> np.ndarray:
        logits = np.full((len(inputs), len(labels)), MIN_LOGIT)  # of classes without a training window
        if model is None:
            logits[:, given[0]] = 0.0
            return logits
        with np.errstate(divide="ignore"):  # a probability may be 0
            logits[:, model.classes_] = np.maximum(model.predict_log_proba(inputs), MIN_LOGIT)
        return logits

    return logits_of


def _fit_one_against_rest(inputs: np.ndarray, targets: np.ndarray, labels: LabelSpace, c: float):
    # Newton steps on 257 weights converge in a fraction of L-BFGS's time where windows are many
    known = ~np.isnan(targets)
    models = [
        LogisticRegression(C=c, solver="newton-cholesky", max_iter=50).fit(inputs[rows], one[rows])
        if len(np.unique(one[rows])) == 2
        else None
        for one, rows in zip(targets.T, known.T, strict=True)
    ]
    prior = _prior_logits(np.nansum(targets, axis=0), known.sum(axis=0), labels)

    def logits_of(inputs: np.ndarray) -> np.ndarray:
        columns = [
            model.decision_function(inputs) if model is not None else np.full(len(inputs), constant)
            for model, constant in zip(models, prior, strict=True)
        ]
        return np.stack(columns, axis=1)

    return logits_of


def _prior_logits(class_counts: np.ndarray, num_clips: int | np.ndarray, labels: LabelSpace) -> np.ndarray:
    """Logits `[classes]` whose probabilities are the frequencies; half a clip is added, so that none is 0 or 1."""
    frequencies = (class_counts + 0.5) / (num_clips + 1)
    return np.log(frequencies / (1 - frequencies)) if labels.is_multi_label else np.log(frequencies)
