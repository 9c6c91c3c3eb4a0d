"""Fills a page's line `<!-- build: NAME -->` with text that is made when the site is built.

NAME is a maker of GENERATED, or a page at the top of the repository, such as README.md. What is made is in no commit,
so it cannot be out of date.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from api_reference import api_reference
from corpora_reference import corpora_reference
from flag_reference import flag_reference
from repository_links import REPOSITORY, for_site
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

MARK = re.compile(r"^<!-- build: (\S+) -->$", re.MULTILINE)
GENERATED: dict[str, Callable[[], str]] = {
    "flags": flag_reference,
    "corpora": corpora_reference,
    "api": api_reference,
}


def fill(app: Sphinx, page: str, source: list[str]) -> None:
    """Replaces the marks in a page's text."""
    source[0] = MARK.sub(lambda mark: _text(mark[1], app.config.repository_url), source[0])


def _text(name: str, repository_url: str) -> str:
    if name in GENERATED:
        return GENERATED[name]()
    file = REPOSITORY / name
    if not file.is_file():
        raise ExtensionError(
            f"Unknown text {name}: expected one of {', '.join(GENERATED)}, or a page such as README.md"
        )
    return for_site(file.read_text(encoding="utf-8"), REPOSITORY, repository_url)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}
