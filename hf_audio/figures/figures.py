"""Common parts of all plots: colors, axes, shortened names, PNG and SVG output."""

from __future__ import annotations

import io

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from hf_audio.errors import printable

BLUE, ORANGE, GREY = "#1f6f9f", "#d9822b", "#9aa5ad"
SHOWN_DPI, SHOWN_COLORS = 80, 128  # in notebooks, which store their plots


class ShownFigure(Figure):
    """A figure that a notebook shows with any matplotlib backend; `savefig` writes it."""

    def _repr_png_(self) -> bytes:
        return small_png(self)


def new_figure(width_inches: float, height_inches: float, rows: int = 1, columns: int = 1):
    """A figure and its axes (one, or an array), with a grid behind the data and without a frame."""
    figure = ShownFigure(figsize=(width_inches, height_inches), layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns)
    for one in np.ravel(axes):
        one.spines[["top", "right"]].set_visible(False)
        one.grid(color="#e6e9ec", lw=0.7)
        one.set_axisbelow(True)
    return figure, axes


def short_name(name: str, max_length: int = 24) -> str:
    """A name that fits next to an axis. It is cut in the middle, since long names often start alike; "$" is escaped."""
    name, end = printable(name), max_length // 3
    return (name if len(name) <= max_length else f"{name[: max_length - end - 1]}…{name[-end:]}").replace("$", r"\$")


def svg(figure: Figure) -> bytes:
    """The plot as the content of an SVG file; the same plot gives the same bytes."""
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "hf_audio"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def png(figure: Figure, dpi: int = 130) -> bytes:
    """The plot as the content of a PNG file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=dpi)
    return content.getvalue()


def small_png(figure: Figure) -> bytes:
    """The plot as a PNG for a notebook: with fewer colors, a spectrogram takes a third of the bytes."""
    content = io.BytesIO()
    Image.open(io.BytesIO(png(figure, SHOWN_DPI))).convert("RGB").quantize(SHOWN_COLORS).save(content, format="png")
    return content.getvalue()
