"""Markdown in which untrusted text stays plain text.

Class names, corpus names, citations and homepages come from the authors of a dataset. In a card or a table, each is one
line of plain text, so it cannot add HTML, images, links, tables, headings, code or metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from hf_audio.errors import printable

# Characters that begin markup within a line; an underscore inside a word does not.
INLINE = re.compile(r"([\\`*\[\]<>|&~$]|(?<![^\W_])_|_(?![^\W_]))")
# Characters that turn a line into a heading, a list or a rule, or the line before into a heading
AT_START = re.compile(r"^(?:(?=[#=])|(?=[-+](?:[\s-]|$)))")
NUMBERED_AT_START = re.compile(r"^(\d+)([.)])(?=\s|$)")
IN_AN_ADDRESS = ":/?#@!$&'*+,;=%-._~"


class Markdown(str):
    """Text that is already Markdown, because our own code made or escaped it."""


def escaped(value: Any) -> Markdown:
    """A value as one line of plain text in Markdown; Markdown is returned unchanged.

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
    """Python code of a text, a number or a list of them, on one line and without backticks."""
    if isinstance(value, list | tuple):
        return Markdown(f"[{', '.join(map(python_literal, value))}]")
    if not isinstance(value, str):
        return Markdown(repr(value))
    letters = (letter if letter.isprintable() and letter not in '"\\`' else _escape(letter) for letter in value)
    return Markdown(f'"{"".join(letters)}"')


def code(value: Any) -> Markdown:
    """One line of code. Backticks, which could end the code, become apostrophes."""
    return Markdown(one_plain_line(value).replace("`", "'"))


def link(text: Any, address: str | None) -> Markdown:
    """A link, or only the text if the address is not a web address."""
    found = web_address(address)
    return Markdown(f"[{escaped(text)}]({found})") if found else escaped(text)


def web_address(address: str | None) -> str | None:
    """An http(s) address without characters that could end a link; None for other addresses."""
    if not isinstance(address, str):
        return None
    try:
        parts = urlsplit(address.strip())
        known = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        return None
    return quote(address.strip(), safe=IN_AN_ADDRESS) if known else None


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> Markdown:
    """A Markdown table: the first column is left-aligned, the others right-aligned."""
    names = [escaped(cell) for cell in heads]
    rule = ["---"] + ["---:"] * (len(names) - 1)
    lines: list[Sequence[str]] = [names, rule, *([escaped(cell) for cell in row] for row in rows)]
    return Markdown("\n".join("| " + " | ".join(line) + " |" for line in lines))


def _escape(letter: str) -> str:
    """A character as an escape sequence of Python."""
    if letter in '"\\':
        return f"\\{letter}"
    return r"\x60" if letter == "`" else ascii(letter)[1:-1]
