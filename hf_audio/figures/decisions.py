"""Figures of a classifier's decisions: the confusion matrix, and curves over all thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from hf_audio.figures.figures import BLUE, GREY, ORANGE, new_figure, short_name

MAX_WITH_NUMBERS = 25  # classes whose shares are also written into the matrix
MAX_LARGE_NAMES = 20


class Curves(NamedTuple):
    """The curves of a class, or of all clip-class pairs together, as points `[points, 2]`.

    Attributes:
        roc: false and true positive rate.
        precision_recall: recall and precision.
    """

    roc: np.ndarray
    precision_recall: np.ndarray


class Legend(NamedTuple):
    """Legend entries of the bold line (all pairs together) and the thin lines (classes)."""

    together: str
    classes: str


def confusion_figure(shares: np.ndarray, names: Sequence[str], *, is_multi_label: bool, title: str = "") -> Figure:
    """The confusion matrix: predictions, given the true class.

    Args:
        shares: `[true class, decided class]`, of the clips of a true class; NaN where there are none.
        names: of the classes.
    """
    many = max(len(names) - MAX_LARGE_NAMES, 0)
    size = 2.6 + 0.32 * (len(names) - many) + 0.1 * many
    figure, axes = new_figure(size + 0.9, size)
    figure.set_layout_engine("compressed")  # keeps the labels next to the square plot
    plot = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    for (row, column), share in np.ndenumerate(shares) if len(names) <= MAX_WITH_NUMBERS else ():
        if share >= 0.005:
            color = "white" if share > 0.55 else "black"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=color)
    shown, font_size = [short_name(name) for name in names], 6 if many else 8
    axes.set_xticks(range(len(names)), shown, rotation=90, fontsize=font_size)
    axes.set_yticks(range(len(names)), shown, fontsize=font_size)
    axes.set_title(title, fontsize=11)
    axes.set(xlabel="predicted (may be several)" if is_multi_label else "predicted", ylabel="true")
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    figure.colorbar(plot, ax=axes, label="% of the true class's clips", fraction=0.045, pad=0.02)
    return figure


def curves_figure(
    classes: Sequence[Curves], together: Curves, legends: tuple[Legend, Legend], *, split: str | None = None
) -> Figure:
    """ROC and precision-recall curves: thin for each class, bold for all clip-class pairs together (micro).

    Args:
        legends: of the ROC plot, and of the other one.
        split: the split, for the titles.
    """
    figure, (roc, precision_recall) = new_figure(10.4, 5.2, columns=2)
    thin = dict(color=BLUE, lw=0.8, alpha=0.45 if len(classes) <= 12 else 0.2)
    bold = dict(color=ORANGE, lw=2.2)
    for one, style in [*((one, thin) for one in classes), (together, bold)]:
        roc.plot(*np.transpose(one.roc), **style)
        precision_recall.plot(*np.transpose(one.precision_recall), drawstyle="steps-post", **style)
    roc.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    of_split = f" ({split})" if split else ""
    roc.set(title=f"ROC{of_split}", xlabel="false positive rate", ylabel="true positive rate")
    precision_recall.set(title=f"Precision and recall{of_split}", xlabel="recall", ylabel="precision")
    for axes, legend in zip((roc, precision_recall), legends, strict=True):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        lines = [
            axes.plot([], [], **bold, label=legend.together)[0],
            axes.plot([], [], **(thin | {"alpha": 1}), label=legend.classes)[0],
        ]
        place = dict(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
        axes.legend(handles=lines, frameon=False, fontsize=9, **place)
    return figure
