"""Inputs of classical models per window: classical features, optionally followed by a network's embedding."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hf_audio.data.loading.feature_collator import clip_key
from hf_audio.data.loading.features_dataset import FeatureDataset, load_features
from hf_audio.errors import InputError
from hf_audio.kinds import Form, names_of
from hf_audio.predictions import WindowEmbeddings
from hf_audio.predictor import Predictor
from hf_audio.privacy import public_name
from hf_audio.terminal import named_logger

# The grid of window starts depends on the kind of features: spectra of 25 ms every 10 ms, or samples. The last window
# ends at the clip's end, rounded to that grid.
SAME_START_S = 0.05

logger = named_logger(__name__)


@dataclass(frozen=True)
class WindowVectors:
    """Windows of a split as vectors, in the order of the dataset.

    Attributes:
        inputs: float32 `[windows, numbers]`, not standardized.
        targets: float32 `[windows, classes]`, NaN is unknown.
        clip_ids, groups: strings of each window.
        starts_s: float64 `[windows]`.
    """

    inputs: np.ndarray
    targets: np.ndarray
    clip_ids: np.ndarray
    groups: np.ndarray
    starts_s: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: np.ndarray) -> WindowVectors:
        """Some of the windows."""
        return WindowVectors(*(one[rows] for one in vars(self).values()))

    def evenly_spaced(self, maximum: int) -> WindowVectors:
        """At most `maximum` windows, evenly spaced."""
        if len(self) <= maximum:
            return self
        return self.take(np.linspace(0, len(self) - 1, maximum).round().astype(np.int64))

    @property
    def clip_keys(self) -> np.ndarray:
        """int64 `[windows]`, see `clip_key`."""
        keys = {clip_id: clip_key(clip_id) for clip_id in np.unique(self.clip_ids)}
        return np.array([keys[clip_id] for clip_id in self.clip_ids], dtype=np.int64)


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network, and a feature dataset for it."""

    predictor: Predictor
    features: FeatureDataset

    @property
    def public_name(self) -> str:
        """Its Hub name, or the last part of a local folder's path."""
        return public_name(self.predictor.name)

    def facts(self) -> dict[str, Any]:
        """Facts about the network, for report and card."""
        return {
            "name": self.public_name,
            "architecture": type(self.predictor.model).__name__,
            "num_parameters": self.predictor.model.num_parameters(),
            "sampling_rate": self.predictor.extractor.sampling_rate,
            "features": self.features.manifest["extractor"],
        }


class VectorReader:
    """Reads windows of a dataset as vectors, each split once.

    Args:
        features: a dataset of vectors, such as classical features.
        network: a network whose embedding of the same window is appended.

    Raises:
        InputError: the features are not vectors, or the network's windows have a different length or hop.
    """

    def __init__(self, features: FeatureDataset, network: TrainedNetwork | None = None) -> None:
        if features.kind.form is not Form.VECTORS:
            raise InputError(
                f"SVM and boosting read {names_of(Form.VECTORS)} features, but {features.source} has "
                f"{features.kind.name}: use --features {names_of(Form.VECTORS)}"
            )
        self.features, self.network = features, network
        self._read: dict[str, WindowVectors] = {}
        if network is not None:
            _check_same_windows(features, network.features)

    def vectors(self, split: str) -> WindowVectors:
        """All windows of a split, in both datasets if there is a network."""
        if split not in self._read:
            windows = classical_vectors(self.features, split)
            if self.network is not None:
                network = self.network
                found = network.predictor.embeddings(network.features, split)
                windows = join(windows, found, network.features.source)
            self._read[split] = windows
        return self._read[split]


def open_network(name: str, features: str | None = None, *, token: str | None = None, seed: int = 0) -> TrainedNetwork:
    """The network `name`, a run folder or a Hub name, and its feature dataset `features`.

    By default, the dataset is that in the run folder.

    Raises:
        InputError: one of them cannot be loaded, or they do not match.
    """
    beside = Path(name) / "features"
    if features is None and not (beside / "manifest.json").is_file():
        raise InputError(
            f"{name} has no features stored with it: use --network_features with the feature dataset for it"
        )
    dataset = load_features(features or beside, token=token)
    predictor = Predictor.load(name, token=token, seed=seed)
    predictor.check_reads(dataset)
    return TrainedNetwork(predictor, dataset)


def classical_vectors(features: FeatureDataset, split: str) -> WindowVectors:
    """Mean over steps of the stored features of each window."""
    kind = features.kind
    inputs, targets, clip_ids, groups, starts_s = [], [], [], [], []
    for row in features.splits[split]:
        inputs.append(kind.decode(row)[: row["num_frames"]].mean(axis=0))
        targets.append(features.labels.target_of(row))
        clip_ids.append(row["clip_id"])
        groups.append(row["group"])
        starts_s.append(row["start_s"])
    names = np.array(clip_ids), np.array(groups)
    return WindowVectors(np.stack(inputs), np.stack(targets), *names, np.array(starts_s, dtype=np.float64))


def join(windows: WindowVectors, found: WindowEmbeddings, source: str) -> WindowVectors:
    """Windows with the embedding of the same window appended, found by clip and start.

    The last window of a clip is skipped if only one dataset has it, because the grids differ.

    Raises:
        InputError: a clip has no windows in common with the embeddings.
    """
    rows_of = defaultdict(list)
    for row, clip_id in enumerate(found.clip_ids):
        rows_of[clip_id].append(row)
    kept, partners = [], []
    for index, (clip_id, start_s) in enumerate(zip(windows.clip_ids, windows.starts_s, strict=True)):
        rows = rows_of.get(clip_id, [])
        nearest = min(rows, key=lambda row: abs(found.starts_s[row] - start_s), default=None)
        if nearest is not None and abs(found.starts_s[nearest] - start_s) <= SAME_START_S:
            kept.append(index)
            partners.append(nearest)
    lost = sorted(set(windows.clip_ids) - set(windows.clip_ids[kept]))
    if lost:
        raise InputError(
            f"{len(lost)} clips have no window in the same split of {source} (the first is {lost[0]}): build both "
            "feature datasets from the same recordings, with the same split"
        )
    if len(kept) < len(windows):
        logger.info("%d of %d windows have no embedding and are skipped", len(windows) - len(kept), len(windows))
    joined = windows.take(np.array(kept))
    return replace(joined, inputs=np.concatenate([joined.inputs, found.values[partners]], axis=1))


def _check_same_windows(features: FeatureDataset, others: FeatureDataset) -> None:
    for name in ("window_s", "hop_s"):
        here, there = features.manifest[name], others.manifest[name]
        if abs(here - there) > 1e-6:
            raise InputError(
                f"The windows do not match ({name} is {here:g} in {features.source} and {there:g} in {others.source}): "
                "build both with the same --window_s and --hop_s"
            )
