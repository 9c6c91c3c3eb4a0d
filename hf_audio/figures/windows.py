"""The two plots of a dataset card: the number of clips per class, and a window of each class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from hf_audio.data.feature_format import shard_names
from hf_audio.figures.figures import ShownFigure, short_name
from hf_audio.kinds import Form, kind_of

MAX_DRAWN_CLASSES = 60
MAX_DEVIATION = 1.5  # of a class mean, in standard deviations, which has the strongest color


def drawn_classes(folder: Path, manifest: Mapping[str, Any]) -> tuple[Figure, str]:
    """A plot of the classes of a dataset, with a caption.

    It shows the spectrogram of one window of each class (log-mel if sound is stored) or, for vectors, the mean over all
    training windows of each class.
    """
    if kind_of(manifest["extractor"]).form is Form.VECTORS:
        return drawn_means(*training_vectors(folder, manifest), manifest)
    return drawn_windows(dict(one_window_per_class(folder, manifest)), manifest)


def drawn_means(vectors: np.ndarray, targets: np.ndarray, manifest: Mapping[str, Any]) -> tuple[Figure, str]:
    """A plot of the class means of vectors `[windows, features]`, with a caption; `targets` as in `class_means`."""
    means = class_means(vectors, targets, manifest["label_names"])
    caption = f"Mean of each feature over the training windows of {len(means)} classes"
    return means_plot(means, feature_groups(manifest["extractor"])), caption


def drawn_windows(windows: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> tuple[Figure, str]:
    """Spectrograms of stored windows by class, with a caption."""
    parameters = manifest["extractor"]
    kind = kind_of(parameters)
    plots = {name: kind.drawn(window, parameters) for name, window in windows.items()}
    caption, channels = f"One window of each of {len(windows)} classes", kind.channels(parameters)
    if len(channels) > 1:
        caption += f", from top to bottom: {', '.join(channels)}"
    return windows_plot(plots, kind.frame_s(manifest)), caption


def one_window_per_class(folder: Path, manifest: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """(class, its first training window as stored); only these windows are read."""
    kind, label_names = kind_of(manifest["extractor"]), manifest["label_names"]
    missing = set(range(min(len(label_names), MAX_DRAWN_CLASSES)))
    for path in _train_shards(folder, manifest):
        shard = pq.ParquetFile(path)
        for group in range(shard.num_row_groups):
            if not missing:
                return
            labels = shard.read_row_group(group, columns=["labels"])["labels"].to_pylist()
            first_rows = {label: row for row, found in reversed(list(enumerate(labels))) for label in found}
            wanted = missing & set(first_rows)
            if wanted:
                table = shard.read_row_group(group, columns=[*kind.columns(0), "num_frames"])
                for label in sorted(wanted):
                    yield label_names[label], kind.decode(table.slice(first_rows[label], 1).to_pylist()[0])
            missing -= wanted


def class_means(vectors: np.ndarray, targets: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The mean `[features]` of the windows of each class with windows, in standard deviations from the overall mean.

    Args:
        vectors: `[windows, features]`.
        targets: `[windows, classes]`, 1 where a window has the class.
    """
    spread = vectors.std(axis=0)
    vectors = (vectors - vectors.mean(axis=0)) / np.where(spread < 1e-6, 1.0, spread)
    members = {name: one == 1 for name, one in zip(names, targets.T, strict=True)}
    return {name: vectors[chosen].mean(axis=0) for name, chosen in members.items() if chosen.any()}


