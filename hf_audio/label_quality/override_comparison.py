"""Whether label corrections help: a quick model is trained with and without them, and tested on the given labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import sem
from scipy.stats import t as student

from hf_audio.baselines import MAX_TRAINING_WINDOWS, fit_linear
from hf_audio.data.index.label_overrides import (
    LEAVE_OUT,
    CorrectedLabels,
    correct_labels,
    labels_cell,
    overrides_text,
    read_overrides,
)
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import Clip, index_of, rows_of
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.tables import names_cell
from hf_audio.errors import InputError
from hf_audio.files import write_atomically
from hf_audio.label_quality.clip_vectors import ClipTable, clips_of, window_vectors
from hf_audio.label_quality.errors import checked_splits
from hf_audio.metrics import METRIC_NAMES, main_metrics, mean_of_clips, validation_metrics
from hf_audio.terminal import progress

MIN_GROUPS = 20


@dataclasses.dataclass(frozen=True)
class OverrideComparison:
    """Scores before and after corrections.

    Attributes:
        metric: a name in METRIC_NAMES.
        before, after: one score per seed.
        difference, low, high: the difference of the means, and its 95% interval.
        note: what the interval covers.
    """

    metric: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    difference: float
    low: float
    high: float
    note: str

    @property
    def is_noise(self) -> bool:
        """Whether the difference is not significant."""
        return self.low <= 0 <= self.high

    def as_text(self) -> str:
        direction = "better" if self.difference > 0 else "worse"
        verdict = "not significant" if self.is_noise else f"significantly {direction}"
        before, after = (f"{np.mean(one):.3f} (sd {np.std(one, ddof=1):.3f})" for one in (self.before, self.after))
        interval = f"95% interval {self.low:+.3f} to {self.high:+.3f} {self.note}"
        return (
            f"{METRIC_NAMES[self.metric]}, test labels as given, {len(self.before)} seeds: before {before}, after "
            f"{after}\ndifference {self.difference:+.3f}, {interval}: {verdict}"
        )


class _Windows(NamedTuple):
    """Windows to train on: vectors, targets and groups, in the same order."""

    vectors: np.ndarray
    targets: np.ndarray
    groups: np.ndarray


def compare_overrides(
    features: FeatureDataset,
    overrides: str | Path,
    *,
    seeds: int = 20,
    network: str | None = None,
    token: str | None = None,
) -> OverrideComparison:
    """Trains the quick model before and after corrections of training labels; test labels stay as given.

    Validation clips are trained on as well: a linear model does not need them, and corrections include them.

    Each seed draws training and test groups with replacement (a bootstrap), the same ones for both, so that the
    standard deviation of the difference over seeds measures chance.

    Args:
        overrides: a table for `--label_overrides`; its rows of test clips are ignored.
        network: use embeddings of this network instead of window statistics. It should not have been trained on these
            clips.

    Raises:
        InputError: an error of `correct_labels`; fewer than two seeds; no test split; new classes, which cannot be
            compared.
    """
    if seeds < 2 or "test" not in features.splits:
        problem = f"{seeds} seeds" if seeds < 2 else f"no test split in {features.source}"
        raise InputError(f"Found {problem}; a comparison needs at least 2 seeds, and clips to test on")
    train, test = clips_of(features, checked_splits(features, None)), clips_of(features, ["test"])
    labels = features.labels
    corrected = _corrected_targets(train, test, labels, overrides)
    vectors, clip_of_window = window_vectors(features, train.clip_ids, network, token=token)
    test_vectors, clip_of_test_window = window_vectors(features, test.clip_ids, network, token=token)
    groups = train.groups[clip_of_window]
    given = _Windows(vectors, train.targets[clip_of_window], groups)
    fixed = _Windows(vectors, corrected[clip_of_window], groups)
    metric = "mean_average_precision" if labels.is_multi_label else main_metrics(labels.problem_type)[0]
    scores = []
    for seed in progress(range(seeds), desc="before and after corrections", unit=" seeds"):
        random = np.random.default_rng(seed)
        rows = _redrawn(random, groups)
        test_rows = _redrawn(random, test.groups)
        scores.append([])
        for windows in (given, fixed):
            windows = _Windows(*(one[rows] for one in windows))
            usable = ~np.isinf(windows.targets[:, 0])  # infinite in clips that are left out
            some = np.flatnonzero(usable)
            some = some[np.linspace(0, len(some) - 1, min(len(some), MAX_TRAINING_WINDOWS)).round().astype(int)]
            logits = fit_linear(windows.vectors[some], windows.targets[some], labels)(test_vectors)
            logits = mean_of_clips(logits, clip_of_test_window, len(test.rows))[test_rows]
            found = validation_metrics(labels.probabilities(logits), test.targets[test_rows], labels)
            scores[-1].append(found[metric])
    before, after = zip(*scores, strict=True)
    return _compared(metric, before, after, np.std, "over resampled training and test clips")


def compare_runs(metric: str, before: Sequence[float], after: Sequence[float]) -> OverrideComparison:
    """Compares the scores of a recipe with and without corrections, one run per seed, paired by seed.

    The interval covers only the variation over seeds, not over test sets.
    """
    return _compared(metric, before, after, sem, "over seeds")


def _compared(
    metric: str, before: Sequence[float], after: Sequence[float], error_of: Callable[..., float], note: str
) -> OverrideComparison:
    """A comparison with Student's interval of the mean difference; its standard error is `error_of(differences)`."""
    differences = np.subtract(after, before)
    reach = float(student.ppf(0.975, len(differences) - 1) * error_of(differences, ddof=1))
    mean = float(differences.mean())
    return OverrideComparison(metric, tuple(before), tuple(after), mean, mean - reach, mean + reach, note)


