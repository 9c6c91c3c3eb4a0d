"""Projections of windows or clips to a plane by principal components, t-SNE or UMAP, to see whether classes cluster."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

from hf_audio.errors import InputError, unknown_name
from hf_audio.figures.figures import BLUE, GREY, new_figure, short_name

METHODS = ("pca", "tsne", "umap")
MAX_COMPONENTS = 50  # input of t-SNE and UMAP: distances in more dimensions are mostly noise
NUM_NEIGHBORS = 30  # t-SNE's perplexity and UMAP's number of neighbors
MIN_POINTS = 8
MAX_CLASSES = 60


@dataclass(frozen=True)
class Projection:
    """Points of a plane, and the explained variance.

    Attributes:
        method: "pca", "tsne" or "umap".
        points: float32 `[points, 2]`.
        explained: share of the variance that each principal component explains, `[components]`, in order.
    """

    method: str
    points: np.ndarray
    explained: np.ndarray

    @property
    def caption(self) -> str:
        """What the plot shows."""
        two, all_of_them = 100 * self.explained[:2].sum(), 100 * self.explained.sum()
        if self.method == "pca":
            return f"two principal components, {two:.1f}% of the variance"
        title = {"tsne": "t-SNE", "umap": "UMAP"}[self.method]
        return f"{title} of {len(self.explained)} principal components, {all_of_them:.1f}% of the variance"


@dataclass(frozen=True)
class Components:
    """The first principal components of vectors.

    Attributes:
        values: float32 `[points, components]`.
        explained: share of the variance that each explains, `[components]`, in order.
    """

    values: np.ndarray
    explained: np.ndarray


def project(vectors: np.ndarray, method: str = "pca", seed: int = 0) -> Projection:
    """Standardizes vectors, computes principal components, and projects them to a plane.

    Args:
        vectors: float32 `[points, numbers]`.

    Raises:
        InputError: an unknown method, too few points, or umap-learn is not installed.
    """
    require_methods([method])
    return lay_out(principal_components(vectors, seed), method, seed)


def require_methods(methods: Iterable[str]) -> None:
    """Raises InputError if a name is not in METHODS, or its library is not installed, before any work is done."""
    for method in methods:
        if method not in METHODS:
            raise unknown_name("projection", method, METHODS)
        if method == "umap" and importlib.util.find_spec("umap") is None:
            raise InputError('UMAP needs umap-learn: pip install "hf_audio[figures]", or leave umap out')


def principal_components(vectors: np.ndarray, seed: int = 0) -> Components:
    """The first components of standardized vectors `[points, numbers]`.

    Raises:
        InputError: too few points.
    """
    if len(vectors) < MIN_POINTS:
        raise InputError(
            f"{len(vectors)} points are too few for a projection; at least {MIN_POINTS} are needed: build features "
            "of more clips"
        )
    components = PCA(min(MAX_COMPONENTS, *vectors.shape), random_state=seed)
    values = components.fit_transform(StandardScaler().fit_transform(vectors))
    return Components(values, components.explained_variance_ratio_)


def lay_out(components: Components, method: str, seed: int = 0) -> Projection:
    """Projects components to a plane, by one of METHODS; see `require_methods`."""
    points = {"pca": _two_components, "tsne": _tsne, "umap": _umap}[method](components.values, seed)
    return Projection(method, points.astype(np.float32), components.explained)


def projection_plot(projection: Projection, targets: np.ndarray, names: tuple[str, ...]) -> Figure:
    """One small plot per class, for the first 60: the points of the class in front of all others.

    Args:
        targets: `[points, classes]`, 1 where a point has the class.
    """
    names = names[:MAX_CLASSES]
    columns = min(5, len(names))
    rows = -(-len(names) // columns)
    figure, axes = new_figure(2.4 * columns, 0.5 + 2.4 * rows, rows, columns)
    x, y = projection.points.T
    size = float(np.clip(2000 / len(x), 1.5, 14))
    for number, axis in enumerate(np.ravel(axes)):
        axis.set_xticks([])
        axis.set_yticks([])
        if number >= len(names):
            axis.set_visible(False)
            continue
        chosen = targets[:, number] == 1
        axis.scatter(x[~chosen], y[~chosen], s=size, color=GREY, alpha=0.35, linewidths=0)
        axis.scatter(x[chosen], y[chosen], s=size, color=BLUE, alpha=0.8, linewidths=0)
        axis.set_title(f"{short_name(names[number])}: {int(chosen.sum()):,}", fontsize=9)
    figure.suptitle(f"{len(x):,} windows, {projection.caption}", fontsize=10)
    return figure


def explained_variance_plot(projection: Projection) -> Figure:
    """The variance explained by each principal component, and cumulatively."""
    figure, axis = new_figure(6, 3.2)
    numbers = np.arange(1, len(projection.explained) + 1)
    axis.bar(numbers, 100 * projection.explained, color=GREY, label="each component")
    axis.plot(numbers, 100 * projection.explained.cumsum(), color=BLUE, label="cumulative")
    axis.set_xlabel("principal component")
    axis.set_ylabel("% of the variance")
    axis.legend(frameon=False, fontsize=9)
    return figure


def _two_components(reduced: np.ndarray, seed: int) -> np.ndarray:
    return reduced[:, :2] if reduced.shape[1] > 1 else np.pad(reduced, ((0, 0), (0, 1)))


def _tsne(reduced: np.ndarray, seed: int) -> np.ndarray:
    perplexity = min(NUM_NEIGHBORS, (len(reduced) - 1) / 3)
    return TSNE(
        perplexity=perplexity, init="pca" if reduced.shape[1] > 1 else "random", random_state=seed
    ).fit_transform(reduced)


def _umap(reduced: np.ndarray, seed: int) -> np.ndarray:
    from umap import UMAP

    num_neighbors = min(NUM_NEIGHBORS, len(reduced) - 1)
    # with a seed, UMAP uses one thread anyway, and warns unless n_jobs=1 is given
    return UMAP(n_neighbors=num_neighbors, random_state=seed, n_jobs=1).fit_transform(reduced)
