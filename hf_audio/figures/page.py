"""HTML pages with plots and players: one template with one style and one script, in which all text is escaped.

A page is one file and needs no network. Its plots are embedded. Recordings are embedded too, or played from their
original location.
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
    """A cell that is sorted by a number, which may differ from its text; None is unknown and always comes last."""

    text: str
    key: float | None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Row:
    """One row: texts, players and plots, tags for filtering, and a level: "error", "warning" or "note"."""

    cells: Sequence[str | Cell]
    tags: Sequence[str] = ()
    level: str = ""


@dataclass(frozen=True)
class Table:
    """A table that can be sorted by clicking on a heading.

    Attributes:
        heads, rows: headings and rows.
        tagged: whether rows can be filtered by their tags.
    """

    heads: Sequence[str]
    rows: Sequence[Row]
    tagged: bool = False

    @property
    def tags(self) -> list[tuple[str, int]]:
        """Each tag and the number of rows with it, in order of appearance."""
        return list(Counter(tag for row in self.rows for tag in dict.fromkeys(row.tags)).items())

    def as_markdown(self) -> str:
        """The table as Markdown."""
        lines = [self.heads, ["---"] * len(self.heads), *(row.cells for row in self.rows)]
        return "\n".join(
            "| " + " | ".join(printable(cell).replace("|", r"\|") for cell in line) + " |" for line in lines
        )


@dataclass(frozen=True)
class Pair:
    """Plots side by side, each with its caption, under a heading."""

    heading: str
    sides: Sequence[tuple[Markup, str]]


@dataclass(frozen=True)
class Heading:
    """A heading. Main headings are listed in the contents at the top of the page."""

    heading: str
    level: int = 2

    @property
    def is_main(self) -> bool:
        return self.level == 2


@dataclass(frozen=True)
class Plot:
    """One plot in full width, with a caption."""

    plot: Markup
    caption: str


@dataclass(frozen=True)
class Headline:
    """The main result of a page: a number and some words."""

    number: str
    words: str


@dataclass(frozen=True)
class Details:
    """Parts that are shown when their summary is clicked."""

    summary: str
    details: Sequence[str | Table | Pair | Plot]


def page(title: str, *parts: str | Table | Pair | Heading | Plot | Headline | Details) -> str:
    """The HTML of a page. Strings are paragraphs; strings with several lines are preformatted."""
    return _TEMPLATES.get_template("page.html").render(title=title, parts=parts) + "\n"


def lines(*elements: str) -> Markup:
    """Several texts or elements on separate lines of one cell."""
    return Markup("<br>").join(one if isinstance(one, Markup) else printable(one) for one in elements)


def inline_plot(png: bytes, text: str = "log-mel") -> Markup:
    """An image element with the plot embedded; `text` is its alternative text."""
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(printable(text), b64encode(png).decode())


def timed_plot(png: bytes, described: str, sounds: Sequence[tuple[str, bytes]], left: float, right: float) -> Markup:
    """A plot over time with players below it. A line follows playback, and a click on the plot plays from there.

    Args:
        png: the plot.
        described: alternative text of the plot.
        sounds: (caption, FLAC) for each player; all are as long as the plot's time axis.
        left, right: start and end of that axis, as shares of the plot's width.
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
    """An element that plays a part of a recording, for a page in `folder`."""
    address = sound_address(path, folder, start_s, end_s)
    return Markup('<audio controls preload="none" src="{}"></audio>').format(address)


def _shown(value: object) -> object:
    """Strings without characters that reorder or hide other text; line breaks are kept."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(map(printable, value.split("\n")))


_TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, finalize=_shown)
