"""All plots of a feature dataset in one folder, with a page that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hf_audio.augment import Compose
from hf_audio.baselines import MAX_TRAINING_WINDOWS, window_statistics
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.tables import csv_text, names_cell
from hf_audio.errors import InputError, printable
from hf_audio.figures.augmented import augmented_plot
from hf_audio.figures.clips import (
    clip_durations,
    clip_targets,
    co_occurrence,
    co_occurrence_plot,
    duration_plot,
    label_count_plot,
)
from hf_audio.figures.figures import png
from hf_audio.figures.projections import MIN_POINTS, explained_variance_plot, project, projection_plot, require_methods
from hf_audio.figures.variances import FeatureVariance, feature_variances, variance_plot
from hf_audio.figures.windows import (
    MAX_DRAWN_CLASSES,
    class_distribution,
    distributions_of_datasets,
    drawn_means,
    drawn_windows,
)
from hf_audio.files import write_atomically
from hf_audio.kinds import Form
from hf_audio.predictor import Predictor
from hf_audio.terminal import named_logger

logger = named_logger(__name__)

MAX_POINTS = 3000  # of a projection: more would overlap, and t-SNE would take minutes


def draw_features(
    features: FeatureDataset,
    folder: str | Path,
    *,
    projections: Sequence[str] = ("pca", "tsne"),
    model: str | None = None,
    augment: Compose | None = None,
    beside: Sequence[FeatureDataset] = (),
    seed: int = 0,
) -> Path:
    """Draws all plots of a dataset (classes, lengths, windows, clusters, variance) and returns the page's path.

    Args:
        features: a dataset that is not streamed.
        folder: for the plots, `variances.csv` (classical features) and the page README.md.
        projections: any of "pca", "tsne" and "umap", for windows of the train split.
        model: a trained network whose embeddings are projected instead of the statistics of the features; they are also
            written as vectors.tsv and metadata.tsv, for TensorBoard's projector.
        augment: an augmentation; some windows are drawn with and without it.
        beside: other datasets, whose classes are drawn next to those of this one.
        seed: for the choice of windows, t-SNE and UMAP.

    Raises:
        InputError: a streamed dataset, an unknown projection or one whose library is not installed, or a model that
            reads other features.
    """
    folder = Path(folder)
    require_methods(projections)
    _require_local(features)
    folder.mkdir(parents=True, exist_ok=True)
    statistics = None
    if model is None or features.kind.form is Form.VECTORS:
        statistics = window_statistics(features, "train", max_windows=MAX_TRAINING_WINDOWS)[:2]
    figures = _of_clips(features) | _of_datasets((features, *beside)) | _of_windows(features, statistics, augment, seed)
    vectors, targets, source = _vectors(features, statistics, model, seed)
    if len(vectors) < MIN_POINTS and projections:
        logger.warning("No projections are drawn, because there are only %d training windows", len(vectors))
        projections = ()
    figures |= _of_vectors(vectors, targets, source, features, projections, seed)
    if model:
        _write_projector(folder, vectors, targets, features.labels.names)
    elif features.kind.form is Form.VECTORS:
        variances = feature_variances(vectors, targets, features.kind.feature_names(features.parameters))
        rows = ((one.name, *(f"{value:.6g}" for value in one[1:])) for one in variances)
        write_atomically(folder / "variances.csv", csv_text([FeatureVariance._fields, *rows]))
        figures["variances.png"] = (
            variance_plot(variances),
            "Variance of each feature, and its share between classes",
        )
    for name, (figure, _) in figures.items():
        write_atomically(folder / name, png(figure))
    write_atomically(folder / "README.md", _page(features, {name: caption for name, (_, caption) in figures.items()}))
    return folder / "README.md"


def plot_windows(features: FeatureDataset) -> Figure:
    """A stored window of each class, for a notebook: spectrograms, or for vectors the class means over all windows.

    Raises:
        InputError: a streamed dataset.
    """
    _require_local(features)
    if features.kind.form is Form.VECTORS:
        statistics = window_statistics(features, "train", max_windows=MAX_TRAINING_WINDOWS)[:2]
        return drawn_means(*statistics, features.manifest)[0]
    return drawn_windows(_one_window_per_class(features), features.manifest)[0]


def _require_local(features: FeatureDataset) -> None:
    if any(not hasattr(rows, "select") for rows in features.splits.values()):
        raise InputError(f"{features.source} is streamed, but plots need the full dataset: load it without streaming")


Figures = dict[str, tuple[Figure, str]]
Statistics = tuple[np.ndarray, np.ndarray] | None  # of training windows, and their targets


def _of_clips(features: FeatureDataset) -> Figures:
    figures = {
        "classes.png": (class_distribution(features.manifest), "Clips per class"),
        "durations.png": (
            duration_plot(clip_durations(features)),
            "Length of the clips, as covered by windows",
        ),
    }
    if features.labels.is_multi_label:
        targets = {split: clip_targets(features, split) for split in features.splits}
        figures["label_counts.png"] = (label_count_plot(targets), "Number of classes per clip")
        for split, its in targets.items():
            shares = co_occurrence(its)
            plot = co_occurrence_plot(shares, features.labels.names)
            figures[f"co_occurrence_{split}.png"] = (plot, f"Classes that occur together, {split}")
    return figures


def _of_datasets(several: Sequence[FeatureDataset]) -> Figures:
    """The classes of several datasets side by side; empty for one dataset."""
    if len(several) < 2:
        return {}
    names = [
        f"{one.name} ({number})" if one.name in {other.name for other in several[:number]} else one.name
        for number, one in enumerate(several)
    ]
    manifests = {name: one.manifest for name, one in zip(names, several, strict=True)}
    return {"datasets.png": (distributions_of_datasets(manifests), "Clips per class in several datasets")}


def _of_windows(features: FeatureDataset, statistics: Statistics, augment: Compose | None, seed: int) -> Figures:
    if features.kind.form is Form.VECTORS:
        vectors, targets = statistics
        figures = {"windows.png": drawn_means(vectors, targets, features.manifest)}
    else:
        figures = {"windows.png": drawn_windows(_one_window_per_class(features), features.manifest)}
    if augment is not None:
        figures["augmented.png"] = (
            augmented_plot(features, augment, seed),
            "Training windows as stored, and with augmentation",
        )
    return figures


def _one_window_per_class(features: FeatureDataset) -> dict[str, np.ndarray]:
    """The first training window of each class, as stored."""
    rows, first = features.splits["train"], {}
    for number, labels in enumerate(rows["labels"]):
        for label in labels:
            first.setdefault(label, number)
    chosen = sorted(first.items())[:MAX_DRAWN_CLASSES]
    return {features.labels.names[label]: features.kind.decode(rows[number]) for label, number in chosen}


def _of_vectors(
    vectors: np.ndarray,
    targets: np.ndarray,
    source: str,
    features: FeatureDataset,
    methods: Sequence[str],
    seed: int,
) -> Figures:
    figures = {}
    for method in methods:
        projection = project(vectors, method, seed)
        plot = projection_plot(projection, targets, features.labels.names)
        figures[f"{method}.png"] = (plot, f"{source}: {projection.caption}")
        figures.setdefault(
            "explained_variance.png", (explained_variance_plot(projection), f"Principal components of {source}")
        )
    return figures


def _vectors(
    features: FeatureDataset, statistics: Statistics, model: str | None, seed: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Vectors of training windows, their targets, and a description of the vectors."""
    if model is None:
        vectors, targets = statistics
        words = "mean and standard deviation of each mel bin"
        if features.kind.form is Form.VECTORS:
            words = features.kind.described
    else:
        vectors = Predictor.load(model, seed=seed).embeddings(features, "train").values
        rows = features.splits["train"].select_columns(features.label_columns)
        targets = np.stack([features.labels.target_of(row) for row in rows])
        words = f"embeddings of {Path(model).name}"
    if len(vectors) > MAX_POINTS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(vectors), MAX_POINTS, replace=False))
        vectors, targets = vectors[chosen], targets[chosen]
    return vectors, targets, words


def _write_projector(folder: Path, vectors: np.ndarray, targets: np.ndarray, names: Sequence[str]) -> None:
    """Writes the two files for projector.tensorflow.org and TensorBoard's projector."""
    lines = ("\t".join(f"{value:.5g}" for value in vector) for vector in vectors)
    write_atomically(folder / "vectors.tsv", "\n".join(lines) + "\n")
    named = (names_cell(name for name, one in zip(names, row, strict=True) if one == 1) for row in targets)
    labels = (printable(cell).replace("\t", " ") or "(none)" for cell in named)  # the projector reads a line per point
    write_atomically(folder / "metadata.tsv", "\n".join(labels) + "\n")


def _page(features: FeatureDataset, captions: dict[str, str]) -> str:
    corpus = features.manifest["corpus"]["name"]
    title = f"# {corpus}: {len(features.labels)} classes, windows of {features.window_s:g} s"
    return "\n\n".join([title, *(f"## {caption}\n\n![]({name})" for name, caption in captions.items())]) + "\n"
