"""Links that work on a forge, where pages lie among all files, made to work on the site, which has the pages alone."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parents[1]
REPOSITORY = DOCS.parent
# Pages at the top of the repository, and the pages of docs/ that show them
SHOWN_BY = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\](?:\([^()]*\))?)*)\]\(([^()\s]+)\)")
FENCE = re.compile(r"^ *(```+|~~~+)")


def for_site(text: str, folder: Path, repository_url: str) -> str:
    """A page's Markdown with its links as the site needs them; code stays as it is.

    Args:
        folder: where the page lies, which its links start from.
        repository_url: address below which a forge shows the files of the repository; "" for none.
    """
    parts, prose, fence = [], "", ""
    for line in text.splitlines(keepends=True):
        mark = FENCE.match(line)
        if fence or mark:
            parts += [_linked(prose, folder, repository_url), line]
            prose = ""
        else:
            prose += line  # a link may go on in the next line
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
    return "".join([*parts, _linked(prose, folder, repository_url)])


def _linked(prose: str, folder: Path, repository_url: str) -> str:
    return LINK.sub(lambda link: _link(link[1], link[2], folder, repository_url), prose)


def _link(words: str, target: str, folder: Path, repository_url: str) -> str:
    path, _, anchor = target.partition("#")
    place = Path(os.path.normpath(folder / path))
    if not path or ":" in path or not place.is_relative_to(REPOSITORY):
        return f"[{words}]({target})"
    name = place.relative_to(REPOSITORY).as_posix()
    if name in SHOWN_BY:
        return f"[{words}]({'#'.join(filter(None, (SHOWN_BY[name], anchor)))})"
    if not place.exists() or (place.is_relative_to(DOCS) and place.is_file()):  # Sphinx warns of what is missing
        return f"[{words}]({'#'.join(filter(None, (os.path.relpath(place, DOCS), anchor)))})"
    if repository_url:
        return f"[{words}]({repository_url}/{name})"
    return words if place.is_dir() else f"[{words}]({os.path.relpath(place, DOCS)})"


def _rewrite(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = for_site(source[0], (DOCS / page).parent, app.config.repository_url)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_config_value("repository_url", "", "env")
    app.connect("source-read", _rewrite, priority=400)  # before text is filled in, whose links are rewritten already
    return {"parallel_read_safe": True}