def without_test_clips(overrides: str | Path, features: FeatureDataset, path: str | Path) -> Path:
    """Writes the corrections without those of test clips to `path`, for a comparison on the given test labels."""
    test = set(clips_of(features, ["test"]).clip_ids)
    kept = {clip_id: one for clip_id, one in read_overrides(overrides).items() if clip_id not in test}
    has_unknown = any(one.unknown is not None for one in kept.values())
    rows = [
        {
            "clip_id": clip_id,
            "labels": LEAVE_OUT if one.is_left_out else labels_cell(one.labels),
            "unknown": names_cell(one.unknown or ()),
        }
        for clip_id, one in kept.items()
    ]
    columns = ("clip_id", "labels", "unknown") if has_unknown else ("clip_id", "labels")
    write_atomically(Path(path), overrides_text(rows, columns))
    return Path(path)


def _corrected_targets(train: ClipTable, test: ClipTable, labels: LabelSpace, overrides: str | Path) -> np.ndarray:
    """Targets of the training clips after corrections; infinite for clips that are left out."""
    clips = index_of(_clip(row) for row in (*train.rows, *test.rows))
    corrected: CorrectedLabels = correct_labels(clips, labels, overrides)
    new = [name for name in corrected.labels.names if name not in labels.names]
    if new:
        raise InputError(
            f"{overrides} has new classes ({', '.join(new)}), which the test labels lack, so scores cannot be "
            "compared: leave these classes out"
        )
    after = {clip.clip_id: clip for clip in rows_of(corrected.clips)}
    targets = np.full(train.targets.shape, np.inf, dtype=np.float32)
    for target, row in zip(targets, train.rows, strict=True):
        clip = after.get(row["clip_id"])
        if clip is not None:
            target[:] = labels.multi_hot(labels.indices(clip.labels), labels.indices(clip.unknown))
    return targets


def _clip(row: Mapping[str, Any]) -> Clip:
    given, unknown = tuple(row["labels"]), tuple(row["unknown"])
    return Clip("", given, row["group"], row["clip_id"], split=row["split"], unknown=unknown)


def _redrawn(random: np.random.Generator, groups: np.ndarray) -> np.ndarray:
    """The rows of as many groups as there are, drawn with replacement; with few groups, single rows are drawn."""
    if len(np.unique(groups)) < MIN_GROUPS:
        return random.integers(len(groups), size=len(groups))
    names, members = np.unique(groups, return_inverse=True)
    rows_of = np.split(np.argsort(members, kind="stable"), np.cumsum(np.bincount(members))[:-1])
    return np.concatenate([rows_of[number] for number in random.integers(len(names), size=len(names))])