def training_vectors(folder: Path, manifest: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The vectors `[windows, features]` of the training windows, averaged over steps, and their classes `[windows,
    classes]`."""
    kind, num_classes = kind_of(manifest["extractor"]), len(manifest["label_names"])
    rows = []
    for path in _train_shards(folder, manifest):
        rows += pq.read_table(path, columns=[*kind.columns(0), "num_frames", "labels"]).to_pylist()
    vectors = np.stack([kind.decode(row).mean(axis=0, dtype=np.float64) for row in rows])
    return vectors, np.array([[label in row["labels"] for label in range(num_classes)] for row in rows])


def _train_shards(folder: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """The training shards according to the manifest; the folder may contain other files."""
    num_shards = manifest["splits"]["train"]["num_shards"] if "train" in manifest["splits"] else 0
    return [folder / "data" / f"{name}.parquet" for name in shard_names("train", num_shards)]


def class_distribution(manifest: Mapping[str, Any]) -> Figure:
    """The number of clips per class, with one bar chart per split."""
    names, splits = manifest["label_names"], manifest["splits"]
    figure = ShownFigure(figsize=(2 + 2.5 * len(splits), min(1.2 + 0.22 * len(names), 60)), layout="constrained")
    axes = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for axis, (split, facts) in zip(axes, splits.items(), strict=True):
        bars = axis.barh(range(len(names)), [facts["label_counts"][name] for name in names], color="#3b6ea5")
        axis.bar_label(bars, fontsize=7, padding=2)
        axis.set_title(f"{split}: {facts['num_clips']:,} clips", fontsize=9)
        axis.margins(x=0.2)  # room for the numbers, which replace the axis
        axis.set_xticks([])
        axis.spines[["top", "right", "bottom"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), [short_name(name) for name in names], fontsize=8)
    axes[0].set_ylim(len(names) - 0.4, -0.6)  # the first class on top
    return figure


def distributions_of_datasets(manifests: Mapping[str, Mapping[str, Any]]) -> Figure:
    """The share of clips per class, with one bar chart per dataset; classes are matched by name.

    Args:
        manifests: by dataset name; the datasets need not have common classes.
    """
    names = list(dict.fromkeys(name for manifest in manifests.values() for name in manifest["label_names"]))
    figure = ShownFigure(figsize=(2 + 2.5 * len(manifests), min(1.2 + 0.22 * len(names), 60)), layout="constrained")
    axes = figure.subplots(1, len(manifests), sharey=True, sharex=True, squeeze=False)[0]
    for axis, (title, manifest) in zip(axes, manifests.items(), strict=True):
        splits = manifest["splits"].values()
        num_clips = sum(facts["num_clips"] for facts in splits)
        counts = [sum(facts["label_counts"].get(name, 0) for facts in splits) for name in names]
        bars = axis.barh(range(len(names)), [count / max(1, num_clips) for count in counts], color="#3b6ea5")
        numbers = [
            f"{count:,}" if name in manifest["label_names"] else "" for name, count in zip(names, counts, strict=True)
        ]
        axis.bar_label(bars, numbers, fontsize=7, padding=2)
        axis.set_title(f"{short_name(title)}: {num_clips:,} clips", fontsize=9)
        axis.margins(x=0.2)
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.tick_params(axis="x", labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), [short_name(name) for name in names], fontsize=8)
    axes[0].set_ylim(len(names) - 0.4, -0.6)  # the first class on top
    return figure


def windows_plot(windows: Mapping[str, np.ndarray], frame_s: float) -> Figure:
    """Log-mel features `[frames, bins]` by class, a frame every `frame_s` seconds; low frequencies at the bottom."""
    columns = min(5, max(1, len(windows)))
    rows = -(-len(windows) // columns) or 1
    figure = ShownFigure(figsize=(2.6 * columns, 1.9 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, (name, window) in zip(axes, windows.items(), strict=False):
        extent = (0, len(window) * frame_s, 0, window.shape[1])
        axis.imshow(window.T, origin="lower", aspect="auto", extent=extent, cmap="magma", interpolation="nearest")
        axis.set_title(short_name(name), fontsize=9)
        axis.tick_params(labelsize=6)
    for axis in axes[len(windows) :]:
        axis.set_visible(False)
    figure.supxlabel("seconds", fontsize=8)
    figure.supylabel("bin", fontsize=8)
    return figure


def means_plot(means: Mapping[str, np.ndarray], feature_groups: list[tuple[int, int, str]]) -> Figure:
    """Standardized vectors `[features]`, one row per class: blue below the overall mean, red above."""
    names = list(means)[:MAX_DRAWN_CLASSES]
    figure = ShownFigure(figsize=(12, 1.4 + 0.22 * len(names)), layout="constrained")
    axis = figure.subplots()
    values = np.stack([means[name] for name in names])
    colors: dict[str, Any] = {
        "cmap": "RdBu_r",
        "vmin": -MAX_DEVIATION,
        "vmax": MAX_DEVIATION,
        "interpolation": "nearest",
    }
    image = axis.imshow(values, aspect="auto", **colors)
    axis.set_yticks(range(len(names)), [short_name(name) for name in names], fontsize=8)
    titles = [names.split("_")[0].strip("`") for _, _, names in feature_groups]
    middles = [(first + last) / 2 for first, last, _ in feature_groups]  # groups have one feature to a hundred
    axis.set_xticks(middles, titles, fontsize=7, rotation=90)
    axis.vlines([first - 0.5 for first, _, _ in feature_groups[1:]], -0.5, len(names) - 0.5, color="black", lw=0.5)
    figure.colorbar(image, ax=axis, label="standard deviations", pad=0.01)
    return figure


def feature_groups(parameters: Mapping[str, Any]) -> list[tuple[int, int, str]]:
    """(first, last, names) of each group of related features in a vector; `parameters` are the extractor's."""
    feature_list = kind_of(parameters).feature_names(parameters)
    prefixes = [name.split("_")[0] for name in feature_list]
    groups = []
    for prefix in dict.fromkeys(prefixes):
        members = [number for number, found in enumerate(prefixes) if found == prefix]
        first, last = members[0], members[-1]
        ends = dict.fromkeys((feature_list[first], feature_list[last]))
        groups.append((first, last, " ... ".join(f"`{name}`" for name in ends)))
    return groups
