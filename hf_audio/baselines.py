"""The two baselines with which every report compares the model.

The class-prior baseline uses only the class frequencies. The linear baseline, on mean and standard deviation of the
features, shows how much a network gains over a simple model.
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

MAX_TRAINING_WINDOWS = (
    20_000  # more would hardly change a linear model of 257 weights per class, but take minutes to read
)
MIN_LOGIT = -30.0  # keeps averages finite if a probability is 0


def prior_scores(
    class_counts: np.ndarray, num_clips: int | np.ndarray, scores: ClipScores, labels: LabelSpace
) -> ClipScores:
    """The same logits for every clip of `scores`: the class frequencies among the training clips.

    Args:
        class_counts: training clips per class `[classes]`.
        num_clips: number of training clips; or, per class, of those whose label is known `[classes]`.
        scores: any scores of the clips to evaluate, whose keys and targets are copied.
        labels: the classes.
    """
    logits = _prior_logits(np.asarray(class_counts, dtype=np.float64), num_clips, labels)
    return dataclasses.replace(scores, logits=np.tile(logits, (len(scores), 1)))


def linear_scores(features: FeatureDataset, splits: Iterable[str]) -> dict[str, ClipScores]:
    """Scores by logistic regression on the `window_statistics` of each window.

    The regression is multinomial for single-label data, and one-vs-rest for multi-label data, where each class uses the
    windows in which its label is known. Inputs are standardized with the statistics of the training windows, of which
    at most MAX_TRAINING_WINDOWS, evenly spaced, are used. Window logits are averaged per clip, as for networks.
    """
    inputs, targets, _ = window_statistics(features, "train", max_windows=MAX_TRAINING_WINDOWS)
    logits_of = fit_linear(inputs, targets, features.labels)
    scores = {}
    for split in splits:
        inputs, targets, keys = window_statistics(features, split)
        scores[split] = average_per_clip(logits_of(inputs), targets, keys)
    return scores


def fit_linear(
    inputs: np.ndarray, targets: np.ndarray, labels: LabelSpace, c: float = 1.0
) -> Callable[[np.ndarray], np.ndarray]:
    """Fits the regression of `linear_scores`; returns the function from inputs `[windows, numbers]` to logits.

    `c` is scikit-learn's: the smaller, the stronger the regularization.
    """
    scaler = StandardScaler().fit(inputs)
    fit = _fit_one_against_rest if labels.is_multi_label else _fit_multinomial
    # Steps are short: several threads would mostly wait for each other, which takes 100 times as long on a busy machine
    with threadpool_limits(1):
        logits_of = fit(scaler.transform(inputs), targets, labels, c)
    return lambda others: logits_of(scaler.transform(others))


def window_statistics(
    features: FeatureDataset, split: str, max_windows: int | None = None, rows: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each stored window as one vector, not normalized.

    For images, the mean and standard deviation over time per bin; for sound, the same of its log-mel features; for
    vectors, which are statistics already, the mean over steps.

    Args:
        features: the dataset.
        split: one of its splits.
        max_windows: maximum number of windows, which are evenly spaced.
        rows: sorted indices of the windows to use instead.

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
        count = min(max_windows or num_windows, num_windows)
        rows = np.linspace(0, num_windows - 1, count).round().astype(np.int64)
    stored = features.splits[split]
    chosen = iter(rows_at(stored, rows) if len(rows) < num_windows else stored)
    # Pillow, libsndfile and torch release the interpreter's lock, so threads run in parallel, without copies
    with ThreadPoolExecutor() as threads:
        batches = (threads.map(statistics, batch) for batch in iter(lambda: list(islice(chosen, 256)), []))
        results = (one for batch in batches for one in batch)
        bar = progress(results, desc=f"linear baseline, {split}", unit=" windows", total=len(rows))
        inputs, targets, keys = zip(*bar, strict=True)
    return np.stack(inputs), np.stack(targets), np.array(keys, dtype=np.int64)


def rows_at(dataset: Dataset | IterableDataset, places: Sequence[int]) -> Iterable[dict]:
    """The rows with these indices, which are sorted, of a dataset on disk or a stream."""
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
    # With many windows, Newton steps on 257 weights converge in a fraction of L-BFGS's time
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
