"""How much a leaky split inflates accuracy: quick models trained on splits of one corpus with and without leakage."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from hf_audio.baselines import fit_linear, window_statistics
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.loading.feature_collator import clip_key
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.splits.groups import draw_at_random
from hf_audio.errors import InputError
from hf_audio.figures.page import Row, Table
from hf_audio.metrics import METRIC_NAMES, classification_metrics

MAX_WINDOWS = 20_000
MODELS = {
    "linear": "linear model on mean and standard deviation",
    "neighbor": "nearest neighbor on mean and standard deviation",
}
WAYS = {
    "own": "its own split",
    "groups": "random groups",
    "clips": "random clips",
    "windows": "random windows",
}


@dataclass(frozen=True)
class InflatedAccuracy:
    """Scores of quick models per window, for each way of splitting: {model: {way: scores}}, see MODELS and WAYS."""

    metric: str
    num_train: int
    num_test: int
    scores: dict[str, dict[str, list[float]]]

    def inflated(self, way: str, model: str) -> float:
        """By how many percentage points a way of splitting scores higher than random groups."""
        of = self.scores[model]
        return 100 * (statistics.mean(of[way]) - statistics.mean(of["groups"]))

    def contents(self) -> list[str | Table]:
        """A paragraph and a table with the scores of each way of splitting, and their difference to random groups."""
        num_seeds = len(self.scores["linear"]["windows"])
        rows = [Row([title, *(self._cell(way, model) for model in MODELS)]) for way, title in WAYS.items()]
        return [
            f"{METRIC_NAMES[self.metric].capitalize()} per window, with {self.num_train} training and {self.num_test} "
            f"test windows, drawn {num_seeds} times: mean (standard deviation), and percentage points above random "
            "groups.",
            Table(("split", *MODELS.values()), rows),
        ]

    def _cell(self, way: str, model: str) -> str:
        found = self.scores[model][way]
        mean = f"{statistics.mean(found):.3f}"
        if way == "own":
            return mean
        deviation = f" ({statistics.stdev(found):.3f})" if len(found) > 1 else ""
        return f"{mean}{deviation}" + ("" if way == "groups" else f", {self.inflated(way, model):+.1f}")


def train_both_ways(features: FeatureDataset, *, num_seeds: int = 3, seed: int = 0) -> InflatedAccuracy:
    """Trains quick models on the dataset's own split, and on random splits of its groups, clips and windows.

    All splits have the same sizes and the same windows: those of train and test (validation if there is no test split),
    at most 20,000 windows, in whole groups. Each window is scored on its own, since a random split of windows separates
    the windows of a clip; the score is accuracy, or micro F1 for multi-label data.

    Raises:
        InputError: no train split, or no test or validation split.
    """
    tested = "test" if "test" in features.splits else "validation"
    if not {"train", tested} <= features.splits.keys():
        raise InputError(
            f"{features.source} has only the split {', '.join(features.splits)}; "
            "training both ways needs train and test"
        )
    group_of = _Groups()
    parts = [_windows(features, split, group_of, seed) for split in ("train", tested)]
    inputs, targets, clips, groups = (np.concatenate(column) for column in zip(*parts, strict=True))
    num_train, num_test = len(parts[0][0]), len(parts[1][0])
    units = {"groups": groups, "clips": clips, "windows": np.arange(len(inputs))}
    splits = {"own": [np.arange(len(inputs)) >= num_train]}
    for way, unit in units.items():
        splits[way] = [draw_at_random(unit, targets, num_test, seed + number) for number in range(num_seeds)]
    metric = "f1_micro" if features.labels.is_multi_label else "accuracy"
    fits = {"linear": fit_linear, "neighbor": _fit_neighbor}
    with threadpool_limits(1):  # the matrices are small: threads would mostly wait for each other
        scores = {
            model: {
                way: [_score(fit, inputs, targets, is_test, features.labels, metric) for is_test in drawn]
                for way, drawn in splits.items()
            }
            for model, fit in fits.items()
        }
    return InflatedAccuracy(metric, num_train, num_test, scores)


class _Groups(dict):
    """A number for each group's name."""

    def __missing__(self, name: str) -> int:
        self[name] = len(self)
        return self[name]


def _windows(
    features: FeatureDataset, split: str, number_of: _Groups, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Statistics, targets, clips and groups of a split's windows; a random sample of whole groups if too many."""
    max_windows = MAX_WINDOWS * features.num_windows(split) // sum(map(features.num_windows, features.splits))
    rows, names, group_of = None, [], {}
    for row in features.splits[split].select_columns(["clip_id", "group"]):
        names.append(row["group"])
        group_of[clip_key(row["clip_id"])] = number_of[row["group"]]
    if len(names) > max_windows:
        groups = np.array([number_of[name] for name in names])
        rows = np.flatnonzero(~draw_at_random(groups, np.zeros((len(groups), 0)), len(groups) - max_windows, seed))
    inputs, targets, keys = window_statistics(features, split, rows=rows)
    return inputs, targets, keys, np.array([group_of[key] for key in keys.tolist()])


def _fit_neighbor(inputs: np.ndarray, targets: np.ndarray, labels: LabelSpace) -> Callable[[np.ndarray], np.ndarray]:
    scaler = StandardScaler().fit(inputs)
    index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(scaler.transform(inputs))

    def logits_of(others: np.ndarray) -> np.ndarray:
        nearest = index.kneighbors(scaler.transform(others), return_distance=False)[:, 0]
        return 10 * (2 * np.nan_to_num(targets[nearest]) - 1)

    return logits_of


def _score(
    fit: Callable, inputs: np.ndarray, targets: np.ndarray, is_test: np.ndarray, labels: LabelSpace, metric: str
) -> float:
    logits = fit(inputs[~is_test], targets[~is_test], labels)(inputs[is_test])
    return float(classification_metrics(labels.probabilities(logits), targets[is_test], labels)[metric])
