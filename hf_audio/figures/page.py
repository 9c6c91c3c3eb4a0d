"""Pages to look and listen through: one template with one style and one script, in which every text is escaped.

A page is one file. Its plots are in it; recordings are played from where they lie.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from hf_audio.errors import printable
from hf_audio.figures.addresses import sound_address


@dataclass(frozen=True)
class Row:
    """One row: texts, players and plots, the tags it can be chosen by, and "error", "warning" or "note"."""

    cells: Sequence[str]
    tags: Sequence[str] = ()
    level: str = ""


@dataclass(frozen=True)
class Table:
    """A table that a click on a heading sorts.

    Attributes:
        heads, rows: what it shows.
        tagged: whether rows can be chosen by their tags.
        least: the heading of numbers from 0 to 1 of which a least one can be asked for too.
    """

    heads: Sequence[str]
    rows: Sequence[Row]
    tagged: bool = False
    least: str = ""

    @property
    def tags(self) -> list[tuple[str, int]]:
        """Each tag and how many rows have it, in order of appearance."""
        return list(Counter(tag for row in self.rows for tag in dict.fromkeys(row.tags)).items())

    def as_markdown(self) -> str:
        """The table as text."""
        lines = [self.heads, ["---"] * len(self.heads), *(row.cells for row in self.rows)]
        return "\n".join(
            "| " + " | ".join(printable(cell).replace("|", r"\|") for cell in line) + " |" for line in lines
        )


@dataclass(frozen=True)
class Pair:
    """Plots beside each other, each with its caption, under a heading."""

    heading: str
    sides: Sequence[tuple[Markup, str]]


def page(title: str, *parts: str | Table | Pair) -> str:
    """The HTML of a page. Texts are paragraphs; those of several lines stay as they are set."""
    return _TEMPLATES.get_template("page.html").render(title=title, parts=parts) + "\n"


def lines(*elements: str) -> Markup:
    """Several texts or elements below each other in one cell."""
    return Markup("<br>").join(one if isinstance(one, Markup) else printable(one) for one in elements)


def inline_plot(png: bytes) -> Markup:
    """An element that holds the plot itself."""
    return Markup('<img alt="log-mel" src="data:image/png;base64,{}">').format(b64encode(png).decode())


def player(path: str | Path, folder: Path, start_s: float = 0.0, end_s: float | None = None) -> Markup:
    """An element that plays a stretch of a recording, for a page in `folder`."""
    address = sound_address(path, folder, start_s, end_s)
    return Markup('<audio controls preload="none" src="{}"></audio>').format(address)


def _shown(value: object) -> object:
    """Texts without what would turn or hide others; lines stay lines."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(map(printable, value.split("\n")))


_TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, finalize=_shown)
