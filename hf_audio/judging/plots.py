"""The plots of a report, drawn from the report's numbers. A plot without data is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hf_audio.figures.decisions import Curves, Legend, confusion_figure, curves_figure
from hf_audio.figures.figures import BLUE, GREY, ORANGE, new_figure, short_name
from hf_audio.judging.conditions import condition_name
from hf_audio.metrics import METRIC_NAMES

MAX_CLASSES = 40  # in a plot: more names would be illegible
MAX_SLICES = 25
CURVES = Legend("all classes together", "individual classes")
CLIP_SCORES = {
    "hamming": "share of correct classes",
    "f1": "F1",
    "accuracy": "exact match",
    "true_probability": "probability of the true class",
}
MODEL_COLORS = (BLUE, ORANGE, "#2a9d8f", "#8a5a9e", "#c8553d", GREY)


def plot_models(report: Mapping[str, Any], metrics: Sequence[str]) -> Figure:
    """Each metric of each model with its interval, and the class-prior baseline."""
    models = report["models"]
    figure, axes = new_figure(7.0, 0.9 + 0.24 * len(metrics) * (len(models) + 1))
    for number, (name, facts) in enumerate(models.items()):
        rows = np.arange(len(metrics)) + 0.7 * (number + 0.5) / len(models) - 0.35
        color = MODEL_COLORS[number % len(MODEL_COLORS)]
        _draw_intervals(axes, rows, [facts["metrics"][one] for one in metrics], color, short_name(name, 40))
    prior = [report["baseline"]["metrics"].get(one) for one in metrics]
    known = [row for row, value in enumerate(prior) if value is not None]
    axes.scatter([prior[row] for row in known], known, marker="|", s=400, color=GREY, label="class-prior baseline")
    axes.set_yticks(range(len(metrics)), [METRIC_NAMES.get(one, one) for one in metrics])
    axes.set(xlim=(-0.02, 1.02), ylim=(len(metrics) - 0.4, -0.6), xlabel="larger is better")
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    return figure


def plot_classes(per_class: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    """F1 of each class with its interval, best first; if there are many classes, only the best and the worst."""
    known = sorted((one for one in per_class.items() if one[1]["f1"]["value"] is not None), key=_by_f1)
    if not known:
        return None
    if len(known) > MAX_CLASSES:
        known = [*known[: MAX_CLASSES // 2], *known[-MAX_CLASSES // 2 :]]
    figure, axes = new_figure(7.0, 0.9 + 0.25 * len(known))
    _draw_intervals(axes, np.arange(len(known)), [facts["f1"] for _, facts in known], BLUE)
    names = [f"{short_name(name)}  ({facts['support']})" for name, facts in known]
    axes.set_yticks(range(len(known)), names, fontsize=8)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(known) - 0.4, -0.6), xlabel="F1 (number of clips in parentheses)")
    return figure


def _by_f1(one: tuple[str, Mapping[str, Any]]) -> float:
    return -one[1]["f1"]["value"]


def plot_confusion(confusion: Mapping[str, Any], is_multi_label: bool) -> Figure | None:
    """The confusion matrix; if there are many classes, only the most confused ones."""
    names, counts = confusion["classes"], np.array(confusion["counts"], dtype=float)
    clips = np.array(confusion["clips"], dtype=float)
    mistakes = counts - np.diag(np.diag(counts))
    most = np.sort(np.argsort(-(mistakes.sum(axis=0) + mistakes.sum(axis=1)), kind="stable")[:MAX_CLASSES])
    kept = np.ix_(most, most)
    shares = np.where(clips[kept] > 0, counts[kept] / np.maximum(clips[kept], 1), np.nan)
    if np.isnan(shares).all():
        return None
    return confusion_figure(shares, [names[index] for index in most], is_multi_label=is_multi_label)


def plot_curves(curves: Mapping[str, Any]) -> Figure | None:
    """ROC and precision-recall curves of classes and of all clip-class pairs together."""
    if curves["micro"] is None:
        return None
    classes, together = [_curves(one) for one in curves["classes"].values() if one], _curves(curves["micro"])
    return curves_figure(classes, together, (CURVES, CURVES))


def _curves(points: Mapping[str, Any]) -> Curves:
    return Curves(np.asarray(points["roc"]), np.asarray(points["precision_recall"]))


def plot_f1_by_threshold(curves: Mapping[str, Any], thresholds: Mapping[str, float]) -> Figure | None:
    """F1 of each class by decision threshold, with the chosen thresholds."""
    drawn = {name: one for name, one in curves["classes"].items() if one}
    if not drawn:
        return None
    figure, axes = new_figure(7.0, 4.0)
    for name, one in drawn.items():
        x, y = np.transpose(one["f1"])
        axes.plot(x, y, color=BLUE, lw=0.8, alpha=0.5 if len(drawn) <= 12 else 0.2)
        axes.scatter(thresholds[name], np.interp(thresholds[name], x, y), s=14, color=ORANGE, zorder=3)
    axes.plot([], [], color=BLUE, lw=0.8, label="individual classes")
    axes.scatter([], [], s=14, color=ORANGE, label="decision threshold")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="threshold", ylabel="F1")
    axes.legend(frameon=False, fontsize=9)
    return figure


def plot_reliability(calibration: Mapping[str, Any], scaled: Mapping[str, Any] | None = None) -> Figure | None:
    """Accuracy and number of predictions at each confidence."""
    if not calibration["bins"]:
        return None
    figure, (axes, counts) = new_figure(6.0, 6.0, rows=2)
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="perfectly calibrated")
    shown = [(calibration, BLUE, "unscaled")]
    if scaled:
        shown.append((scaled["calibration"], ORANGE, f"logits divided by {scaled['temperature']:.2f}"))
    for facts, color, label in shown:
        sure, right = ([one[key] for one in facts["bins"]] for key in ("confidence", "accuracy"))
        axes.plot(sure, right, color=color, marker="o", ms=4, label=f"{label}: ECE {facts['ece']:.3f}")
    counts.bar(*([one[key] for one in calibration["bins"]] for key in ("confidence", "num")), 0.04, color=BLUE)
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    axes.legend(frameon=False, fontsize=9)
    counts.set(xlim=(0, 1), xlabel="confidence", ylabel="predictions", yscale="log")
    return figure


def plot_risk_coverage(facts: Mapping[str, Any], answered: Mapping[str, Any] | None = None) -> Figure | None:
    """The share of wrong answers if only the most confident ones are kept."""
    if not facts["coverage"]:
        return None
    figure, axes = new_figure(7.0, 3.6)
    coverage, risk = np.array(facts["coverage"]), np.array(facts["risk"])
    axes.plot(100 * coverage, 100 * risk, color=BLUE, label="most confident first")
    axes.axhline(100 * risk[-1], color=GREY, lw=1, ls="--", label="all answered")
    if answered and answered["risk"] is not None:
        x, y = 100 * answered["coverage"], 100 * answered["risk"]
        axes.scatter(x, y, color=ORANGE, zorder=3, label="at the confidence chosen on validation")
    axes.set(xlim=(0, 101), ylim=(0, None), xlabel="% of clips answered (coverage)", ylabel="% wrong (risk)")
    axes.legend(frameon=False, fontsize=9)
    return figure


def plot_per_clip(facts: Mapping[str, Any]) -> Figure | None:
    """The distribution of the scores of individual clips."""
    drawn = {name: facts[name] for name in CLIP_SCORES if facts[name]["num_clips"]}
    if not drawn:
        return None
    figure, all_axes = new_figure(2.6 * len(drawn), 2.8, columns=len(drawn))
    for axes, (name, one) in zip(np.atleast_1d(all_axes), drawn.items(), strict=True):
        lows, nums = ([bin_[key] for bin_ in one["bins"]] for key in ("low", "num"))
        axes.bar(lows, nums, one["bins"][0]["high"] - one["bins"][0]["low"], align="edge", color=BLUE)
        axes.axvline(one["mean"], color=ORANGE, lw=1.5)
        axes.set(xlim=(0, 1), title=CLIP_SCORES[name], ylabel="clips" if axes is np.atleast_1d(all_axes)[0] else None)
        axes.title.set_fontsize(9)
    return figure


def plot_slices(slices: Sequence[Mapping[str, Any]], metric: str, of_all: float | None) -> Figure | None:
    """The main metric of slices of the clips with its interval, with the clearest drops first."""
    shown = [one for one in slices if one["metrics"].get(metric, {}).get("value") is not None][:MAX_SLICES]
    if not shown:
        return None
    figure, axes = new_figure(7.0, 0.9 + 0.25 * len(shown))
    _draw_intervals(axes, np.arange(len(shown)), [one["metrics"][metric] for one in shown], BLUE)
    if of_all is not None:
        axes.axvline(of_all, color=ORANGE, lw=1.2, label="all clips")
        axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1.0))
    names = [short_name(f"{one['column']}: {slice_value(one)}", 40) + f"  ({one['num_clips']})" for one in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=8)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(shown) - 0.4, -0.6), xlabel=f"{METRIC_NAMES[metric]} (number of clips)")
    return figure


def plot_lengths(curves: Mapping[str, Sequence[Mapping[str, Any]]], metric: str) -> Figure | None:
    """A metric by seconds, with one line per way to vary the length of clips."""
    drawn = [
        (name, known)
        for name, rows in curves.items()
        if (known := [one for one in rows if one["metrics"][metric]["value"] is not None])
    ]
    if not drawn:
        return None
    figure, axes = new_figure(7.0, 3.8)
    for (name, rows), color in zip(drawn, MODEL_COLORS, strict=False):
        seconds, values = [one["seconds"] for one in rows], [one["metrics"][metric] for one in rows]
        axes.errorbar(seconds, *_with_errors(values), color=color, marker="o", ms=4, capsize=2, label=name)
    axes.set(xscale="log", ylim=(0, 1.02), xlabel="seconds", ylabel=METRIC_NAMES[metric])
    shown = sorted({one["seconds"] for _, rows in drawn for one in rows})
    axes.set_xticks(shown, [f"{seconds:g}" for seconds in shown])
    axes.minorticks_off()  # a logarithmic axis would label them as 2×10¹
    axes.legend(frameon=False, fontsize=9)
    return figure


def plot_robustness(table: Mapping[str, Any], metric: str) -> Figure | None:
    """The metric under each degradation, and on the original recordings."""
    rows = [one for one in table["conditions"] if one["metrics"].get(metric, {}).get("value") is not None]
    if not rows:
        return None
    figure, axes = new_figure(7.0, 0.9 + 0.25 * len(rows))
    _draw_intervals(axes, np.arange(len(rows)), [one["metrics"][metric] for one in rows], BLUE)
    clean = table["clean"]["metrics"][metric]["value"]
    if clean is not None:
        axes.axvline(clean, color=ORANGE, lw=1.2, label="original recordings")
        axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1.0))
    axes.set_yticks(range(len(rows)), [condition_name(one) for one in rows], fontsize=8)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.4, -0.6), xlabel=METRIC_NAMES[metric])
    return figure


def plot_ranks(ranks: Mapping[str, Any]) -> Figure:
    """Models by mean rank; bars connect those that differ by less than the critical difference (Demšar 2006)."""
    names = sorted(ranks["mean_ranks"], key=ranks["mean_ranks"].get)
    together = ranks["together"] or []
    figure, axes = new_figure(7.0, 0.9 + 0.24 * (len(names) + len(together)))
    for row, name in enumerate(names):
        rank = ranks["mean_ranks"][name]
        axes.scatter(rank, row, color=BLUE, s=24, zorder=3)
    for row, joined in enumerate(together, start=len(names)):
        ends = [ranks["mean_ranks"][name] for name in (joined[0], joined[-1])]
        axes.plot(ends, [row, row], color=ORANGE, lw=4, solid_capstyle="round")
    axes.set_yticks(range(len(names)), [short_name(name, 40) for name in names], fontsize=8)
    axes.set(xlim=(0.9, len(names) + 0.1), ylim=(len(names) + len(together) - 0.4, -0.6), xlabel="mean rank")
    return figure


def slice_value(row: Mapping[str, Any]) -> str:
    """The common value of the clips of a slice, as shown in tables."""
    return "unknown" if row["value"] is None else str(row["value"])


def _with_errors(values: Sequence[Mapping[str, float | None]]) -> tuple[list[float], np.ndarray]:
    """Values, and the distances to both ends of their intervals; 0 for those without one."""
    ends = [(one["value"], one["low"], one["high"]) for one in values]
    errors = [(0, 0) if low is None else (max(value - low, 0), max(high - value, 0)) for value, low, high in ends]
    return [value for value, _, _ in ends], np.transpose(errors)


def _draw_intervals(
    axes: Any, rows: np.ndarray, values: Sequence[Mapping[str, Any]], color: str, label: str | None = None
) -> None:
    known = [number for number, one in enumerate(values) if one["value"] is not None]
    found, errors = _with_errors([values[number] for number in known])
    style = dict(fmt="o", ms=4.5, color=color, elinewidth=1.6, capsize=2, label=label)
    axes.errorbar(found, rows[known], xerr=errors if known else None, **style)
