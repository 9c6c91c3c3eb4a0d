"""Pages to look and listen through: one template with one style and one script, in which every text is escaped.

A page is one file, which needs no network. Its plots are in it; recordings are played from where they lie, or are in
it too.
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
class Cell:
    """A cell that is sorted by a number, which need not be what it shows; None, an unknown one, is always last."""

    text: str
    key: float | None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Row:
    """One row: texts, players and plots, the tags it can be chosen by, and "error", "warning" or "note"."""

    cells: Sequence[str | Cell]
    tags: Sequence[str] = ()
    level: str = ""


@dataclass(frozen=True)
class Table:
    """A table that a click on a heading sorts.

    Attributes:
        heads, rows: what it shows.
        tagged: whether rows can be chosen by their tags.
    """

    heads: Sequence[str]
    rows: Sequence[Row]
    tagged: bool = False

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


@dataclass(frozen=True)
class Heading:
    """A heading, to which the list of contents at the top of the page leads."""

    heading: str
    level: int = 2

    @property
    def is_main(self) -> bool:
        return self.level == 2


@dataclass(frozen=True)
class Plot:
    """One plot as wide as it is, with what it says in words."""

    plot: Markup
    caption: str


@dataclass(frozen=True)
class Headline:
    """What a page says, in one number and some words."""

    number: str
    words: str


@dataclass(frozen=True)
class Details:
    """Parts that are shown when their summary is clicked."""

    summary: str
    details: Sequence[str | Table | Pair | Plot]


def page(title: str, *parts: str | Table | Pair | Heading | Plot | Headline | Details) -> str:
    """The HTML of a page. Texts are paragraphs; those of several lines stay as they are set."""
    return _TEMPLATES.get_template("page.html").render(title=title, parts=parts) + "\n"


def lines(*elements: str) -> Markup:
    """Several texts or elements below each other in one cell."""
    return Markup("<br>").join(one if isinstance(one, Markup) else printable(one) for one in elements)


def inline_plot(png: bytes, text: str = "log-mel") -> Markup:
    """An element that holds the plot itself; `text` is for who cannot see it."""
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(printable(text), b64encode(png).decode())


def timed_plot(png: bytes, described: str, sounds: Sequence[tuple[str, bytes]], left: float, right: float) -> Markup:
    """A plot over time with players below it: a line follows what is played, and a click on the plot plays from there.

    Args:
        png: the plot.
        described: of the plot, for those who do not see it.
        sounds: (caption, FLAC) of each player; all are as long as the plot's time axis.
        left, right: where that axis begins and ends, as shares of the plot's width.
    """
    image = Markup(
        '<span class="axis" data-left="{}" data-right="{}"><img alt="{}" src="data:image/png;base64,{}"><i></i>'
    )
    players = Markup("").join(
        Markup('<label>{} <audio controls preload="none" src="data:audio/flac;base64,{}"></audio></label> ').format(
            printable(caption), b64encode(flac).decode()
        )
        for caption, flac in sounds
    )
    plot = image.format(left, right, printable(described), b64encode(png).decode())
    return Markup('<span class="timed">{}</span>{}</span>').format(plot, players)


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
