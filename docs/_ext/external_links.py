"""Lists the addresses outside the site: they are counted, not visited, so that a build needs no network.

`sphinx-build -b linkcheck docs site/linkcheck` visits them.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

FILE = "external_links.txt"

logger = logging.getLogger(__name__)


def write_links(app: Sphinx, error: Exception | None) -> None:
    """Writes external_links.txt: the address and the page, one link per line."""
    if error or app.builder.format != "html":
        return
    found = {
        (node["refuri"], page)
        for page in app.env.found_docs
        for node in app.env.get_doctree(page).findall(nodes.reference)
        if node.get("refuri", "").startswith(("http://", "https://"))
    }
    (app.outdir / FILE).write_text("".join(f"{address} {page}\n" for address, page in sorted(found)), encoding="utf-8")
    logger.info("%d links to other sites, which were not visited: %s", len(found), FILE)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("build-finished", write_links)
    return {"parallel_read_safe": True}
