"""The plots of a report, drawn for 2 to about 50 classes. Nothing here touches matplotlib's global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn import metrics

from hf_audio.data.index.labels import LabelSpace
from hf_audio.figures.decisions import Curves, Legend, confusion_figure, curves_figure
from hf_audio.figures.figures import BLUE, GREY, ORANGE, new_figure, png, short_name
from hf_audio.files import write_atomically
from hf_audio.metrics import METRIC_NAMES, main_metrics

SCORE_COLORS = ("#264653", "#2a9d8f", BLUE, "#8a5a9e", GREY)


def write_plots(
    folder: Path,
    *,
    log_history: list[dict],
    best_step: int | None,
    scores: dict[str, Any],
    probabilities: np.ndarray,
    decisions: np.ndarray,
    targets: np.ndarray,
    labels: LabelSpace,
    split: str,
) -> list[str]:
    """Draws all plots of a run into `folder` and returns the file names.

    `scores` are the `classification_metrics` of the clips of `split`, whose `probabilities`, `decisions` and `targets`
    (NaN where unknown) are `[clips, classes]`. Curves need a class with positives and negatives, and are otherwise left
    out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "training.png": plot_training(log_history, main_metrics(labels.problem_type), best_step),
        "f1_per_class.png": plot_f1_per_class(scores, split),
        "confusion.png": plot_confusion(targets, decisions, labels, split),
        "roc_pr.png": plot_roc_pr(probabilities, targets, scores, split),
    }
    written = []
    for name, figure in figures.items():
        if figure is not None:
            write_atomically(folder / name, png(figure))
            written.append(name)
    return written


def plot_training(log_history: list[dict], metric_names: Sequence[str], best_step: int | None = None) -> Figure | None:
    """Loss on train and validation, and validation scores, over steps; None if nothing was logged.

    `best_step` is the step whose weights were kept.
    """
    losses = {"train": _curve(log_history, "loss"), "validation": _curve(log_history, "eval_loss")}
    scores = {METRIC_NAMES[name]: _curve(log_history, f"eval_{name}") for name in metric_names}
    if not any(losses.values()):
        return None
    panels: list[tuple[str, Any, tuple[str, ...], float | None]] = [("Loss", losses, (GREY, BLUE), None)]
    if any(scores.values()):
        panels.append(("Scores on validation, per clip", scores, SCORE_COLORS, 1.02))
    figure, all_axes = new_figure(5.2 * len(panels), 4.0, columns=len(panels))
    last_step = max(entry["step"] for entry in log_history)
    for axes, (title, curves, colors, top) in zip(np.atleast_1d(all_axes), panels, strict=True):
        for (name, points), color in zip(curves.items(), colors, strict=False):
            if points:
                steps, values = zip(*points, strict=True)
                axes.plot(steps, values, color=color, marker="o" if len(steps) < 40 else "", markersize=3, label=name)
        if best_step:
            axes.axvline(best_step, color=ORANGE, lw=1.2, ls="--", label=f"kept: step {best_step:,}")
        axes.set(title=title, xlabel="optimizer step", xlim=(0, 1.02 * last_step), ylim=(0, top))
        axes.legend(frameon=False, fontsize=9)
    return figure


def _curve(log_history: list[dict], key: str) -> list[tuple[int, float]]:
    return [(entry["step"], entry[key]) for entry in log_history if entry.get(key) is not None]


def plot_f1_per_class(scores: dict[str, Any], split: str) -> Figure:
    """A bar per class, best first, with the number of clips; classes without clips have no bar."""
    classes = sorted(scores["per_class"].items(), key=lambda item: -(item[1]["f1"] if item[1]["support"] else -1))
    values = [one["f1"] for _, one in classes]
    rows = np.arange(len(classes))
    figure, axes = new_figure(6.4, 1.3 + 0.26 * len(classes))
    axes.barh(rows, [value or 0.0 for value in values], height=0.72, color=BLUE)
    for row, value in zip(rows, values, strict=True):
        text = "no clips" if value is None else f"{value:.2f}"
        over_lines = dict(facecolor="white", edgecolor="none", pad=0.8)
        axes.text((value or 0.0) + 0.012, row, text, va="center", fontsize=8, bbox=over_lines)
    if scores["f1_macro"] is not None:
        axes.axvline(scores["f1_macro"], color=ORANGE, lw=1.2, label=f"macro F1 {scores['f1_macro']:.3f}")
        axes.axvline(scores["f1_micro"], color=GREY, lw=1.2, ls="--", label=f"micro F1 {scores['f1_micro']:.3f}")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, fontsize=9)
    axes.set_yticks(rows, [f"{short_name(name)}  ({one['support']})" for name, one in classes], fontsize=8)
    axes.set(xlim=(0, 1.08), ylim=(len(classes) - 0.4, -0.6), xlabel=f"F1 on {split} (number of clips in parentheses)")
    axes.grid(axis="y", visible=False)
    return figure


def confusion_shares(targets: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """Share `[true class, decided class]` of the clips of a true class for which a class was (also) predicted.

    In single-label tasks this is the confusion matrix, and rows add up to 1. With partial labels (NaN), only clips
    for which the predicted class is also known count. Shares without clips are NaN.
    """
    true, known = np.asarray(targets) > 0.5, ~np.isnan(targets)
    decided = (np.asarray(decisions) > 0.5) & known
    together = true.T.astype(np.float64) @ decided.astype(np.float64)
    clips = true.T.astype(np.float64) @ known.astype(np.float64)
    return np.where(clips > 0, together / np.maximum(clips, 1), np.nan)


def plot_confusion(targets: np.ndarray, decisions: np.ndarray, labels: LabelSpace, split: str) -> Figure:
    """A plot of `confusion_shares`: the predictions, given the true class."""
    title = "Predicted given true" if labels.is_multi_label else "Confusion matrix"
    return confusion_figure(
        confusion_shares(targets, decisions),
        labels.names,
        is_multi_label=labels.is_multi_label,
        title=f"{title} ({split})",
    )


def plot_roc_pr(probabilities: np.ndarray, targets: np.ndarray, scores: dict[str, Any], split: str) -> Figure | None:
    """ROC and precision-recall curves per class and for all clip-class pairs together; only known pairs count.

    None if no class has positives and negatives.
    """
    true, known, probabilities = np.asarray(targets) > 0.5, ~np.isnan(targets), np.asarray(probabilities)
    columns = [
        (is_true[rows], score[rows]) for is_true, score, rows in zip(true.T, probabilities.T, known.T, strict=True)
    ]
    drawable = [column for column in columns if 0 < column[0].sum() < len(column[0])]
    if not drawable:
        return None
    together = (true[known], probabilities[known])
    area, average = metrics.roc_auc_score(*together), metrics.average_precision_score(*together)
    legends = (
        Legend(f"micro, area {area:.3f}", f"classes, mean area {scores['roc_auc_macro']:.3f}"),
        Legend(f"micro, average {average:.3f}", f"classes, mAP {scores['mean_average_precision']:.3f}"),
    )
    return curves_figure([_curves(*one) for one in drawable], _curves(*together), legends, split=split)


def _curves(is_true: np.ndarray, scores: np.ndarray) -> Curves:
    false_rate, true_rate, _ = metrics.roc_curve(is_true, scores)
    precision, recall, _ = metrics.precision_recall_curve(is_true, scores)
    return Curves(np.stack([false_rate, true_rate], axis=1), np.stack([recall, precision], axis=1))
