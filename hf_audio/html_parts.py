"""Tables and players in HTML, for notebooks and pages: all text is escaped, and nothing is downloaded."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from hf_audio.errors import printable

_PLAYER = Markup('<audio controls preload="none" src="data:{};base64,{}"></audio>')
_TABLE = Markup('<table class="dataframe"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>')


def html_table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markup:
    """A table whose first column names the rows. Floats have three decimals, and None is a dash."""
    head = Markup("").join(Markup("<th>{}</th>").format(one) for one in heads)
    body = (Markup("").join(_cell(place, value) for place, value in enumerate(row)) for row in rows)
    return _TABLE.format(head, Markup("").join(Markup("<tr>{}</tr>").format(row) for row in body))


def html_player(sound: bytes, media_type: str) -> Markup:
    """An audio element with an embedded sound file of a media type such as "audio/mpeg"."""
    return _PLAYER.format(media_type, b64encode(sound).decode())


def html_lines(*parts: str) -> str:
    """Texts, which are escaped, and HTML parts, one per line."""
    lines = Markup("").join(Markup("<div>{}</div>").format(_text(one)) for one in parts)
    return str(Markup("<div>{}</div>").format(lines))


def _cell(place: int, value: Any) -> Markup:
    tag = Markup("th") if place == 0 else Markup("td")
    return Markup("<{0}>{1}</{0}>").format(tag, _shown(value))


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, Markup) else printable(value)
