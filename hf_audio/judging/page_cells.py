"""Parts of a page: numbers with their intervals, and plots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from hf_audio.figures.figures import png
from hf_audio.figures.page import Cell, Plot, inline_plot


def interval_words(interval: Mapping[str, float | None]) -> str:
    """An interval as tables show it."""
    return "–" if interval["low"] is None else f"{interval['low']:.3f} to {interval['high']:.3f}"


def interval_cell(interval: Mapping[str, Any]) -> Cell:
    """A number and its interval."""
    if interval["value"] is None:
        return Cell("–", None)
    ends = "" if interval["low"] is None else f"\n{interval_words(interval)}"
    return Cell(f"{interval['value']:.3f}{ends}", interval["value"])


def interval_text(found: Mapping[str, Any] | None) -> str:
    """A number and its interval on one line."""
    if found is None or found["value"] is None:
        return "–"
    if found["low"] is None or found["high"] is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} ({found['low']:.3f}–{found['high']:.3f})"


def number_cell(value: float | None, form: str = "{:.3f}") -> Cell:
    """A number alone."""
    return Cell("–" if value is None else form.format(value), value)


def plot_part(figure: Figure, caption: str) -> Plot:
    """A plot with its caption, which is also its alternative text."""
    return Plot(inline_plot(png(figure), caption), caption)
