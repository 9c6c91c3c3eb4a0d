"""Training an SVM or gradient boosting on a feature dataset, with the interface that evaluation expects."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hf_audio.classical_models.classifiers import (
    MAX_WINDOWS,
    Classifiers,
    calibrate,
    decision_values,
    fit_classifiers,
)
from hf_audio.classical_models.window_vectors import TrainedNetwork, VectorReader
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.environment import usable_cores
from hf_audio.errors import InputError, unknown_name
from hf_audio.metrics import ClipScores, WindowScores, average_per_clip
from hf_audio.terminal import show

TITLES = {
    "svm": "support vector machines with an RBF kernel, one per class",
    "boosting": "gradient-boosted trees, one ensemble per class",
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "svm": {"C": 10.0, "gamma": "scale"},
    "boosting": {"learning_rate": 0.1, "max_leaf_nodes": 15, "max_iter": 200},
}


@dataclass
class TrainedClassifiers:
    """The result of `train_pipeline`; `evaluate_model` accepts it in place of an AudioTrainer.

    Attributes:
        reader: the dataset, and the network if there is one.
        classical_model: "svm" or "boosting".
        classifiers: a fitted pipeline per class, by name; none for classes without training windows.
        logits: `[classes, 2]`, scale and bias of decision values.
        training: facts about the training, for the report.
    """

    reader: VectorReader
    classical_model: str
    classifiers: Classifiers
    logits: np.ndarray
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def features(self) -> FeatureDataset:
        """The dataset that it was trained on."""
        return self.reader.features

    def predictor(self) -> TrainedClassifiers:
        """The model itself, which can score clips."""
        return self

    def scores(self, features: FeatureDataset, split: str) -> ClipScores:
        """Scores of all clips of a split: the means of their windows' logits."""
        return self.window_scores(features, split).clips()

    def window_scores(self, features: FeatureDataset, split: str) -> WindowScores:
        """Scores of all windows of a split: decision values, calibrated to logits."""
        if split not in features.splits:
            raise unknown_name("split", split, features.splits)
        reader = self.reader if features is self.features else VectorReader(features, self.reader.network)
        windows = reader.vectors(split)
        values = decision_values(self.classifiers, windows.inputs, features.labels)
        logits = values * self.logits[:, 0] + self.logits[:, 1]
        return WindowScores(
            windows.clip_ids, windows.groups, windows.clip_keys, windows.starts_s, logits, windows.targets
        )

    def facts(self) -> dict[str, Any]:
        """The report's "model", "training" and "log_history"."""
        network = self.reader.network
        parts = [f"{self.features.extractor.feature_size} classical features"]
        parts += [f"the embedding of {network.public_name}"] if network else []
        return {
            "model": {
                "library": "sklearn",
                "classical_model": self.classical_model,
                "architecture": TITLES[self.classical_model],
                "inputs": " and ".join(parts),
                "size": self.size(),
                "base_model": network.public_name if network else None,
                "adapter": None,
                "network": network.facts() if network else None,
            },
            "training": self.training,
            "log_history": [],
        }

    def size(self) -> str:
        """The size of the model, in words."""
        parts = [pipeline["classifier"] for pipeline in self.classifiers.values()]
        if self.classical_model == "svm":
            return f"{sum(len(one.support_) for one in parts):,} support vectors"
        return f"{sum(one.n_iter_ for one in parts):,} trees"


def train_pipeline(
    features: FeatureDataset,
    classical_model: str = "svm",
    *,
    settings: dict[str, Any] | None = None,
    network: TrainedNetwork | None = None,
    seed: int = 0,
    num_jobs: int | None = None,
) -> TrainedClassifiers:
    """Trains on the windows of the train split, and calibrates on the clips of the validation split if there is one.

    Args:
        features: features of kind "classical". A window's vector is the mean over its steps, not standardized, since
            pipelines start with a StandardScaler.
        classical_model: "svm" or "boosting".
        settings: settings of the classical model that differ from DEFAULTS, by their scikit-learn names.
        network: a network whose embedding of each window is appended to the vector.
        seed: seed for boosting; an SVM is not random.
        num_jobs: number of threads; None uses all cores available to this process.

    Raises:
        InputError: an unknown classical model, other features, windows that do not match, or no class to learn.
    """
    if classical_model not in DEFAULTS:
        raise unknown_name("classical model", classical_model, DEFAULTS)
    num_jobs, labels, begun = num_jobs or usable_cores(), features.labels, time.perf_counter()
    reader = VectorReader(features, network)
    all_windows = reader.vectors("train")
    windows = all_windows.evenly_spaced(MAX_WINDOWS[classical_model])
    settings = {**DEFAULTS[classical_model], **(settings or {})}
    chosen = ", ".join(
        f"{name} {value:g}" if name != "gamma" else f"{name} {value}" for name, value in settings.items()
    )
    show(f"{TITLES[classical_model]}: {len(windows):,} windows of {windows.inputs.shape[1]} numbers, {chosen}")
    classifiers = fit_classifiers(classical_model, settings, windows, labels, seed=seed, num_jobs=num_jobs)
    if not classifiers:
        raise InputError(
            f"{features.source} has no class that some training windows have and others do not: check its labels"
        )
    validation = _clip_values(classifiers, reader, "validation") if "validation" in features.splits else None
    training = {
        **settings,
        "windows": len(windows),
        "windows left out": len(all_windows) - len(windows),
        "numbers a window": windows.inputs.shape[1],
        "logits calibrated on": "validation" if validation is not None else None,
        "seconds": round(time.perf_counter() - begun, 2),
        "seed": seed,
    }
    logits = calibrate(validation, classifiers, labels)
    return TrainedClassifiers(reader, classical_model, classifiers, logits, training)


def _clip_values(classifiers: Classifiers, reader: VectorReader, split: str) -> ClipScores:
    """Mean decision values per clip."""
    windows = reader.vectors(split)
    values = decision_values(classifiers, windows.inputs, reader.features.labels)
    return average_per_clip(values, windows.targets, windows.clip_keys)
