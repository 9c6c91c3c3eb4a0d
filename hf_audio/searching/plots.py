"""Figures of a search: its progress, the scores by setting, and the importance of the settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hf_audio.figures.figures import BLUE, GREY, ORANGE, new_figure, short_name
from hf_audio.searching.axes import Axis, drawn
from hf_audio.searching.space import Space
from hf_audio.searching.trials import Trial, best_of

COLUMNS = 3
COLORS = "viridis"


def history(trials: Sequence[Trial], title: str, maximized: bool, objective: int = 0) -> Figure:
    """The value of each trial, and the best so far."""
    figure, axes = new_figure(7.2, 3.2)
    complete = [one for one in trials if one.state == "complete"]
    pruned = [one for one in trials if one.state == "pruned" and one.values]
    values = [one.values[objective] for one in complete]
    axes.scatter([one.number for one in complete], values, s=18, color=BLUE, label="completed")
    if pruned:
        axes.scatter(
            *zip(*((one.number, one.values[0]) for one in pruned), strict=True), s=12, color=GREY, label="pruned"
        )
    so_far = (np.maximum if maximized else np.minimum).accumulate(values) if values else []
    axes.step([one.number for one in complete], so_far, where="post", color=ORANGE, lw=1.5, label="best so far")
    axes.set(xlabel="trial", ylabel=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=8)
    return figure


def durations(trials: Sequence[Trial]) -> Figure:
    """The duration of each trial."""
    figure, axes = new_figure(7.2, 2.6)
    colors = {"complete": BLUE, "pruned": GREY, "failed": ORANGE}
    for state, color in colors.items():
        of_state = [one for one in trials if one.state == state and one.duration_s is not None]
        if of_state:
            axes.bar([one.number for one in of_state], [one.duration_s for one in of_state], color=color, label=state)
    axes.set(xlabel="trial", ylabel="seconds")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=8)
    return figure


def importances(found: Mapping[str, float], title: str) -> Figure:
    """The importance of each setting, the most important on top."""
    figure, axes = new_figure(6.4, 1.0 + 0.32 * len(found))
    rows = np.arange(len(found))
    axes.barh(rows, list(found.values()), height=0.66, color=BLUE)
    axes.set_yticks(rows, [short_name(name, 32) for name in found], fontsize=8)
    axes.set(ylim=(len(found) - 0.4, -0.6), xlabel=f"importance (PED-ANOVA) to {title}")
    axes.grid(axis="y", visible=False)
    return figure


def slices(trials: Sequence[Trial], space: Space, title: str, objective: int = 0) -> Figure:
    """One panel per setting with the values of all trials: boxes for choices, points for numbers."""
    axes_of = drawn(space.all_dimensions)
    rows = max(1, math.ceil(len(axes_of) / COLUMNS))
    figure, panels = new_figure(3.1 * COLUMNS, 2.7 * rows, rows, COLUMNS)
    panels = np.ravel(panels)
    for panel, axis in zip(panels, axes_of, strict=False):
        _slice(panel, axis, [one for one in trials if one.state == "complete"], objective)
    for panel in panels[len(axes_of) :]:
        panel.set_visible(False)
    for panel in panels[::COLUMNS]:
        panel.set_ylabel(title, fontsize=8)
    return figure


def _slice(panel, axis: Axis, complete: Sequence[Trial], objective: int) -> None:
    having = [one for one in complete if axis.dimension.name in one.params]
    places = np.array([axis.place(one.params[axis.dimension.name]) for one in having])
    values = np.array([one.values[objective] for one in having])
    jitter = np.random.default_rng(0).uniform(-0.08, 0.08, len(places)) / max(1, len(axis.ticks))
    panel.scatter(places + (jitter if axis.has_few else 0), values, s=10, color=BLUE, alpha=0.5, linewidths=0)
    if axis.has_few:
        groups = {place: values[np.isclose(places, place)] for place in axis.ticks}
        groups = {place: group for place, group in groups.items() if len(group)}
        width = 0.5 / len(axis.ticks)
        if groups:
            panel.boxplot(list(groups.values()), positions=list(groups), widths=width, showfliers=False,
                          medianprops={"color": ORANGE}, manage_ticks=False)  # fmt: skip
    panel.set_xticks(axis.ticks, axis.texts, fontsize=7)
    panel.set(xlim=(-0.04, 1.04), xlabel=axis.name)
    panel.xaxis.label.set_size(8)
    panel.tick_params(axis="y", labelsize=7)


def parallel_coordinates(
    trials: Sequence[Trial], space: Space, title: str, maximized: bool, objective: int = 0
) -> Figure:
    """A line per trial through all of its settings; the best are on top."""
    axes_of = drawn(space.all_dimensions)
    complete = sorted(
        (one for one in trials if one.state == "complete"),
        key=lambda one: one.values[objective] if maximized else -one.values[objective],
    )
    figure, panel = new_figure(1.4 * (len(axes_of) + 1) + 1.5, 3.8)
    colors = _colors([one.values[objective] for one in complete])
    for one in complete:
        known = [(x, axis.place(one.params[axis.dimension.name])) for x, axis in enumerate(axes_of)
                 if axis.dimension.name in one.params]  # fmt: skip
        if known:
            panel.plot(
                *zip(*known, strict=True), color=colors.to_rgba(np.array(one.values[objective])), lw=1, alpha=0.8
            )
    for x, axis in enumerate(axes_of):
        panel.axvline(x, color="#555555", lw=0.8)
        for tick, text in zip(axis.ticks, axis.texts, strict=True):
            panel.text(x + 0.03, tick, text, fontsize=7, va="center", bbox={"color": "white", "alpha": 0.7, "pad": 0.5})
    panel.set_xticks(range(len(axes_of)), [axis.name for axis in axes_of], fontsize=8, rotation=15)
    panel.set_yticks([])
    panel.set(xlim=(-0.1, len(axes_of) - 0.4), ylim=(-0.04, 1.04))
    panel.spines["left"].set_visible(False)
    figure.colorbar(colors, ax=panel, label=title)
    return figure


def contour(
    trials: Sequence[Trial], space: Space, names: Sequence[str], title: str, objective: int = 0
) -> Figure | None:
    """Two settings against each other, with the value as color; None if fewer than four trials have both."""
    axes_of = {axis.dimension.name: axis for axis in drawn(space.all_dimensions)}
    if len(names) < 2 or not set(names[:2]) <= axes_of.keys():
        return None
    first, second = (axes_of[name] for name in names[:2])
    having = [one for one in trials if one.state == "complete" and set(names[:2]) <= one.params.keys()]
    if len(having) < 4:
        return None
    x, y = (np.array([axis.place(one.params[axis.dimension.name]) for one in having]) for axis in (first, second))
    values = np.array([one.values[objective] for one in having])
    figure, panel = new_figure(5.4, 4.2)
    if not (first.is_choice or second.is_choice) and np.linalg.matrix_rank(np.stack([x - x[0], y - y[0]])) == 2:
        panel.tricontourf(x, y, values, levels=10, cmap=COLORS, alpha=0.7)
    colors = _colors(values)
    panel.scatter(x, y, c=values, cmap=COLORS, norm=colors.norm, s=36, edgecolors="white", linewidths=0.6)
    panel.set_xticks(first.ticks, first.texts, fontsize=8)
    panel.set_yticks(second.ticks, second.texts, fontsize=8)
    panel.set(xlabel=first.name, ylabel=second.name, xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
    figure.colorbar(colors, ax=panel, label=title)
    return figure


def pareto_front(trials: Sequence[Trial], titles: Sequence[str], maximized: Sequence[bool]) -> Figure:
    """Two objectives against each other, and the Pareto-optimal trials."""
    figure, axes = new_figure(6.0, 4.0)
    complete = [one for one in trials if one.state == "complete"]
    front = sorted(best_of(trials, maximized), key=lambda one: one.values[1])
    axes.scatter(*_columns(complete), s=16, color=GREY, label="trials")
    axes.plot(*_columns(front), color=ORANGE, marker="o", ms=5, drawstyle="steps-post", label="Pareto front")
    for one in front:
        axes.annotate(
            str(one.number), (one.values[1], one.values[0]), fontsize=7, xytext=(4, 3), textcoords="offset points"
        )
    if complete and min(one.values[1] for one in complete) > 0:
        axes.set_xscale("log")
    axes.set(xlabel=titles[1], ylabel=titles[0])
    axes.legend(frameon=False, fontsize=8)
    return figure


def _columns(trials: Sequence[Trial]) -> tuple[list[float], list[float]]:
    return [one.values[1] for one in trials], [one.values[0] for one in trials]


def _colors(values: Sequence[float] | np.ndarray) -> ScalarMappable:
    low, high = (float(np.min(values)), float(np.max(values))) if len(values) else (0.0, 1.0)
    if high - low < 1e-6:  # a color bar needs two different ends
        low, high = low - 0.05 * (abs(low) or 1), high + 0.05 * (abs(high) or 1)
    return ScalarMappable(Normalize(low, high), COLORS)
