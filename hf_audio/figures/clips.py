"""Plots of a dataset's clips: lengths, number of classes, and co-occurrence of classes."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from matplotlib.figure import Figure

from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.figures.figures import BLUE, new_figure, short_name

MAX_NAMED_CLASSES = 60
NUM_BARS = 40


def clip_durations(features: FeatureDataset) -> dict[str, np.ndarray]:
    """The seconds covered by the windows of each clip, by split: float64 `[clips]`."""
    durations_s = {}
    for split, rows in features.splits.items():
        first: dict[str, float] = defaultdict(lambda: np.inf)
        last: dict[str, float] = defaultdict(float)
        for row in rows.select_columns(["clip_id", "start_s", "num_frames"]):
            end_s = row["start_s"] + features.window_s * min(1.0, row["num_frames"] / features.longest_row)
            first[row["clip_id"]] = min(first[row["clip_id"]], row["start_s"])
            last[row["clip_id"]] = max(last[row["clip_id"]], end_s)
        durations_s[split] = np.array([last[clip] - start_s for clip, start_s in first.items()])
    return durations_s


def clip_targets(features: FeatureDataset, split: str) -> np.ndarray:
    """The targets of a split's clips: float32 `[clips, classes]`, 1 present, 0 absent, NaN unknown."""
    targets: dict[str, np.ndarray] = {}
    for row in features.splits[split].select_columns(["clip_id", *features.label_columns]):
        if row["clip_id"] not in targets:
            targets[row["clip_id"]] = features.labels.target_of(row)
    return np.stack(list(targets.values()))


def duration_plot(durations_s: dict[str, np.ndarray]) -> Figure:
    """A histogram of clip lengths for each split, on a common time axis."""
    longest_s = max(float(lengths.max()) for lengths in durations_s.values())
    edges = np.linspace(0, longest_s * 1.02, NUM_BARS + 1)
    figure, axes = new_figure(7, 0.4 + 1.6 * len(durations_s), rows=len(durations_s))
    for axis, (split, lengths) in zip(np.ravel(axes), durations_s.items(), strict=True):
        axis.hist(lengths, bins=edges, color=BLUE)
        total_h, median_s = lengths.sum() / 3600, np.median(lengths)
        axis.set_title(
            f"{split}: {len(lengths):,} clips, {total_h:,.2f} h, median {median_s:.1f} s", fontsize=9, loc="left"
        )
        axis.set_xlim(0, edges[-1])
    np.ravel(axes)[-1].set_xlabel("seconds per clip")
    return figure


def label_count_plot(targets: dict[str, np.ndarray]) -> Figure:
    """The number of clips by number of classes, from targets `[clips, classes]` by split; unknown ones do not count."""
    counts = {split: np.bincount((its > 0.5).sum(axis=1)) for split, its in targets.items()}
    largest = max(map(len, counts.values()))
    figure, axes = new_figure(7, 0.6 + 1.7 * len(counts), rows=len(counts))
    for axis, (split, its) in zip(np.ravel(axes), counts.items(), strict=True):
        bars = axis.bar(range(len(its)), its, color=BLUE)
        axis.bar_label(bars, [f"{count:,}" if count else "" for count in its], fontsize=8)
        mean = (its * np.arange(len(its))).sum() / its.sum()
        axis.set_title(f"{split}: {its.sum():,} clips, {mean:.2f} classes on average", fontsize=9, loc="left")
        axis.set_xlim(-0.6, largest - 0.4)
        axis.set_xticks(range(largest))
        axis.margins(y=0.2)
    np.ravel(axes)[-1].set_xlabel("classes per clip")
    return figure


def co_occurrence(targets: np.ndarray) -> np.ndarray:
    """The share of the clips with class i that also have class j: float64 `[classes, classes]`, NaN without clips.

    Args:
        targets: `[clips, classes]`; clips for which one of the two classes is unknown do not count.
    """
    known, present = ~np.isnan(targets), np.nan_to_num(targets) == 1
    both = present.T.astype(float) @ present
    first_of_known_pairs = present.T.astype(float) @ known
    with np.errstate(invalid="ignore", divide="ignore"):
        return both / first_of_known_pairs


def co_occurrence_plot(shares: np.ndarray, names: tuple[str, ...]) -> Figure:
    """A matrix of shares: the row of a class shows which other classes its clips have."""
    names, shares = names[:MAX_NAMED_CLASSES], shares[:MAX_NAMED_CLASSES, :MAX_NAMED_CLASSES]
    side = 2.2 + 0.3 * len(names)
    figure, axis = new_figure(side + 0.8, side)
    axis.grid(False)
    others = np.where(np.eye(len(names), dtype=bool), np.nan, shares)  # a class always occurs with itself
    largest = np.nanmax(others) if np.isfinite(others).any() else 1.0
    image = axis.imshow(others, cmap="Blues", vmin=0, vmax=max(largest, 0.01))
    titles = [short_name(name) for name in names]
    axis.set_xticks(range(len(names)), titles, rotation=90, fontsize=8)
    axis.set_yticks(range(len(names)), titles, fontsize=8)
    for row, column in zip(*np.nonzero(np.nan_to_num(others) >= 0.005), strict=True):
        share = others[row, column]
        color = "white" if share > 0.6 * largest else "black"
        axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=6, color=color)
    axis.set_xlabel("% of these clips that also have class")
    axis.set_ylabel("clips with class")
    figure.colorbar(image, ax=axis, shrink=0.6)
    return figure
