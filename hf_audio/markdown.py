"""Markdown in which untrusted text stays text.

Names of classes and corpora, citations and homepages come from the authors of a dataset. In a card or a table they are
one line of plain text, whatever they hold: no HTML, image, link, table, heading, code or metadata of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from hf_audio.errors import printable

# Characters that begin markup within a line; an underscore inside a word does not.
INLINE = re.compile(r"([\\`*\[\]<>|&~$]|(?<![^\W_])_|_(?![^\W_]))")
# What makes of a line a heading, a list, a rule, or a heading of the line before
AT_START = re.compile(r"^(?:(?=[#=])|(?=[-+](?:[\s-]|$)))")
NUMBERED_AT_START = re.compile(r"^(\d+)([.)])(?=\s|$)")
IN_AN_ADDRESS = ":/?#@!$&'*+,;=%-._~"


class Markdown(str):
    """Text that is Markdown already, made by our own code or escaped."""


def escaped(value: Any) -> Markdown:
    """A value as one line of plain text in Markdown; Markdown stays what it is.

    >>> escaped("a | <b>")
    'a \\\\| \\\\<b\\\\>'
    """
    if isinstance(value, Markdown):
        return value
    if isinstance(value, bool | int | float):
        return Markdown(value)
    text = NUMBERED_AT_START.sub(r"\1\\\2", INLINE.sub(r"\\\1", one_plain_line(value)))
    return Markdown(AT_START.sub(r"\\", text, count=1))


def one_plain_line(value: Any) -> str:
    """A text without line breaks, and with control characters escaped."""
    return printable(" ".join(str(value).split()))


def python_literal(value: Any) -> Markdown:
    """Python code of a text, a number or a list of them, on one line and without a backtick."""
    if isinstance(value, list | tuple):
        return Markdown(f"[{', '.join(map(python_literal, value))}]")
    if not isinstance(value, str):
        return Markdown(repr(value))
    letters = (letter if letter.isprintable() and letter not in '"\\`' else _escape(letter) for letter in value)
    return Markdown(f'"{"".join(letters)}"')


def code(value: Any) -> Markdown:
    """One line of code; a backtick, which could end it, becomes an apostrophe."""
    return Markdown(one_plain_line(value).replace("`", "'"))


def link(text: Any, address: str | None) -> Markdown:
    """A link, or the text alone where the address is none of the web."""
    found = web_address(address)
    return Markdown(f"[{escaped(text)}]({found})") if found else escaped(text)


def web_address(address: str | None) -> str | None:
    """An http(s) address in which nothing can end a link or begin something else; None for any other."""
    if not isinstance(address, str):
        return None
    try:
        parts = urlsplit(address.strip())
        known = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        return None
    return quote(address.strip(), safe=IN_AN_ADDRESS) if known else None


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> Markdown:
    """A Markdown table: names to the left, numbers to the right."""
    names = [escaped(cell) for cell in heads]
    rule = ["---"] + ["---:"] * (len(names) - 1)
    lines: list[Sequence[str]] = [names, rule, *([escaped(cell) for cell in row] for row in rows)]
    return Markdown("\n".join("| " + " | ".join(line) + " |" for line in lines))


def _escape(letter: str) -> str:
    """A letter as an escape sequence of Python."""
    if letter in '"\\':
        return f"\\{letter}"
    return r"\x60" if letter == "`" else ascii(letter)[1:-1]
