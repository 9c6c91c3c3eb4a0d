"""The variance of each classical feature, and the share of it that is between classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from hf_audio.figures.figures import BLUE, GREY, new_figure

NUM_SHOWN = 40
# Only shares are comparable: the variance of a tempo is about 1,000, that of a chroma feature 0.01.
TINY = 1e-12


class FeatureVariance(NamedTuple):
    """One feature: its mean, its variance, and the share of the variance between classes (eta squared)."""

    name: str
    mean: float
    variance: float
    between_classes: float


def feature_variances(vectors: np.ndarray, targets: np.ndarray, names: Sequence[str]) -> list[FeatureVariance]:
    """The variances of all features, sorted by how well they separate classes, best first.

    The share between classes is the variance of the class means, weighted by their number of windows (eta squared;
    Fisher 1925). A window with several classes counts for each of them.

    Args:
        vectors: `[windows, features]`, not standardized.
        targets: `[windows, classes]`, 1 where a window has the class.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    members = [np.flatnonzero(one == 1) for one in targets.T]
    rows = np.concatenate(members)
    counted = vectors[rows]
    within = sum(
        ((vectors[chosen] - vectors[chosen].mean(axis=0)) ** 2).sum(axis=0) for chosen in members if len(chosen)
    )
    total = ((counted - counted.mean(axis=0)) ** 2).sum(axis=0)
    shares = np.where(total > TINY, 1 - within / np.maximum(total, TINY), 0.0)
    variances = [
        FeatureVariance(*one)
        for one in zip(names, vectors.mean(axis=0), vectors.var(axis=0), shares.clip(0, 1), strict=True)
    ]
    return sorted(variances, key=lambda one: -one.between_classes)


def variance_plot(variances: list[FeatureVariance]) -> Figure:
    """The features that separate classes best, with their variance between and within classes."""
    shown = variances[:NUM_SHOWN][::-1]
    figure, axis = new_figure(7, 1.0 + 0.19 * len(shown))
    places = range(len(shown))
    axis.barh(places, [100] * len(shown), color=GREY, alpha=0.4, label="within classes")
    axis.barh(places, [100 * one.between_classes for one in shown], color=BLUE, label="between classes")
    axis.set_yticks(places, [one.name for one in shown], fontsize=8)
    axis.set_xlim(0, 100)
    axis.set_ylim(-0.6, len(shown) - 0.4)
    axis.set_xlabel(f"% of a feature's variance ({len(shown)} of {len(variances)} features)")
    axis.legend(frameon=False, fontsize=8, loc="lower right")
    return figure
